"""What a curated rule is, and what it is asked about."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from liftlock.scan.model import Code, Confidence, Verdict


@dataclass(frozen=True)
class PythonCall:
    """A call in Python. `path` is the typed path of the callee, empty when it is not known to be one of MLflow.

    `whole` says that nothing else is given by `*` or `**`. `text` gives the string an expression stands for, with NUL
    for what is not known, and `texts` all it may stand for where a name is bound several times; `inside` gives the
    expressions below one, names that are bound once replaced by what they mean.
    """

    path: str
    name: str
    positional: Sequence[ast.expr]
    keywords: Mapping[str, ast.expr]
    whole: bool
    text: Callable[[ast.expr], str | None]
    texts: Callable[[ast.expr], Sequence[str]]
    inside: Callable[[ast.expr], Sequence[ast.expr]]

    def argument(self, name: str, place: int) -> ast.expr | None:
        """The argument of a parameter, by keyword or place; None when it is not given, or not seen."""
        if name in self.keywords:
            return self.keywords[name]
        return self.positional[place] if 0 <= place < len(self.positional) else None


@dataclass(frozen=True)
class Command:
    """The words behind `mlflow`. `options` maps an option to its value ("" for a flag, None for one that is not known)
    and the number of its word; `whole` is False when some words are only known when it runs.
    """

    path: str
    words: int
    options: Mapping[str, tuple[str | None, int]]
    whole: bool

    def given(self, *names: str) -> bool:
        """Whether any of these options is there."""
        return any(name in self.options for name in names)


Seen = tuple[ast.expr | None, Confidence]
"""Where in a call: an argument, or None for the name of what is called; and how sure it is."""


@dataclass(frozen=True)
class Rule:
    """One rule. Each of `call`, `command` and `value` answers None where the rule does not hold.

    `functions` are the last names of callees `call` is asked about, `commands` the commands. `pattern` is looked for in
    strings, scripts and configuration; `rename` gives what may stand instead of a match ("" for nothing), with the same
    meaning when `safe`. `variables` are environment variables whose value `value` judges. A word of `answered` anywhere
    in the scanned tree says that somebody has dealt with the change.
    """

    code: Code
    verdict: Verdict
    symbol: str
    answered: tuple[str, ...] = ()
    functions: frozenset[str] = frozenset()
    call: Callable[[PythonCall], Seen | None] | None = None
    commands: frozenset[str] = frozenset()
    command: Callable[[Command], int | None] | None = None
    command_confidence: Confidence = Confidence.CERTAIN
    pattern: re.Pattern[str] | None = None
    rename: Callable[[re.Match[str]], str] | None = None
    safe: bool = True
    variables: frozenset[str] = frozenset()
    value: Callable[[str], Confidence | None] | None = None
