"""What each Alembic revision of MLflow does to a database with rows in it: recorded by running it, not read off it.

`data/revisions_recorded.toml` is written by `make revisions`: every revision was run on SQLite and on PostgreSQL over a
database filled with rows, its statements recorded and its rows compared before and after. `data/revisions.toml` is
written by hand for the few that compute or move rows: the families of rows that must be transformed together, and
where that was read. A revision that was not recorded, or that does more than its record explains, is *global*.
"""

from __future__ import annotations

import enum
import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import msgspec

from liftlock.model.codec import Value, from_builtins
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine


class RevisionKind(enum.StrEnum):
    """How far a row's new form depends on other rows.

    THROUGH: on the row alone, and only by renaming, leaving out and adding constants. GROUP_LOCAL: on the rows of
    its family (a trace with all that hangs on it), so a family's rows alone can be put through the migration. GLOBAL:
    on anything, as far as anybody knows: only the whole database can.
    """

    THROUGH = "pass-through"
    GROUP_LOCAL = "group-local"
    GLOBAL = "global"


class Fill(enum.StrEnum):
    """What rows that were there get in a new column: NULL, the column's default, or something computed from rows."""

    NULL = "null"
    DEFAULT = "default"
    COMPUTED = "computed"


class Work(Value, frozen=True):
    """What one engine did: tables written anew or validated row by row, tables given an index, tables locked against
    everybody (PostgreSQL; on SQLite every migration locks the whole file).
    """

    rewritten: tuple[str, ...] = ()
    indexed: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()


class Recorded(Value, frozen=True):
    """One revision as it was seen running. Tables and columns named are those that existed before it, except `created`
    and the columns of `added`.

    `reads` and `writes`: tables whose rows the revision itself selects, and inserts, updates or deletes (rewriting a
    table row by row into an equal one is not counted). `changed`: tables in which the columns that stayed differed
    afterwards, or rows came or went; `computed`: columns of old rows that got what is neither NULL nor the default.
    `seen`: the fewest rows any of the tables it touches had, so that "nothing changed" means something.
    """

    title: str
    after: str
    created: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    added: dict[str, dict[str, Fill]] = msgspec.field(default_factory=dict)
    renamed: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    removed: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    changed: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    seen: int = 0
    work: dict[Engine, Work] = msgspec.field(default_factory=dict)


class Annotation(Value, frozen=True):
    """What a person read in a revision that computes: with its source.

    `families` are names known to `online.families`. `rewrites` are columns that were there and that it changes in old
    rows. `clocks` are columns it fills from the clock, `sums` columns it fills with a sum of floating-point numbers,
    whose last digit depends on the order of rows. `aborts` says what makes it fail.
    """

    kind: RevisionKind
    why: str
    source: str
    families: tuple[str, ...] = ()
    rewrites: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    clocks: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    sums: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    aborts: tuple[str, ...] = ()


class Revision(Value, frozen=True):
    """One revision of one chain (ids are unique only within a chain: `a1b2c3d4e5f6` is in both)."""

    id: str
    chain: str
    recorded: Recorded | None = None
    annotation: Annotation | None = None

    @property
    def kind(self) -> RevisionKind:
        """Its class; GLOBAL where nobody recorded it, or where it does more than was explained by hand."""
        if self.recorded is None:
            return RevisionKind.GLOBAL
        if self.annotation is not None:
            return self.annotation.kind
        return RevisionKind.THROUGH if plain(self.recorded) else RevisionKind.GLOBAL

    @property
    def why(self) -> str:
        """Why it has its kind, in a few words."""
        if self.recorded is None:
            return "nobody has classified it yet"
        if self.annotation is not None:
            return self.annotation.why
        return "adds, renames or re-types only" if plain(self.recorded) else "does more to rows than was explained"


def plain(recorded: Recorded) -> bool:
    """Whether a record alone shows that rows pass through: none read, written, computed, changed or dropped."""
    computed = any(fill is Fill.COMPUTED for fills in recorded.added.values() for fill in fills.values())
    return not (computed or recorded.changed or recorded.reads or recorded.writes or recorded.dropped)


def revision(chain: Role, name: str) -> Revision:
    """All that is known of a revision; an unknown one is there too, and global."""
    return Revision(
        id=name, chain=chain_name(chain), recorded=_recorded().get(chain_name(chain), {}).get(name),
        annotation=_annotated().get(chain_name(chain), {}).get(name),
    )  # fmt: skip


def jump(chain: Role, names: Iterable[str]) -> tuple[Revision, ...]:
    """The revisions of an upgrade, in order."""
    return tuple(revision(chain, name) for name in names)


def known(chain: Role) -> tuple[str, ...]:
    """The ids recorded for a chain, in the order they run."""
    return tuple(_recorded().get(chain_name(chain), {}))


def chain_name(role: Role) -> str:
    """The chain a database of this role follows: `tracking` or `auth`."""
    return "auth" if role is Role.AUTH else "tracking"


@functools.cache
def _recorded() -> Mapping[str, Mapping[str, Recorded]]:
    return from_builtins(_read("revisions_recorded.toml"), dict[str, dict[str, Recorded]])


@functools.cache
def _annotated() -> Mapping[str, Mapping[str, Annotation]]:
    return from_builtins(_read("revisions.toml"), dict[str, dict[str, Annotation]])


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("liftlock.knowledge").joinpath("data", name).read_text("utf-8"))
