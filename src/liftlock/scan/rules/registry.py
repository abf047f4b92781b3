"""All curated rules, and those that hold on the way from one release to another."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from liftlock.knowledge import behaviours
from liftlock.model.release import Release
from liftlock.scan.model import Confidence, Judgement, Origin, Verdict
from liftlock.scan.rules import (
    ll801_file_store,
    ll802_default_store,
    ll803_allowed_hosts,
    ll804_git_tags,
    ll805_joined_model_uri,
    ll806_explainer,
    ll807_serialization,
    ll808_scoring_format,
    ll809_stage_uri,
    ll810_model_environment,
    ll811_admin_password,
    ll812_history_tag,
    ll813_gateway_routes,
)
from liftlock.scan.rules.base import Command, PythonCall, Rule, Seen

RULES: tuple[Rule, ...] = tuple(
    module.RULE
    for module in (
        ll801_file_store, ll802_default_store, ll803_allowed_hosts, ll804_git_tags, ll805_joined_model_uri,
        ll806_explainer, ll807_serialization, ll808_scoring_format, ll809_stage_uri, ll810_model_environment,
        ll811_admin_password, ll812_history_tag, ll813_gateway_routes,
    )
)  # fmt: skip
_ANSWERED = {rule.code.code: rule.answered for rule in RULES if rule.answered}


def answered(code: str) -> tuple[str, ...]:
    """Words that say, anywhere in a tree, that its author has dealt with what a rule finds."""
    return _ANSWERED.get(code, ())


class Rules:
    """The rules of one pair of releases."""

    def __init__(self, source: Release, target: Release) -> None:
        self._active: list[tuple[Rule, Judgement]] = []
        for rule in RULES:
            judgement = _judgement(rule, source, target)
            if judgement is not None:
                self._active.append((rule, judgement))
        self.functions = {name for rule, _ in self._active for name in rule.functions}
        self.variables = frozenset(name for rule, _ in self._active for name in rule.variables)
        patterns = [rule.pattern.pattern for rule, _ in self._active if rule.pattern is not None]
        loose = "|".join(re.sub(r"\?P<\w+>", "?:", pattern) for pattern in patterns)
        self._any = re.compile(loose, re.IGNORECASE) if patterns else None

    def call(self, call: PythonCall) -> Iterator[tuple[Judgement, Seen]]:
        """What the rules say of a call, and where in it."""
        for rule, judgement in self._active:
            if rule.call is not None and call.name in rule.functions and (seen := rule.call(call)) is not None:
                yield _sure(judgement, seen[1]), seen

    def command(self, words: Sequence[str | None]) -> Iterator[tuple[Judgement, int]]:
        """What the rules say of the words behind `mlflow`, and of which word."""
        names = {words[0], " ".join(word or "" for word in words[:2])}
        asked = [(rule, judgement) for rule, judgement in self._active if rule.command and names & rule.commands]
        command = _read(words) if asked else None
        for rule, judgement in asked:
            assert rule.command is not None and command is not None
            number = rule.command(command)
            if number is not None:
                yield _sure(judgement, rule.command_confidence), number

    def text(self, text: str) -> Iterator[tuple[Judgement, int, int, str | None]]:
        """What the rules say of a string: the judgement, where, and what may stand there instead (None: nothing)."""
        if self._any is None or self._any.search(text) is None:
            return
        for rule, judgement in self._active:
            for found in rule.pattern.finditer(text) if rule.pattern is not None else ():
                new = rule.rename(found) if rule.rename is not None else ""
                start = found.start("stage") - 1 if "stage" in found.groupdict() else found.start()
                yield judgement, start, found.end(), new or None

    def value(self, name: str, value: str) -> Iterator[Judgement]:
        """What the rules say of a variable's value."""
        for rule, judgement in self._active:
            if name in rule.variables and rule.value is not None and (sure := rule.value(value)) is not None:
                yield _sure(judgement, sure)


def _judgement(rule: Rule, source: Release, target: Release) -> Judgement | None:
    change = behaviours.of_rule(rule.code.code)
    before = change.release <= source
    if change.release > target or (before and rule.verdict is Verdict.BEHAVIOUR):
        return None
    broken = before and rule.verdict is Verdict.BREAKS
    return Judgement(
        code=rule.code.code, verdict=Verdict.BROKEN if broken else rule.verdict, symbol=rule.symbol,
        message=f"since {change.since} {change.title}", changed_in=change.since, replacement=change.action,
        origin=Origin.CURATED, safe=rule.safe,
    )  # fmt: skip


@functools.cache
def _sure(judgement: Judgement, confidence: Confidence) -> Judgement:
    from msgspec.structs import replace

    return replace(judgement, confidence=confidence)


def _read(words: Sequence[str | None]) -> Command:
    """The options of a command; `words[0]` is its name."""
    options: dict[str, tuple[str | None, int]] = {}
    whole = True
    number = 1
    while number < len(words):
        word = words[number]
        if word is None:
            whole = False
        elif word.startswith("-") and len(word) > 1:
            name, equals, value = word.partition("=")
            following = words[number + 1] if number + 1 < len(words) else ""
            if equals:
                options[name] = (value, number)
            elif following is None or not following.startswith("-"):
                options[name] = (following, number)
                number += 1
            else:
                options[name] = ("", number)
        number += 1
    return Command(words[0] or "", len(words), options, whole)
