"""What an analyser hands back: a judgement and where it stands in its fragment."""

from __future__ import annotations

from dataclasses import dataclass

from liftlock.scan.judge import Judge
from liftlock.scan.model import Judgement
from liftlock.scan.rules.registry import Rules
from liftlock.scan.words import Words


@dataclass(frozen=True)
class Hit:
    """A judgement of the span `start:end`; `edits` are replacements in the same text that keep the file valid."""

    judgement: Judgement
    start: int
    end: int
    edits: tuple[tuple[int, int, str], ...] = ()


@dataclass
class Tools:
    """What every analyser needs."""

    judge: Judge
    words: Words
    rules: Rules
