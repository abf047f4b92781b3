"""The tests of one curated rule, made from samples.

A sample is (file name, text). A line that ends in `# expect words` has one finding of the rule, on these words; every
other line has none. Samples without a finding outnumber those with one: a rule is worth what it leaves alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest

from liftlock.knowledge import behaviours
from liftlock.knowledge.catalogue import load
from liftlock.scan.model import Verdict
from liftlock.scan.rules.registry import RULES
from tests.support.scan import findings

Sample = tuple[str, str]
_EXPECT = re.compile(r"\s*# expect (?P<words>.*)$")


def rule_tests(
    code: str, hits: Mapping[str, Sample], silent: Mapping[str, Sample]
) -> tuple[Callable[[str], None], Callable[[str], None], Callable[[], None], Callable[[], None]]:
    """Tests of a rule's hits, of its silence, of the releases between which it holds, and of the samples' number."""
    rule = next(each for each in RULES if each.code.code == code)
    since = behaviours.of_rule(code).release
    releases = load().releases
    number = load().number(since)
    before, newest = releases[number - 1].version, releases[-1].version

    @pytest.mark.parametrize("name", hits)
    def test_found(name: str) -> None:
        file, text = hits[name]
        assert _found(code, file, text, before, newest) == _expected(text) != []
        verdicts = {each.verdict for each in findings(_plain(text), file, before, newest) if each.code == code}
        assert verdicts == {rule.verdict}

    @pytest.mark.parametrize("name", silent)
    def test_left_alone(name: str) -> None:
        file, text = silent[name]
        assert "# expect" not in text
        assert _found(code, file, text, before, newest) == []

    def test_it_holds_between_the_releases_it_says() -> None:
        for file, text in hits.values():
            assert _found(code, file, text, releases[number - 2].version, before) == []
            later = {each.verdict for each in findings(_plain(text), file, since.version, newest) if each.code == code}
            already = {Verdict.BREAKS: {Verdict.BROKEN}, Verdict.DEPRECATED: {Verdict.DEPRECATED}}
            assert later == already.get(rule.verdict, set())

    def test_more_is_left_alone_than_found() -> None:
        assert len(silent) > len(hits) > 0

    return test_found, test_left_alone, test_it_holds_between_the_releases_it_says, test_more_is_left_alone_than_found


def _plain(text: str) -> str:
    return "".join(_EXPECT.sub("", line) + "\n" for line in text.splitlines())


def _expected(text: str) -> list[tuple[int, str]]:
    return [
        (number, found["words"])
        for number, line in enumerate(text.splitlines(), 1)
        if (found := _EXPECT.search(line)) is not None
    ]


def _found(code: str, file: str, text: str, old: str, new: str) -> list[tuple[int, str]]:
    plain = _plain(text)
    lines = plain.splitlines()
    return [
        (each.line, lines[each.line - 1][each.column - 1 : each.end_column - 1])
        for each in findings(plain, file, old, new)
        if each.code == code
    ]
