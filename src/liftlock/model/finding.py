"""What a check, a scan or a verification found. One type for all, so that all report and gate alike."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from liftlock.model.codec import Value


class Severity(enum.StrEnum):
    """How much a finding matters when its outcome is FAIL."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Outcome(enum.StrEnum):
    """PASS and FAIL are answers; SKIPPED (does not apply, and why) and UNKNOWN (could not be told, and why) are not."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


class Finding(Value, frozen=True):
    """One answer to one question. `code` is stable; `message` is one line; `detail` may hold the numbers."""

    code: str
    title: str
    outcome: Outcome
    severity: Severity = Severity.ERROR
    message: str = ""
    hint: str = ""
    location: str = ""
    detail: dict[str, str | int | float | bool | None] = msgspec.field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether a gate must stay shut: an ERROR that failed or could not be told."""
        return self.severity is Severity.ERROR and self.outcome in (Outcome.FAIL, Outcome.UNKNOWN)

    @property
    def needs_attention(self) -> bool:
        """Whether the command's exit status is 1: anything that failed or is unknown, above INFO."""
        return self.severity is not Severity.INFO and self.outcome in (Outcome.FAIL, Outcome.UNKNOWN)


def blocking(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those findings that keep a gate shut."""
    return tuple(finding for finding in findings if finding.blocks)
