"""`scan`: which releases, which files, which findings count, and the fixes."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace
from packaging.version import Version

from liftlock import files
from liftlock.app.catalogue import current
from liftlock.effects import side_effect
from liftlock.errors import UsageError
from liftlock.knowledge.catalogue import Catalogue
from liftlock.model.progress import Observer, silent
from liftlock.model.release import Release
from liftlock.scan import run
from liftlock.scan import unused as unused_of
from liftlock.scan.fix import Fixed, prepare
from liftlock.scan.model import Confidence, ScanFinding, ScanResult, Surface, Verdict
from liftlock.scan.suppress import fingerprint, matches
from liftlock.scan.surfaces import kind_of
from liftlock.scan.unused import Friend, Unused
from liftlock.scan.walk import base_of

PARTIAL = "LL901"

_PIN = re.compile(
    r"(?<![\w./@-])mlflow(?:-skinny)?\s*(?:\[[^\]\n]*\])?\s*(?:===?|~=|>=|=|\^)\s*\"?v?(?P<version>\d+\.\d+(?:\.\d+)?)"
)
_POETRY = re.compile(
    r"^\s*mlflow(?:-skinny)?\s*=\s*(?:\{.*?version\s*=\s*)?\"[~^=]*(?P<version>\d+\.\d+(?:\.\d+)?)", re.MULTILINE
)
_PLACES = (
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "Pipfile",
    "conda.yaml",
    "environment.yml",
    "environment.yaml",
    "Dockerfile",
)


@dataclass(frozen=True)
class Options:
    """What the user chose; what is left empty comes from `[tool.liftlock.scan]` in pyproject.toml."""

    source: str = ""
    target: str = ""
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: str = ""
    baseline: str = ""


@dataclass
class Scanned:
    """A scan with what decides about its status. `warning` is empty, or says why another catalogue was used."""

    result: ScanResult
    catalogue: Catalogue
    roots: tuple[Path, ...]
    fail_on: tuple[str, ...]
    baseline: Path | None = None
    warning: str = ""
    source_said: str = ""
    known: int = 0
    settings: Options = field(default_factory=Options)

    @property
    def failing(self) -> tuple[ScanFinding, ...]:
        """The findings that make the exit status 1."""
        return tuple(each for each in self.result.findings if each.verdict.value in self.fail_on)


_LEVELS = {
    "breaking": (Verdict.BREAKS.value, Verdict.BROKEN.value),
    "behaviour": (Verdict.BREAKS.value, Verdict.BROKEN.value, Verdict.BEHAVIOUR.value),
    "deprecated": (Verdict.BREAKS.value, Verdict.BROKEN.value, Verdict.BEHAVIOUR.value, Verdict.DEPRECATED.value),
    "any": tuple(verdict.value for verdict in Verdict),
    "never": (),
}


def scan(roots: Sequence[Path], options: Options, observer: Observer = silent) -> Scanned:
    """Scan. Raises UsageError for a path that is not there or when no source release can be told."""
    for root in roots:
        if not root.exists():
            raise UsageError(f"{root} does not exist")
    options = _settings(roots[0], options)
    catalogue, warning = current()
    source, said = _source(catalogue, roots, options.source)
    target = catalogue.newest if options.target in ("", "newest") else catalogue.require(Release.parse(options.target))
    if target < source:
        raise UsageError(
            f"--to {target} is older than --from {source}",
            hint="Give --from the release in use, --to the one to reach.",
        )
    if options.fail_on and options.fail_on not in _LEVELS:
        raise UsageError(f"--fail-on {options.fail_on} is none of {', '.join(_LEVELS)}")
    result = run.scan(
        roots, catalogue, source, target, run.Options(select=options.select, ignore=options.ignore), observer
    )
    scanned = Scanned(
        result, catalogue, tuple(roots), _LEVELS[options.fail_on or "breaking"], warning=warning, source_said=said,
        settings=options,
    )  # fmt: skip
    if options.baseline:
        scanned.baseline = Path(options.baseline)
        _without_known(scanned)
    return scanned


def fixes(scanned: Scanned, *, unsafe: bool) -> list[tuple[Path, Fixed]]:
    """What --fix would change, with the directory each path is below."""
    source, target = Release(version=scanned.result.source), Release(version=scanned.result.target)

    def rescan(path: str, text: str) -> Sequence[ScanFinding]:
        return run.scan_text(path, text, scanned.catalogue, source, target)

    base = base_of(scanned.roots)
    return [(base, each) for each in prepare(base, scanned.result.findings, rescan, unsafe=unsafe)]


def unused(scanned: Scanned) -> tuple[tuple[Unused, ...], tuple[Friend, ...]]:
    """Breaking changes the tree does not use, and words in it that only look like a use."""
    result = scanned.result
    source, target = Release(version=result.source), Release(version=result.target)
    return (
        unused_of.unused(result.findings, source, target),
        unused_of.friends(scanned.roots, result.findings, source, target),
    )


def with_partial(scanned: Scanned) -> ScanResult:
    """The result with a finding LL901 for each file that was not seen whole, for outputs that are only a list."""
    result = scanned.result
    if scanned.settings.select and not matches(PARTIAL, scanned.settings.select):
        return result
    if matches(PARTIAL, scanned.settings.ignore):
        return result
    partial = tuple(
        ScanFinding(
            code=PARTIAL, verdict=Verdict.PARTIAL, confidence=Confidence.CERTAIN, path=path, line=1, column=1,
            end_line=1, end_column=1, symbol=path, surface=_surface(path), changed_in="", replacement="",
            fixable=False, message=reason,
        )
        for path, reason in result.skipped.items()
    )  # fmt: skip
    return replace(result, findings=(*result.findings, *partial))


def _surface(path: str) -> Surface:
    kind = kind_of(path)
    return Surface(kind.value) if kind is not None else Surface.DOCS


def write_baseline(scanned: Scanned, path: Path) -> int:
    """Write the findings of a scan as answered; how many there are."""
    known = sorted({fingerprint(each) for each in scanned.result.findings})
    with side_effect("write scan baseline"):
        files.write_atomic(path, json.dumps({"format": 1, "known": known}, indent=2) + "\n", mode=0o644)
    return len(known)


def _without_known(scanned: Scanned) -> None:
    assert scanned.baseline is not None
    try:
        known = set(json.loads(scanned.baseline.read_text(encoding="utf-8"))["known"])
    except FileNotFoundError:
        raise UsageError(f"there is no baseline {scanned.baseline}", hint="Make one with --write-baseline.") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{scanned.baseline} is no baseline of a scan") from None
    kept = tuple(each for each in scanned.result.findings if fingerprint(each) not in known)
    scanned.known = len(scanned.result.findings) - len(kept)
    scanned.result = replace(scanned.result, findings=kept, suppressed=scanned.result.suppressed + scanned.known)


def _settings(root: Path, given: Options) -> Options:
    base = (root if root.is_dir() else root.parent).resolve()
    table: dict[str, object] = {}
    for place in (base, *base.parents):
        path = place / "pyproject.toml"
        if path.is_file():
            try:
                tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
            except (tomllib.TOMLDecodeError, UnicodeDecodeError):
                tools = {}
            table = tools.get("liftlock", {}).get("scan", {})
            break
    unknown = set(table) - {"from", "to", "select", "ignore", "fail-on", "baseline"}
    if unknown:
        raise UsageError(f"[tool.liftlock.scan] has no setting {sorted(unknown)[0]!r}")

    def words(name: str) -> tuple[str, ...]:
        value = table.get(name, [])
        return tuple(str(each) for each in value) if isinstance(value, list) else (str(value),)

    return Options(
        source=given.source or str(table.get("from", "")), target=given.target or str(table.get("to", "")),
        select=given.select or words("select"), ignore=given.ignore or words("ignore"),
        fail_on=given.fail_on or str(table.get("fail-on", "")),
        baseline=given.baseline or str(table.get("baseline", "")),
    )  # fmt: skip


def _source(catalogue: Catalogue, roots: Sequence[Path], given: str) -> tuple[Release, str]:
    if given:
        return catalogue.require(Release.parse(given)), ""
    for root in roots:
        base = root if root.is_dir() else root.parent
        listed = [base / name for name in _PLACES]
        listed += sorted(base.glob("*requirements*.txt")) + sorted(base.glob("*requirements*.in"))
        listed += sorted(base.glob("requirements/*.txt"))
        for path in listed:
            if not path.is_file():
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            found = _PIN.search(text) or _POETRY.search(text)
            if found is not None:
                wanted = Version(found["version"])
                near = [each for each in catalogue.releases if each.key.release[:2] == wanted.release[:2]]
                exact = [each for each in near if each.key == wanted]
                chosen = (exact or near)[:1]
                if chosen:
                    return chosen[0], f"{path.name} pins mlflow {found['version']}"
    raise UsageError(
        "which release is in use? no requirement of mlflow was found", hint="Give it: liftlock scan . --from 2.9.2"
    )


__all__ = ["Options", "Scanned", "fixes", "matches", "scan", "unused", "with_partial", "write_baseline"]
