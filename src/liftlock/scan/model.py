"""What a scan finds: findings with their verdict, place, replacement and, where it is safe, the edit."""

from __future__ import annotations

import enum

from liftlock.model.codec import Value


class Verdict(enum.StrEnum):
    """What a use means on the way from A to B."""

    BROKEN = "broken"  # fails already in A (removed before, or never there)
    BREAKS = "breaks"  # works in A, fails from some release up to B on
    BEHAVIOUR = "behaviour"  # accepted, but does something else from some release up to B on
    DEPRECATED = "deprecated"  # works in B, with a warning
    UNKNOWN = "unknown"  # MLflow has no such name in any release: it has no effect, and nothing fails
    PARTIAL = "partial"  # the file, or an argument, could not be seen whole


class Confidence(enum.StrEnum):
    """How sure the scan is: CERTAIN is resolved from imports, types or literal words; LIKELY rests on a name."""

    CERTAIN = "certain"
    LIKELY = "likely"


class Origin(enum.StrEnum):
    """Who says so: the catalogue read from the releases, or a curated fact."""

    CATALOGUE = "catalogue"
    CURATED = "curated"


def origin(note: object) -> Origin:
    """Who says so, by whether there is a curated fact."""
    return Origin.CURATED if note is not None else Origin.CATALOGUE


class Surface(enum.StrEnum):
    """Where a use was written."""

    PYTHON = "python"
    NOTEBOOK = "notebook"
    SHELL = "shell"
    MAKEFILE = "makefile"
    DOCKERFILE = "dockerfile"
    YAML = "yaml"
    ENVIRONMENT = "environment"
    DOCS = "docs"
    REQUIREMENTS = "requirements"
    MODEL = "model"
    SOURCE = "source"


class Edit(Value, frozen=True):
    """Replace the characters `start:end` of the file's text. `safe`: the meaning is kept."""

    start: int
    end: int
    text: str
    safe: bool = True


class Judgement(Value, frozen=True):
    """What one use means. `changed_in` is the release that changed it, empty when no release ever had it."""

    code: str
    verdict: Verdict
    symbol: str
    message: str
    confidence: Confidence = Confidence.CERTAIN
    changed_in: str = ""
    replacement: str = ""
    origin: Origin = Origin.CATALOGUE
    rename: str = ""  # the word that may stand instead of the one that was used, with the same meaning
    safe: bool = True
    moved: str = ""  # the whole path under which the same thing is found in B


class ScanFinding(Value, frozen=True):
    """One use in one place. Lines and columns count from 1, columns in characters; the end is exclusive."""

    code: str
    verdict: Verdict
    confidence: Confidence
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    symbol: str
    surface: Surface
    changed_in: str
    replacement: str
    fixable: bool
    message: str
    origin: Origin = Origin.CATALOGUE
    edits: tuple[Edit, ...] = ()

    @property
    def breaking(self) -> bool:
        """Whether it fails in B."""
        return self.verdict in (Verdict.BREAKS, Verdict.BROKEN)


class ScanResult(Value, frozen=True):
    """All findings of a scan, and what was looked at. `skipped` maps a path to the reason it was not read."""

    source: str
    target: str
    findings: tuple[ScanFinding, ...]
    files: int
    scanned: int
    skipped: dict[str, str]
    suppressed: int = 0


class Code(Value, frozen=True):
    """One code: what it says, and an example."""

    code: str
    title: str
    text: str
    before: str
    after: str
