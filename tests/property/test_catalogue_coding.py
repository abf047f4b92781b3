"""Delta coding gives back, for every release, exactly what went in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from liftlock.knowledge.catalogue_coding import encode, from_bytes, to_bytes
from liftlock.knowledge.extract.facts import Fact

_TEXT = st.text(max_size=6)
_SECTIONS = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.builds(Fact, st.sampled_from("xyz"), _TEXT), max_size=6), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(_SECTIONS)
def test_round_trip(sections: list[dict[str, Fact]]) -> None:
    coded = from_bytes(to_bytes(encode(sections)), "test")
    assert [coded.at(number) for number in range(len(sections))] == sections
    for key in "abcdef":
        assert coded.holders(key) == tuple(number for number, section in enumerate(sections) if key in section)
        for number, section in enumerate(sections):
            assert coded.fact(key, number) == section.get(key)


@settings(max_examples=60, deadline=None)
@given(_SECTIONS.filter(lambda sections: len(sections) > 1), st.data())
def test_changes_between_two_releases(sections: list[dict[str, Fact]], data: st.DataObject) -> None:
    coded = encode(sections)
    old, new = (data.draw(st.integers(0, len(sections) - 1)) for _ in range(2))
    expected = {
        key: (sections[old].get(key), sections[new].get(key))
        for key in "abcdef"
        if _value(sections[old].get(key)) != _value(sections[new].get(key))
    }
    assert {key: (was, now) for key, was, now in coded.changed(old, new)} == expected


@settings(max_examples=15, deadline=None)
@given(_SECTIONS)
def test_equal_input_gives_equal_bytes(sections: list[dict[str, Fact]]) -> None:
    assert to_bytes(encode(sections)) == to_bytes(encode([dict(section) for section in sections]))


def _value(fact: Fact | None) -> str | None:
    return None if fact is None else fact.value
