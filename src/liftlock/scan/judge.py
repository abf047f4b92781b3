"""What a use means between A and B: existence and signatures from the catalogue, replacements from the facts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from packaging.version import Version

from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.catalogue_api import Definition, documented
from liftlock.model.release import Release
from liftlock.scan import facts
from liftlock.scan.arguments import Arguments
from liftlock.scan.history import Existence, History
from liftlock.scan.model import Confidence, Judgement, Verdict, origin

_INTERNAL = (
    "mlflow.store.", "mlflow.utils.", "mlflow.protos.", "mlflow.server.", "mlflow.cli.", "mlflow.alembic.", "mlflow.R.",
    "mlflow.java.", "mlflow.telemetry.", "mlflow.assistant.", "mlflow.mcp.", "mlflow.client.", "mlflow.demo.",
)  # fmt: skip


@dataclass
class Judge:
    """Decides for one pair of releases. Raises ReleaseError when the catalogue does not know one of them."""

    catalogue: Catalogue
    source: Release
    target: Release
    history: History = field(init=False)
    arguments: Arguments = field(init=False)
    _names: dict[tuple[str, bool], Judgement | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source, self.target = self.catalogue.require(self.source), self.catalogue.require(self.target)
        self.history = History(self.catalogue, self.source, self.target)
        self.arguments = Arguments(self.history, self.target)
        self._old = self.history.surface(self.history.old)
        self._new = self.history.surface(self.history.new)

    # -- Python names -------------------------------------------------------------------------------------------------

    def name(self, path: str, *, member: bool = False) -> Judgement | None:
        """A name of the API: `mlflow.list_experiments`; `member`: an attribute of an object of that class."""
        key = (path, member)
        if key not in self._names:
            self._names[key] = self._name(path, member)
        return self._names[key]

    def _name(self, path: str, member: bool) -> Judgement | None:
        in_old, in_new = self._old.canonical(path), self._new.canonical(path)
        if in_new is not None:
            return self._deprecated(path)
        existence = self.history.path(path)
        if not existence.ever:
            return self._never(path, member) if in_old is None else None
        if existence.later:
            return None
        if in_old is None and not existence.removed_in:
            return None
        owner = path.rpartition(".")[0]
        if (gone := self.name(owner)) is not None and gone.verdict in (Verdict.BREAKS, Verdict.BROKEN):
            return None  # said of the module or class already
        if gone is None and owner != "mlflow" and self._new.canonical(owner) is None:
            return None  # what became of its owner is not known
        confidence = self._certainty(path, existence)
        if confidence is None:
            return None
        note = facts.of_name(path)
        moved = note.moved if note and note.moved != path and self._new.canonical(note.moved) is not None else ""
        rename = moved[len(owner) + 1 :] if moved.startswith(f"{owner}.") else note.rename if note else ""
        kind = self._kind(path, existence)
        code = {"module": "LL102", "attribute": "LL103"}.get(kind, "LL101")
        return Judgement(
            code=code, verdict=Verdict.BREAKS if in_old is not None else Verdict.BROKEN, symbol=path,
            message=f"{kind} {path} {_was_removed(existence)}", confidence=confidence,
            changed_in=existence.removed_in, replacement=note.replacement if note else self._said(path, existence),
            origin=origin(note), rename=rename, safe=note.safe if note else True,
            moved=moved,
        )  # fmt: skip

    def _never(self, path: str, member: bool) -> Judgement | None:
        """A public function of `mlflow` or method of its client that no release has: probably a slip."""
        owner, _, name = path.rpartition(".")
        if f"{path}." in _INTERNAL:
            return None
        known = owner == "mlflow" or (member and owner.endswith(".MlflowClient"))
        if not known or name.startswith("_") or not name.islower() or self._new.canonical(owner) is None:
            return None
        near = difflib.get_close_matches(name, sorted(self._new.members(owner)), n=1, cutoff=0.8)
        return Judgement(
            code="LL104", verdict=Verdict.BROKEN, symbol=path, confidence=Confidence.LIKELY,
            message=f"no release of MLflow has {path}", replacement=near[0] if near else "",
        )  # fmt: skip

    def _certainty(self, path: str, existence: Existence) -> Confidence | None:
        """CERTAIN for the API reference; a helper that only moved inside its package is not known to be gone."""
        last = existence.last()
        assert last is not None
        if facts.of_name(path) is not None:
            return Confidence.CERTAIN
        surface = self.history.surface(last)
        canonical = surface.canonical(path)
        owner, _, name = path.rpartition(".")
        stays = canonical is not None and canonical != path and self._new.canonical(canonical) is not None
        if stays and canonical is not None and canonical.startswith(f"{owner}."):
            return None  # a package may hand out its own modules' names when asked, which no table shows
        if documented(path, surface.table):
            return Confidence.LIKELY if stays else Confidence.CERTAIN
        if any(part == "utils" or part.startswith("_") for part in path.split(".")):
            return None  # inner modules, of which the table does not keep track
        value = self._kind(path, existence) == "attribute" and self._kind(owner, existence) == "module"
        if value and not owner.endswith("environment_variables"):
            return None  # a constant of a module; whether it is there under another form the table does not say
        if stays:
            return None  # a helper imported here; whether the name is still imported the table does not say
        if self._new.canonical(owner) is not None and self._kind(path, existence) != "module":
            top = ".".join(path.split(".")[:2]) + "."
            if any(key.startswith(top) and key in self._new.table for key in self.history.by_last.get(name, ())):
                return None
        return Confidence.LIKELY

    def _kind(self, path: str, existence: Existence) -> str:
        last = existence.last()
        found = self.history.surface(last).definition(path) if last is not None else None
        return found.kind if found is not None else "name"

    def _said(self, path: str, existence: Existence) -> str:
        """The replacement its last deprecation text names."""
        last = existence.last()
        found = self.history.surface(last).definition(path) if last is not None else None
        return _alternative(found) if found is not None else ""

    def _deprecated(self, path: str) -> Judgement | None:
        note = facts.of_name(path)
        now = self._new.definition(path)
        mark = next((each for each in now.marks if each.startswith("deprecated(")), "") if now is not None else ""
        curated = note is not None and bool(note.deprecated) and Version(note.deprecated) <= self.target.key
        if not mark and not curated:
            return None
        since = note.deprecated if curated and note is not None else self._first_marked(path, mark)
        replacement = note.replacement if note is not None else _alternative(now)
        return Judgement(
            code="LL105", verdict=Verdict.DEPRECATED, symbol=path, changed_in=since, replacement=replacement,
            message=f"{path} is deprecated" + (f" since {since}" if since else ""), origin=origin(note),
            safe=note.safe if note is not None else True,
        )  # fmt: skip

    def _first_marked(self, path: str, mark: str) -> str:
        if said := re.search(r"since='([\d.]+)'", mark):
            return said[1]
        for number in range(self.history.new + 1):
            found = self.history.surface(number).definition(path)
            if found is not None and any(each.startswith("deprecated(") for each in found.marks):
                return self.history.releases[number].version
        return ""

    def risky_members(self, owners: Sequence[str]) -> tuple[str, ...]:
        """Members of some classes that are gone or deprecated in B, whatever release had them."""
        events = self.catalogue.coded("api").events
        names: set[str] = set()
        for owner in owners:
            homes = {self.history.surface(number).canonical(owner) for number in range(len(self.history.releases))}
            prefixes = tuple(f"{home}." for home in homes if home)
            for key, changes in events.items() if prefixes else ():
                if changes[0] > self.history.new or not key.startswith(prefixes):
                    continue
                if not key.rpartition(".")[2].startswith("_"):
                    name = key.rpartition(".")[2]
                    if self.name(f"{owner}.{name}", member=True) is not None:
                        names.add(name)
        return tuple(sorted(name for name in names if len(name) > 7))

    # -- Flavors and variables ----------------------------------------------------------------------------------------

    def flavor(self, name: str) -> Judgement | None:
        """A flavor a model was saved with."""
        existence = self.history.key("flavors", name)
        if existence.in_new or not existence.ever or existence.later or not existence.removed_in:
            return None
        note = facts.of_name(f"mlflow.{name}")
        return Judgement(
            code="LL701", verdict=Verdict.BREAKS if existence.in_old else Verdict.BROKEN, symbol=f"mlflow.{name}",
            message=f"the flavor {name} {_was_removed(existence)}: such a model cannot be loaded",
            changed_in=existence.removed_in, replacement=note.replacement if note else "", origin=origin(note),
        )  # fmt: skip

    def variable(self, name: str) -> Judgement | None:
        """An environment variable that MLflow reads, or read once, or never did."""
        existence = self.history.key("environment", name)
        if existence.in_new or existence.later:
            return None
        if existence.ever:
            if not existence.removed_in:
                return None
            last = existence.last()
            assert last is not None
            fact = self.catalogue.coded("environment").fact(name, last)
            declared = fact is not None and fact.value != "text"
            verdict = Verdict.BEHAVIOUR if existence.in_old else Verdict.BROKEN
            note = facts.of_variable(name)
            return Judgement(
                code="LL501", verdict=verdict, symbol=name, changed_in=existence.removed_in,
                message=f"MLflow does not read {name} since {existence.removed_in}",
                confidence=Confidence.CERTAIN if declared else Confidence.LIKELY,
                replacement=note.replacement if note else "", origin=origin(note),
            )  # fmt: skip
        events = self.catalogue.coded("environment").events
        known = [key for key in events if self.history.key("environment", key).in_new]
        starts = [key for key in known if key.startswith(name + "_")]
        near = starts or difflib.get_close_matches(name, known, n=1, cutoff=0.86)
        return Judgement(
            code="LL502", verdict=Verdict.UNKNOWN, symbol=name, confidence=Confidence.LIKELY,
            message=f"no release of MLflow reads {name}", replacement=near[0] if near else "",
        )  # fmt: skip


def _alternative(found: Definition | None) -> str:
    mark = next((each for each in found.marks if each.startswith("deprecated(")), "") if found is not None else ""
    said = re.search(r"alternative=(['\"])(.*?)\1[,)]", mark) or re.match(r"deprecated\((['\"])(.*?)\1[,)]", mark)
    return said[2] if said else ""


def _was_removed(existence: Existence) -> str:
    return f"was removed in {existence.removed_in}" + (" already" if existence.gone_before else "")
