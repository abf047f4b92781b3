"""What a use means between A and B: existence and signatures from the catalogue, replacements from the overlay."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from packaging.version import Version

from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.catalogue_api import Definition, Parameter, documented
from liftlock.model.release import Release
from liftlock.scan import overlay
from liftlock.scan.history import Existence, History, named_parameters
from liftlock.scan.model import Confidence, Judgement, Origin, Verdict

_SHIMS = ("request_id_backward_compatible", "deprecated_parameter", "keyword_only")
_INTERNAL = (
    "mlflow.store.", "mlflow.utils.", "mlflow.protos.", "mlflow.server.", "mlflow.cli.", "mlflow.alembic.", "mlflow.R.",
    "mlflow.java.", "mlflow.telemetry.", "mlflow.assistant.", "mlflow.mcp.", "mlflow.client.", "mlflow.demo.",
)  # fmt: skip
_QUIET = ("deprecated", "experimental", "static", "class", "developer_stable", "wraps(", "property")


@dataclass
class Call:
    """The arguments of a call: how many positional ones are certain, the keywords, and whether more may come."""

    positional: int = 0
    keywords: Sequence[str] = ()
    star: bool = False
    starstar: bool = False


@dataclass
class Judged:
    """A judgement of an argument: which one (a keyword's name, or a position), or None for the name called."""

    judgement: Judgement
    keyword: str = ""
    position: int = -1


@dataclass
class Judge:
    """Decides for one pair of releases. Raises ReleaseError when the catalogue does not know one of them."""

    catalogue: Catalogue
    source: Release
    target: Release
    history: History = field(init=False)
    _names: dict[tuple[str, bool], Judgement | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source, self.target = self.catalogue.require(self.source), self.catalogue.require(self.target)
        self.history = History(self.catalogue, self.source, self.target)
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
        confidence = self._certainty(path, existence)
        if confidence is None:
            return None
        note = overlay.of_name(path)
        kind = self._kind(path, existence)
        code = {"module": "LL102", "attribute": "LL103"}.get(kind, "LL101")
        return Judgement(
            code=code, verdict=Verdict.BREAKS if in_old is not None else Verdict.BROKEN, symbol=path,
            message=f"{kind} {path} {_was_removed(existence)}", confidence=confidence,
            changed_in=existence.removed_in, replacement=note.replacement if note else self._said(path, existence),
            origin=_origin(note), rename=note.rename if note else "", safe=note.safe if note else True,
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
        surface = self.history.surface(last)
        if documented(path, surface.table) or overlay.of_name(path) is not None:
            return Confidence.CERTAIN
        canonical = surface.canonical(path)
        owner, _, name = path.rpartition(".")
        value = self._kind(path, existence) == "attribute" and self._kind(owner, existence) == "module"
        if value and not owner.endswith("environment_variables"):
            return None  # a constant of a module; whether it is there under another form the table does not say
        if canonical is not None and canonical != path and self._new.canonical(canonical) is not None:
            return None  # a helper imported here; whether the name is still imported the table does not say
        if self._new.canonical(owner) is not None and self._kind(path, existence) != "module":
            top = ".".join(path.split(".")[:2]) + "."
            events = self.catalogue.coded("api").events
            suffix = f".{name}"
            if any(key.endswith(suffix) and key.startswith(top) and key in self._new.table for key in events):
                return None
        return Confidence.LIKELY

    def _kind(self, path: str, existence: Existence) -> str:
        last = existence.last()
        found = self.history.surface(last).definition(path) if last is not None else None
        return found.kind if found is not None else "name"

    def _kind_now(self, path: str) -> str:
        found = self._new.definition(path)
        return found.kind if found is not None else ""

    def _said(self, path: str, existence: Existence) -> str:
        """The replacement its last deprecation text names."""
        last = existence.last()
        found = self.history.surface(last).definition(path) if last is not None else None
        return _alternative(found) if found is not None else ""

    def _deprecated(self, path: str) -> Judgement | None:
        note = overlay.of_name(path)
        now = self._new.definition(path)
        mark = next((each for each in now.marks if each.startswith("deprecated(")), "") if now is not None else ""
        curated = note is not None and bool(note.deprecated) and Version(note.deprecated) <= self.target.key
        if not mark and not curated:
            return None
        since = note.deprecated if curated and note is not None else self._first_marked(path, mark)
        replacement = note.replacement if note is not None else _alternative(now)
        return Judgement(
            code="LL105", verdict=Verdict.DEPRECATED, symbol=path, changed_in=since, replacement=replacement,
            message=f"{path} is deprecated" + (f" since {since}" if since else ""), origin=_origin(note),
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
            for key in events if prefixes else ():
                if key.startswith(prefixes) and not key.rpartition(".")[2].startswith("_"):
                    name = key.rpartition(".")[2]
                    if self.name(f"{owner}.{name}", member=True) is not None:
                        names.add(name)
        return tuple(sorted(name for name in names if len(name) > 7))

    # -- Python calls -------------------------------------------------------------------------------------------------

    def call(self, path: str, call: Call) -> list[Judged]:
        """The arguments of a call against the signatures of A and B."""
        was, now = self._old.parameters(path), self._new.parameters(path)
        if now is None:
            return []
        definition = self._callee(path)
        marks = definition.marks if definition is not None else ()
        if was is None:
            return []
        found = [judged for name in call.keywords if (judged := self._keyword(path, name, was, now, marks))]
        broken = {each.keyword for each in found}
        found += self._positional(path, call, was, now, marks)
        if not self._reference(path):
            found = [_doubted(each) for each in found]
        if not any(mark.startswith(_SHIMS) for mark in marks) and not (call.star or call.starstar):
            found += self._required(path, call, was, now, bool(broken))
        return found

    def _reference(self, path: str) -> bool:
        """Whether a callable belongs to the API reference, or a curated fact speaks of it."""
        return documented(path, self._new.table) or path.endswith("Client") or "Client." in path

    def _callee(self, path: str) -> Definition | None:
        found = self._new.definition(path)
        if found is not None and found.kind == "class":
            return self._new.definition(f"{path}.__init__")
        return found

    def _keyword(
        self, path: str, name: str, was: tuple[Parameter, ...], now: tuple[Parameter, ...], marks: tuple[str, ...]
    ) -> Judged | None:
        old, new = _named(was), _named(now)
        note = overlay.of_parameter(path, name)
        symbol = f"{path}({name}=)"
        if name in new:
            return self._old_keyword(symbol, name, note, marks, name in old)
        shim = next((mark for mark in marks if mark.startswith(_SHIMS) and _shims(mark, name)), "")
        if shim:
            if name not in old and not self.history.parameter(path, name).ever:
                return None
            judgement = Judgement(
                code="LL203", verdict=Verdict.DEPRECATED, symbol=symbol, message=f"{symbol} is deprecated",
                changed_in=self._parameter_gone(path, name), replacement=note.replacement if note else _shim_name(shim),
                origin=_origin(note), rename=self._fits(path, note), safe=note.safe if note else True,
            )  # fmt: skip
            return Judged(judgement, keyword=name)
        swallowed_old, swallowed_new = _swallows(was), _swallows(now)
        if name not in old and (swallowed_old or swallowed_new):
            if swallowed_new or note is None:
                return None
            return Judged(self._gone(path, name, symbol, note, in_old=True, marks=marks, certain=False), keyword=name)
        if name not in old:
            existence = self.history.parameter(path, name)
            if not existence.ever:
                return self._never_parameter(path, name, symbol, marks, old, new)
            if existence.later or not existence.removed_in:
                return None
            return Judged(self._gone(path, name, symbol, note, in_old=False, marks=marks), keyword=name)
        if swallowed_new:
            judgement = Judgement(
                code="LL202", verdict=Verdict.BEHAVIOUR, symbol=symbol, changed_in=self._parameter_gone(path, name),
                message=f"{symbol} is no parameter any more: it falls into **kwargs",
                confidence=Confidence.CERTAIN if note else Confidence.LIKELY,
                replacement=note.replacement if note else "", origin=_origin(note), rename=self._fits(path, note),
            )  # fmt: skip
            return Judged(judgement, keyword=name)
        return Judged(self._gone(path, name, symbol, note, in_old=True, marks=marks), keyword=name)

    def _old_keyword(
        self, symbol: str, name: str, note: overlay.Note | None, marks: tuple[str, ...], in_old: bool
    ) -> Judged | None:
        del in_old
        shim = next((mark for mark in marks if mark.startswith("deprecated_parameter") and _shims(mark, name)), "")
        curated = note is not None and bool(note.deprecated) and Version(note.deprecated) <= self.target.key
        if not shim and not curated:
            return None
        path = symbol.partition("(")[0]
        if curated and note is not None and note.rename not in named_parameters(self._new, path):
            return None
        judgement = Judgement(
            code="LL203", verdict=Verdict.DEPRECATED, symbol=symbol,
            message=f"{symbol} is deprecated" + (f" since {note.deprecated}" if note and note.deprecated else ""),
            changed_in=note.deprecated if note else "", replacement=note.replacement if note else _shim_name(shim),
            origin=_origin(note), rename=self._fits(path, note), safe=note.safe if note else True,
        )  # fmt: skip
        return Judged(judgement, keyword=name)

    def _gone(
        self, path: str, name: str, symbol: str, note: overlay.Note | None, *, in_old: bool, marks: tuple[str, ...],
        certain: bool = True,
    ) -> Judgement:  # fmt: skip
        del marks
        existence = self.history.parameter(path, name)
        return Judgement(
            code="LL201", verdict=Verdict.BREAKS if in_old else Verdict.BROKEN, symbol=symbol,
            message=f"{path} {_has_no(name, existence)}",
            confidence=Confidence.CERTAIN if certain else Confidence.LIKELY, changed_in=existence.removed_in,
            replacement=note.replacement if note else "", origin=_origin(note), rename=self._fits(path, note),
            safe=note.safe if note else True,
        )  # fmt: skip

    def _never_parameter(
        self, path: str, name: str, symbol: str, marks: tuple[str, ...], old: dict[str, Parameter],
        new: dict[str, Parameter],
    ) -> Judged | None:  # fmt: skip
        owner = path.rpartition(".")[0]
        if any(not mark.startswith(_QUIET) for mark in marks) or not documented(path, self._new.table):
            return None
        if self._kind_now(owner) != "module":
            return None  # a method: that the object is of this class is less certain
        near = difflib.get_close_matches(name, sorted({*old, *new}), n=1, cutoff=0.75)
        judgement = Judgement(
            code="LL204", verdict=Verdict.BROKEN, symbol=symbol, confidence=Confidence.LIKELY,
            message=f"{path} has no parameter {name} in any release", replacement=f"{near[0]}=" if near else "",
        )  # fmt: skip
        return Judged(judgement, keyword=name)

    def _positional(
        self, path: str, call: Call, was: tuple[Parameter, ...], now: tuple[Parameter, ...], marks: tuple[str, ...]
    ) -> list[Judged]:
        old = [each.name for each in was if each.kind == "positional"]
        new = [each.name for each in now if each.kind == "positional"]
        star = any(each.kind == "*args" for each in now)
        all_new = set(_named(now))
        for place in range(min(call.positional, len(old))):
            name = old[place]
            if place >= len(new):
                if star or any(mark.startswith(_SHIMS) for mark in marks):
                    return []
                how = "by keyword only" if name in all_new else "no more"
                message = f"{path} takes its positional argument {place + 1} ({name}) {how}"
                return [Judged(self._moved(path, name, message, place, call), position=place)]
            other = new[place]
            if other == name or (other not in old and name not in all_new):
                note = overlay.of_parameter(path, name)
                if other == name and note is not None and note.deprecated and note.name == name:
                    judged = self._old_keyword(f"{path}({name}=)", name, note, marks, True)
                    if judged is not None:
                        return [Judged(judged.judgement, position=place)]
                continue
            message = f"{path} takes {other} where it took {name} (positional argument {place + 1})"
            return [Judged(self._moved(path, name, message, place, call), position=place)]
        return []

    def _moved(self, path: str, name: str, message: str, place: int, call: Call) -> Judgement:
        del call
        changed = ""
        for number in range(self.history.old + 1, self.history.new + 1):
            given = self.history.surface(number).parameters(path)
            names = [each.name for each in given or () if each.kind == "positional"]
            if given is not None and (place >= len(names) or names[place] != name):
                changed = self.history.releases[number].version
                break
        return Judgement(
            code="LL205", verdict=Verdict.BREAKS, symbol=f"{path}({name})", message=message, changed_in=changed,
            replacement=f"{name}=" if name in named_parameters(self._new, path) else "",
        )  # fmt: skip

    def _required(
        self, path: str, call: Call, was: tuple[Parameter, ...], now: tuple[Parameter, ...], broken: bool
    ) -> list[Judged]:
        if broken:
            return []  # a renamed parameter is reported as what it was
        old = _named(was)
        places = {each.name: place for place, each in enumerate(p for p in now if p.kind == "positional")}
        for each in now:
            if not each.required or each.name in call.keywords or places.get(each.name, 99) < call.positional:
                continue
            before = old.get(each.name)
            if before is not None and before.required:
                continue  # the call was wrong already, or its arguments are not all seen
            existed = self.history.existence(functools.partial(self._requires, path=path, name=each.name))
            judgement = Judgement(
                code="LL206", verdict=Verdict.BREAKS, symbol=f"{path}({each.name}=)", confidence=Confidence.LIKELY,
                message=f"{path} requires {each.name}", changed_in=existed.added_in, replacement=f"{each.name}=",
            )  # fmt: skip
            return [Judged(judgement)]
        return []

    def _requires(self, number: int, path: str, name: str) -> bool:
        return any(each.name == name and each.required for each in self.history.surface(number).parameters(path) or ())

    def _parameter_gone(self, path: str, name: str) -> str:
        return self.history.parameter(path, name).removed_in

    def _fits(self, path: str, note: overlay.Note | None) -> str:
        """The new keyword, if B's signature has it."""
        return note.rename if note is not None and note.rename in named_parameters(self._new, path) else ""

    def accepts(self, path: str, call: Call) -> bool:
        """Whether B's signature of a callable takes these arguments under the names A's had (for renamed functions)."""
        now = self._new.parameters(path)
        if now is None or call.star or call.starstar or call.positional > 1:
            return False
        return all(name in _named(now) for name in call.keywords)

    # -- Flavors and variables ----------------------------------------------------------------------------------------

    def flavor(self, name: str) -> Judgement | None:
        """A flavor a model was saved with."""
        existence = self.history.key("flavors", name)
        if existence.in_new or not existence.ever or existence.later or not existence.removed_in:
            return None
        note = overlay.of_name(f"mlflow.{name}")
        return Judgement(
            code="LL701", verdict=Verdict.BREAKS if existence.in_old else Verdict.BROKEN, symbol=f"mlflow.{name}",
            message=f"the flavor {name} {_was_removed(existence)}: such a model cannot be loaded",
            changed_in=existence.removed_in, replacement=note.replacement if note else "", origin=_origin(note),
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
            return Judgement(
                code="LL501", verdict=verdict, symbol=name, changed_in=existence.removed_in,
                message=f"MLflow does not read {name} since {existence.removed_in}",
                confidence=Confidence.CERTAIN if declared else Confidence.LIKELY,
            )  # fmt: skip
        events = self.catalogue.coded("environment").events
        known = [key for key in events if self.history.key("environment", key).in_new]
        starts = [key for key in known if key.startswith(name + "_")]
        near = starts or difflib.get_close_matches(name, known, n=1, cutoff=0.86)
        return Judgement(
            code="LL502", verdict=Verdict.UNKNOWN, symbol=name, confidence=Confidence.LIKELY,
            message=f"no release of MLflow reads {name}", replacement=near[0] if near else "",
        )  # fmt: skip


def _doubted(judged: Judged) -> Judged:
    if judged.judgement.origin is Origin.CURATED:
        return judged
    return Judged(replace(judged.judgement, confidence=Confidence.LIKELY), judged.keyword, judged.position)


def _named(parameters: tuple[Parameter, ...]) -> dict[str, Parameter]:
    return {each.name: each for each in parameters if each.kind in ("positional", "keyword")}


def _swallows(parameters: tuple[Parameter, ...]) -> bool:
    return any(each.kind == "**kwargs" for each in parameters)


def _shims(mark: str, name: str) -> bool:
    if mark.startswith("request_id_backward_compatible"):
        return name == "request_id"
    return f"'{name}'" in mark.partition(",")[0]


def _shim_name(mark: str) -> str:
    names = re.findall(r"'(\w+)'", mark)
    return f"{names[1]}=" if len(names) > 1 else "trace_id="


def _alternative(found: Definition | None) -> str:
    mark = next((each for each in found.marks if each.startswith("deprecated(")), "") if found is not None else ""
    said = re.search(r"alternative=(['\"])(.*?)\1[,)]", mark) or re.match(r"deprecated\((['\"])(.*?)\1[,)]", mark)
    return said[2] if said else ""


def _origin(note: overlay.Note | None) -> Origin:
    return Origin.CURATED if note is not None else Origin.CATALOGUE


def _was_removed(existence: Existence) -> str:
    return f"was removed in {existence.removed_in}" + (" already" if existence.gone_before else "")


def _has_no(name: str, existence: Existence) -> str:
    since = f" since {existence.removed_in}" if existence.removed_in else ""
    return f"has no parameter {name}{since}" + (" already" if existence.gone_before else "")
