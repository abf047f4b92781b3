"""What really changed between two releases, computed from the catalogue: a changelog that leaves nothing out.

Only names of the API reference are compared unless everything is asked for: three quarters of a raw diff are helpers
nobody calls.
"""

from __future__ import annotations

import enum

from liftlock.knowledge import catalogue_rest
from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.catalogue_api import Definition, Parameter, Surface, documented, parse
from liftlock.model.codec import Value
from liftlock.model.release import Release

# Sections whose keys are compared as they are.
PLAIN = ("dependencies", "tracking", "auth", "rest", "cli", "environment", "flavors")
_DIGEST = "...["  # how the extractor writes a default that is too long
_SHIMS = ("request_id_backward_compatible", "deprecated_parameter")


class What(enum.StrEnum):
    """How something changed."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Change(Value, frozen=True):
    """One difference. `breaks`: what was written for the old release may fail; `certain`: nothing seen could hide it.

    `before` and `after` are the facts; `source` is the file in which the newer of them was read.
    """

    section: str
    what: What
    key: str
    before: str = ""
    after: str = ""
    detail: str = ""
    source: str = ""
    breaks: bool = False
    certain: bool = True


class Diff(Value, frozen=True):
    """All changes between two releases, and the Pythons each declares."""

    source: Release
    target: Release
    python_before: str
    python_after: str
    changes: tuple[Change, ...]

    def of(self, section: str) -> tuple[Change, ...]:
        """The changes of one section."""
        return tuple(change for change in self.changes if change.section == section)


def diff(catalogue: Catalogue, old: Release, new: Release, *, everything: bool = False) -> Diff:
    """The changes from one release to another. Raises ReleaseError for an unknown release."""
    before, after = catalogue.number(old), catalogue.number(new)
    changes: list[Change] = []
    for name in PLAIN:
        for key, was, now in catalogue.coded(name).changed(before, after):
            what = What.ADDED if was is None else What.REMOVED if now is None else What.CHANGED
            seen = now or was
            assert seen is not None
            removed = what is What.REMOVED
            change = Change(
                section=name, what=what, key=key, before=was.value if was else "", after=now.value if now else "",
                detail=catalogue_rest.detail(was.value, now.value) if was and now and name == "rest" else "",
                source=seen.source, breaks=removed and name in ("rest", "cli", "flavors"),
            )  # fmt: skip
            changes.append(change)
    changes += _Api(catalogue, old, new, everything).changes()
    return Diff(
        source=catalogue.require(old), target=catalogue.require(new), python_before=catalogue.python(old),
        python_after=catalogue.python(new), changes=tuple(changes),
    )  # fmt: skip


class _Api:
    def __init__(self, catalogue: Catalogue, old: Release, new: Release, everything: bool) -> None:
        self._old = Surface(catalogue.section("api", old))
        self._new = Surface(catalogue.section("api", new))
        self._everything = everything

    def changes(self) -> list[Change]:
        """Removed and changed names under their shortest path, each definition once; then names that are new."""
        found: list[Change] = []
        gone: set[str] = set()
        seen: set[str] = set()
        for path in self._paths(self._old):
            owner = path.rpartition(".")[0]
            if owner in gone:
                gone.add(path)
                continue
            canonical = self._old.canonical(path)
            was = self._old.definition(path)
            if canonical is None or was is None:
                continue
            now = self._new.definition(path)
            if now is None:
                gone.add(path)
                if path.endswith(".__init__"):
                    continue  # the class stands; its constructor is inherited or made by a decorator
                moved = self._new.definition(canonical) if canonical != path else None
                detail = f"still defined as {canonical}, no longer re-exported" if moved else ""
                if canonical not in seen:
                    seen.add(canonical)
                    found.append(_change(What.REMOVED, path, was, None, detail))
                continue
            if canonical in seen:
                continue
            seen.add(canonical)
            if was.text != now.text or was.marks != now.marks or was.kind != now.kind:
                change = _compared(path, was, now)
                if change is not None:
                    found.append(change)
        return found + self._added()

    def _added(self) -> list[Change]:
        found: list[Change] = []
        fresh: set[str] = set()
        seen: set[str] = set()
        for path in self._paths(self._new):
            if self._old.canonical(path) is not None:
                continue
            fresh.add(path)
            now = self._new.definition(path)
            if now is None or path.rpartition(".")[0] in fresh or now.path in seen or path.endswith(".__init__"):
                continue
            seen.add(now.path)
            if self._old.canonical(now.path) is None:
                found.append(_change(What.ADDED, path, None, now, ""))
        return found

    def _paths(self, surface: Surface) -> list[str]:
        paths = [path for path in surface.table if self._everything or documented(path, surface.table)]
        # a class reached through a link has its members at the definition only: give them the link's name too
        for path in list(paths):
            value = surface.table[path].value
            if value.startswith("> ") and not self._everything:
                target = surface.canonical(path)
                if target is not None and surface.table[target].value.startswith("c("):
                    paths += [f"{path}.{name}" for name in surface.members(target)]
        return sorted(set(paths), key=lambda path: (path.count("."), len(path), path))


def _change(what: What, path: str, was: Definition | None, now: Definition | None, detail: str) -> Change:
    seen = now or was
    assert seen is not None
    return Change(
        section="api", what=what, key=path, before=_shown(was), after=_shown(now), detail=detail or seen.kind,
        source=seen.source, breaks=what is What.REMOVED,
    )  # fmt: skip


def _shown(found: Definition | None) -> str:
    if found is None:
        return ""
    return f"({found.text})" if found.kind == "function" else found.text


def _compared(path: str, was: Definition, now: Definition) -> Change | None:
    """The change of one name that both releases have, or None when nothing a caller can see differs."""
    notes: list[str] = []
    breaks, certain = False, True
    if was.kind != now.kind:
        notes.append(f"{was.kind} became {now.kind}")
        certain = False
    elif was.kind == "function":
        notes, breaks = _signatures(parse(was.text), parse(now.text), now.marks)
        unknown = [mark for mark in now.marks if not mark.startswith(("deprecated", "experimental", "static", "class"))]
        certain = not unknown
    fresh = [mark for mark in now.marks if mark.startswith("deprecated(") and mark not in was.marks]
    old_deprecated = any(mark.startswith("deprecated") for mark in was.marks)
    if fresh and not old_deprecated:
        notes.append(f"now {fresh[0]}")
    if not notes:
        return None
    return Change(
        section="api", what=What.CHANGED, key=path, before=_shown(was), after=_shown(now), detail="; ".join(notes),
        source=now.source, breaks=breaks, certain=certain,
    )  # fmt: skip


def _signatures(
    was: tuple[Parameter, ...], now: tuple[Parameter, ...], marks: tuple[str, ...]
) -> tuple[list[str], bool]:
    """What a caller notices between two signatures, and whether a call that worked may fail."""
    notes: list[str] = []
    breaks = False
    old, new = {each.name: each for each in was}, {each.name: each for each in now}
    swallows = any(each.kind == "**kwargs" for each in now)
    shimmed = False
    for name, each in old.items():
        if name in new or each.kind in ("*args", "**kwargs"):
            continue
        if any(mark.startswith(_SHIMS) and (name in mark or mark.startswith("request_id")) for mark in marks):
            notes.append(f"{name}= kept by a shim")
            shimmed = True
        elif swallows:
            notes.append(f"{name}= now falls into **kwargs")
            breaks = True
        else:
            notes.append(f"{name}= removed")
            breaks = True
    for name, each in new.items():
        if name not in old and each.required and not shimmed:
            notes.append(f"{name} required")
            breaks = True
        elif name not in old and each.kind in ("positional", "keyword"):
            notes.append(f"{name}= added")
        elif name in old and old[name].default != each.default and each.kind in ("positional", "keyword"):
            notes.append(_default(old[name], each))
            breaks = breaks or each.required
        if name in old and old[name].kind == "positional" and each.kind == "keyword":
            notes.append(f"{name} by keyword only")
            breaks = True
    before = [each.name for each in was if each.kind == "positional" and each.name in new]
    after = [each.name for each in now if each.kind == "positional"]
    places = [after.index(name) for name in before if name in after]
    moved = [name for name, place in zip(before, places, strict=False) if before.index(name) != place]
    if moved and places != sorted(places):
        notes.append(f"order of positional parameters changed from {moved[0]} on")
        breaks = True
    return notes, breaks


def _default(was: Parameter, now: Parameter) -> str:
    if was.required:
        return f"{now.name} optional"
    if now.required:
        return f"{now.name} required"
    if str(was.default).startswith(_DIGEST) and str(now.default).startswith(_DIGEST):
        return f"{now.name}: its default, too long to show, is another one"
    return f"{now.name}: default {was.default} became {now.default}"
