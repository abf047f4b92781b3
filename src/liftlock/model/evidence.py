"""Evidence: what a bundle states about its files (an in-toto statement), and the summary a person reads."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from liftlock.model.codec import Value
from liftlock.model.finding import Finding, Outcome
from liftlock.model.watch import Watch

FORMAT = 1
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:liftlock:evidence:1"


class Subject(Value, frozen=True):
    """One file of the bundle, by its path with `/` and its SHA-256 in hexadecimal (`{"sha256": ...}`)."""

    name: str
    digest: dict[str, str]


class Predicate(Value, frozen=True):
    """What the files prove: of which run, made when and by whom; `key` is the signing key's `SHA256:` fingerprint.

    `journal_entries` and `journal_head` are the number of entries and the digest of the last one in `journal.jsonl`.
    """

    run: str
    deployment: str
    created_at: datetime
    created_by: str
    liftlock: str
    journal_entries: int
    journal_head: str
    key: str
    format: int = FORMAT


class Statement(Value, frozen=True, rename={"kind": "_type", "predicate_type": "predicateType"}):
    """An in-toto statement, version 1. Its text is what is signed."""

    kind: str
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: Predicate


class Missing(Value, frozen=True):
    """What is not in the bundle, and why."""

    what: str
    why: str


class StepLine(Value, frozen=True):
    """One step of the run; `seconds` is None where it did not end."""

    name: str
    title: str
    started_at: datetime
    seconds: float | None
    state: str


class DatabaseLine(Value, frozen=True):
    """One database before and after, table by table.

    `altered` have other columns now (what of them must be equal is in the verification), `changed` have the same
    columns and other content.
    """

    role: str
    rows_before: int
    rows_after: int
    tables_before: int
    tables_after: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    altered: tuple[str, ...]
    changed: tuple[str, ...]


class PackageChange(Value, frozen=True):
    """One package of the server's environment; an empty version means that it was not there."""

    name: str
    before: str
    after: str


class ImageLine(Value, frozen=True):
    """One image that a file of the deployment names: `pinned` is the digest written there, `digest` what its registry
    gives for the tag; without one `why` says what is missing.
    """

    image: str
    file: str
    line: int
    pinned: str = ""
    digest: str = ""
    why: str = ""


class CommandResult(Value, frozen=True):
    """A command that was run as a proof: what was expected, what came. `output` is its end, redacted.

    `counts` are read from a JUnit report: tests, passed, failed, errors, skipped.
    """

    kind: str
    name: str
    command: tuple[str, ...]
    expected: str
    at: datetime
    by: str
    seconds: float
    status: int | None
    outcome: Outcome
    message: str
    output: str
    when: str = ""
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    report: str = ""


class DecisionKind(enum.StrEnum):
    """What a person decided about a release in an environment, or (freeze, thaw) about the whole environment."""

    APPROVE = "approve"
    OVERRIDE = "override"
    FREEZE = "freeze"
    THAW = "thaw"


class Decision(Value, frozen=True):
    """Who decided what, when and why. `release` is empty for freeze and thaw; `until` ends a freeze by itself."""

    kind: DecisionKind
    environment: str
    by: str
    at: datetime
    release: str = ""
    reason: str = ""
    until: datetime | None = None


class Summary(Value, frozen=True):
    """The upgrade in short, made from the files beside it. Times are UTC; `window` is the plan's estimate in words.

    `environment` is the deployment's name in [environments], or empty; `checks` names those its checklist asks for;
    `watch` is what the last `liftlock watch` of the release came to, or None.
    """

    run: str
    kind: str
    outcome: str
    message: str
    deployment: str
    environment: str
    source: str
    target: str
    strategy: str
    operator: str
    started_at: datetime
    ended_at: datetime | None
    write_hold_seconds: float | None
    window: str
    steps: tuple[StepLine, ...]
    issues: tuple[str, ...]
    verification: tuple[Finding, ...]
    databases: tuple[DatabaseLine, ...]
    packages: tuple[PackageChange, ...]
    advisories: dict[str, tuple[str, ...]]
    proofs: tuple[CommandResult, ...]
    checks: tuple[str, ...]
    decisions: tuple[Decision, ...]
    backups: tuple[str, ...]
    way_back: str
    missing: tuple[Missing, ...]
    watch: Watch | None = None
    images: tuple[ImageLine, ...] = ()
