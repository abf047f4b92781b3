"""pip-audit's answer: flaws, what could not be asked, and what a change of sets does to them."""

from __future__ import annotations

import json

import pytest

from liftlock.errors import UsageError
from liftlock.knowledge.packages import Audit, changes, parse, pins, unasked

LOCK = """
jinja2==3.1.2 \\
    --hash=sha256:aa
Flask_Cors[x]==4.0.0 ; python_version > "3"
mine @ file:///srv/mine
# numpy==1
"""


def answer(*flaws: tuple[str, str, str], skipped: tuple[str, ...] = ()) -> str:
    found = [
        {"name": name, "version": version, "vulns": [
            {"id": key, "fix_versions": ["9"], "aliases": ["CVE-1"], "description": "first\nsecond"}
        ] if key else []}
        for name, version, key in flaws
    ]  # fmt: skip
    return json.dumps(
        {"dependencies": [*found, *({"name": name, "skip_reason": "not there"} for name in skipped)], "fixes": []}
    )


def test_pins_of_a_lock() -> None:
    assert pins(LOCK) == {"jinja2": "3.1.2", "flask-cors": "4.0.0"}


def test_what_was_not_answered_is_unknown() -> None:
    wanted = {"jinja2": "3.1.2", "flask-cors": "4.0.0", "numpy": "1", "six": "1"}
    found = parse(answer(("Jinja2", "3.1.2", "GHSA-x"), ("six", "1", ""), skipped=("flask_cors",)), wanted)
    assert [(each.package, each.id, each.fixes, each.summary) for each in found.flaws] == [
        ("jinja2", "GHSA-x", ("9",), "first")
    ]
    assert found.unknown == {"flask-cors": "not there", "numpy": "pip-audit did not mention it"}
    assert unasked(wanted, "no network").unknown.keys() == wanted.keys()


@pytest.mark.parametrize("text", ["", "[]", '{"dependencies": [{"version": "1"}]}', '{"dependencies": 3}'])
def test_another_programs_answer_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse(text, {})


def test_fixed_left_gained_and_unknown() -> None:
    def audit(*flaws: tuple[str, str], unknown: tuple[str, ...] = ()) -> Audit:
        named = {name: "1" for name, _ in flaws} | dict.fromkeys(unknown, "1")
        return parse(answer(*((name, "1", key) for name, key in flaws), skipped=unknown), named)

    before = audit(("a", "A"), ("b", "B"), ("d", "D"), unknown=("e",))
    after = audit(("b", "B"), ("c", "C"), ("e", "E"), unknown=("d",))
    assert [(each.what, each.flaw.id) for each in changes(before, after)] == [
        ("gained", "C"), ("left", "B"), ("unknown", "D"), ("unknown", "E"), ("fixed", "A"),
    ]  # fmt: skip
