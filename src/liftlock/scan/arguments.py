"""The arguments of a call against the signatures of A and B."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from packaging.version import Version

from liftlock.knowledge.catalogue_api import Definition, Parameter, documented
from liftlock.model.release import Release
from liftlock.scan import facts
from liftlock.scan.history import Existence, History, named_parameters
from liftlock.scan.model import Confidence, Judgement, Origin, Verdict, origin

_SHIMS = ("request_id_backward_compatible", "deprecated_parameter", "keyword_only")
_QUIET = ("deprecated", "experimental", "static", "class", "developer_stable", "wraps(", "property")


@dataclass
class Call:
    """The arguments of a call: how many positional ones are certain, the keywords, and whether more may come.

    `hidden`: keywords are given by a `**` that cannot be seen.
    """

    positional: int = 0
    keywords: Sequence[str] = ()
    star: bool = False
    starstar: bool = False
    hidden: bool = False


@dataclass
class Judged:
    """A judgement of an argument: which one (a keyword's name, or a position), or None for the name called."""

    judgement: Judgement
    keyword: str = ""
    position: int = -1


class Arguments:
    """Decides about arguments for one pair of releases."""

    def __init__(self, history: History, target: Release) -> None:
        self._history, self._target = history, target
        self._old, self._new = history.surface(history.old), history.surface(history.new)

    def judge(self, path: str, call: Call) -> list[Judged]:
        """The arguments of a call against the signatures of A and B."""
        now = self._new.parameters(path)
        was = self._before(path) if now is not None else None
        if now is None or was is None:
            return []
        definition = self._callee(path)
        marks = definition.marks if definition is not None else ()
        found = [judged for name in call.keywords if (judged := self._keyword(path, name, was, now, marks))]
        broken = {each.keyword for each in found}
        found += self._positional(path, call, was, now, marks)
        if call.hidden and self._reference(path):
            found += self._unseen(path, call, was, now, marks)
        if not self._reference(path):
            found = [_doubted(each) for each in found]
        if not any(mark.startswith(_SHIMS) for mark in marks) and not (call.star or call.starstar):
            found += self._required(path, call, was, now, bool(broken))
        return found

    def _before(self, path: str) -> tuple[Parameter, ...] | None:
        """A's signature of a callable, or that of the first release behind A that has it."""
        numbers = range(self._history.old, self._history.new)
        found = (self._history.surface(number).parameters(path) for number in numbers)
        return next((each for each in found if each is not None), None)

    def _unseen(
        self, path: str, call: Call, was: tuple[Parameter, ...], now: tuple[Parameter, ...], marks: tuple[str, ...]
    ) -> list[Judged]:
        """A `**` that may hold what B's signature lost."""
        new = _named(now)
        kept = {name for mark in marks if mark.startswith(_SHIMS) for name in _named(was) if _shims(mark, name)}
        lost = [name for name in _named(was) if name not in new and name not in kept and name not in call.keywords]
        if not lost:
            return []
        judgement = Judgement(
            code="LL207", verdict=Verdict.PARTIAL, symbol=f"{path}(**)", confidence=Confidence.LIKELY,
            message=f"what ** gives cannot be seen: {path} takes no {', '.join(lost[:4])} any more",
            changed_in=self._history.parameter(path, lost[0]).removed_in,
        )  # fmt: skip
        return [Judged(judgement)]

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
        note = facts.of_parameter(path, name)
        symbol = f"{path}({name}=)"
        if name in new:
            return self._old_keyword(symbol, name, note, marks, name in old)
        shim = next((mark for mark in marks if mark.startswith(_SHIMS) and _shims(mark, name)), "")
        if shim:
            if name not in old and not self._history.parameter(path, name).ever:
                return None
            judgement = Judgement(
                code="LL203", verdict=Verdict.DEPRECATED, symbol=symbol, message=f"{symbol} is deprecated",
                changed_in=self._parameter_gone(path, name), replacement=note.replacement if note else _shim_name(shim),
                origin=origin(note), rename=self._fits(path, note), safe=note.safe if note else True,
            )  # fmt: skip
            return Judged(judgement, keyword=name)
        swallowed_old, swallowed_new = _swallows(was), _swallows(now)
        if name not in old and (swallowed_old or swallowed_new):
            if swallowed_new or note is None:
                return None
            return Judged(self._gone(path, name, symbol, note, in_old=True, marks=marks, certain=False), keyword=name)
        if name not in old:
            existence = self._history.parameter(path, name)
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
                replacement=note.replacement if note else "", origin=origin(note), rename=self._fits(path, note),
            )  # fmt: skip
            return Judged(judgement, keyword=name)
        return Judged(self._gone(path, name, symbol, note, in_old=True, marks=marks), keyword=name)

    def _old_keyword(
        self, symbol: str, name: str, note: facts.Note | None, marks: tuple[str, ...], in_old: bool
    ) -> Judged | None:
        del in_old
        shim = next((mark for mark in marks if mark.startswith("deprecated_parameter") and _shims(mark, name)), "")
        curated = note is not None and bool(note.deprecated) and Version(note.deprecated) <= self._target.key
        if not shim and not curated:
            return None
        path = symbol.partition("(")[0]
        if curated and note is not None and note.rename and note.rename not in named_parameters(self._new, path):
            return None
        judgement = Judgement(
            code="LL203", verdict=Verdict.DEPRECATED, symbol=symbol,
            message=f"{symbol} is deprecated" + (f" since {note.deprecated}" if note and note.deprecated else ""),
            changed_in=note.deprecated if note else "", replacement=note.replacement if note else _shim_name(shim),
            origin=origin(note), rename=self._fits(path, note), safe=note.safe if note else True,
        )  # fmt: skip
        return Judged(judgement, keyword=name)

    def _gone(
        self, path: str, name: str, symbol: str, note: facts.Note | None, *, in_old: bool, marks: tuple[str, ...],
        certain: bool = True,
    ) -> Judgement:  # fmt: skip
        del marks
        existence = self._history.parameter(path, name)
        return Judgement(
            code="LL201", verdict=Verdict.BREAKS if in_old else Verdict.BROKEN, symbol=symbol,
            message=f"{path} {_has_no(name, existence)}",
            confidence=Confidence.CERTAIN if certain else Confidence.LIKELY, changed_in=existence.removed_in,
            replacement=note.replacement if note else "", origin=origin(note), rename=self._fits(path, note),
            safe=note.safe if note else True,
        )  # fmt: skip

    def _never_parameter(
        self, path: str, name: str, symbol: str, marks: tuple[str, ...], old: dict[str, Parameter],
        new: dict[str, Parameter],
    ) -> Judged | None:  # fmt: skip
        owner = path.rpartition(".")[0]
        if any(not mark.startswith(_QUIET) for mark in marks) or not documented(path, self._new.table):
            return None
        if self._kind(owner) != "module":
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
                note = facts.of_parameter(path, name)
                if other == name and note is not None and note.deprecated:
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
        for number in range(self._history.old + 1, self._history.new + 1):
            given = self._history.surface(number).parameters(path)
            names = [each.name for each in given or () if each.kind == "positional"]
            if given is not None and (place >= len(names) or names[place] != name):
                changed = self._history.releases[number].version
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
            existed = self._history.existence(functools.partial(self._requires, path=path, name=each.name))
            judgement = Judgement(
                code="LL206", verdict=Verdict.BREAKS, symbol=f"{path}({each.name}=)", confidence=Confidence.LIKELY,
                message=f"{path} requires {each.name}", changed_in=existed.added_in, replacement=f"{each.name}=",
            )  # fmt: skip
            return [Judged(judgement)]
        return []

    def _requires(self, number: int, path: str, name: str) -> bool:
        return any(each.name == name and each.required for each in self._history.surface(number).parameters(path) or ())

    def _parameter_gone(self, path: str, name: str) -> str:
        return self._history.parameter(path, name).removed_in

    def _fits(self, path: str, note: facts.Note | None) -> str:
        """The new keyword, if B's signature has it."""
        return note.rename if note is not None and note.rename in named_parameters(self._new, path) else ""

    def accepts(self, path: str, call: Call) -> bool:
        """Whether B's signature of a callable takes these arguments under the names A's had (for renamed functions)."""
        now = self._new.parameters(path)
        if now is None or call.star or call.starstar or call.positional > 1:
            return False
        return all(name in _named(now) for name in call.keywords)

    def _kind(self, path: str) -> str:
        found = self._new.definition(path)
        return found.kind if found is not None else ""


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


def _has_no(name: str, existence: Existence) -> str:
    since = f" since {existence.removed_in}" if existence.removed_in else ""
    return f"has no parameter {name}{since}" + (" already" if existence.gone_before else "")
