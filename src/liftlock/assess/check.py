"""What a check is. One file in `assess/checks` per check; a check reads facts and never changes or raises anything."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import ClassVar

from liftlock.assess.facts import Facts, NotKnown, Target
from liftlock.errors import LiftlockError
from liftlock.model.finding import Finding, Outcome, Severity

Details = str | int | float | bool | None


class DoesNotApply(LiftlockError):
    """Raised inside a check when its question makes no sense here; it becomes the outcome SKIPPED."""


class Check(ABC):
    """One question. `code` is stable for ever; the docstring of the class is its text in the reference."""

    code: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity] = Severity.ERROR

    @property
    def explain(self) -> str:
        """What the check asks and why it matters, for the reference."""
        return inspect.cleandoc(type(self).__doc__ or "")

    @abstractmethod
    def answer(self, facts: Facts) -> Finding:
        """Look, and answer with `passed` or `failed`. May raise NotKnown or DoesNotApply."""

    def check(self, facts: Facts) -> Finding:
        """The finding; a fact that is missing gives UNKNOWN, a question that does not apply SKIPPED."""
        try:
            return self.answer(facts)
        except DoesNotApply as reason:
            return self._finding(Outcome.SKIPPED, reason.message, "", {})
        except NotKnown as reason:
            return self._finding(Outcome.UNKNOWN, reason.message, "", {})
        except LiftlockError as error:
            return self._finding(Outcome.UNKNOWN, error.message, error.hint, {})

    def passed(self, message: str = "", **detail: Details) -> Finding:
        """The answer is as it should be."""
        return self._finding(Outcome.PASS, message, "", detail)

    def failed(self, message: str, hint: str = "", **detail: Details) -> Finding:
        """The answer is not as it should be, and what to do."""
        return self._finding(Outcome.FAIL, message, hint, detail)

    def _finding(self, outcome: Outcome, message: str, hint: str, detail: dict[str, Details]) -> Finding:
        return Finding(
            code=self.code,
            title=self.title,
            outcome=outcome,
            severity=self.severity,
            message=message,
            hint=hint,
            detail=detail,
        )


def target_of(facts: Facts) -> Target:
    """The target release. Raises DoesNotApply when none was named."""
    if facts.target is None:
        raise DoesNotApply("no target release was named")
    return facts.target
