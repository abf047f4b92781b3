"""Retention: which sets may go, decided without looking at the world, and their removal."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from liftlock.backup.catalog import list_sets
from liftlock.backup.layout import REMOVING
from liftlock.effects import side_effect
from liftlock.errors import BackupError
from liftlock.files import remove_tree, sync_directory
from liftlock.model.snapshot import BackupSet

_LEFTOVER_AGE = timedelta(days=1)


@dataclass(frozen=True)
class Pruning:
    """What goes and what stays: ids of sets to remove, oldest first; id -> reason of those that stay."""

    remove: tuple[str, ...]
    keep: dict[str, str]


@dataclass(frozen=True)
class Pruned:
    """What was removed: ids of sets, and names of unfinished leftovers; `keep` as in the plan."""

    removed: tuple[str, ...]
    leftovers: tuple[str, ...]
    keep: dict[str, str]


def plan_prune(sets: Iterable[BackupSet], *, keep_last: int | None, keep_days: int | None, now: datetime) -> Pruning:
    """Decide by count and by age; a set goes only if no rule and no mark holds it.

    A rule that is None holds nothing; with both None nothing goes. Kept always: marked sets, and the newest
    verified set (the newest of all where none is verified). Sets that others are based on need no protection:
    shared files are hard links.
    """
    ordered = sorted(sets, key=lambda one: (one.created_at, one.id), reverse=True)
    verified = [one for one in ordered if one.verified_at is not None]
    last_resort = (verified or ordered)[:1]
    remove: list[str] = []
    keep: dict[str, str] = {}
    for position, one in enumerate(ordered):
        if one.keep:
            keep[one.id] = f"kept by {one.kept_by}" if one.kept_by else "marked to be kept"
        elif one in last_resort:
            keep[one.id] = "the newest verified set" if one.verified_at else "the newest set; none is verified"
        elif keep_last is None and keep_days is None:
            keep[one.id] = "no rule says otherwise"
        elif keep_last is not None and position < keep_last:
            keep[one.id] = f"among the newest {keep_last}"
        elif keep_days is not None and now - one.created_at < timedelta(days=keep_days):
            keep[one.id] = f"younger than {keep_days} days"
        else:
            remove.append(one.id)
    return Pruning(tuple(reversed(remove)), keep)


def prune(directory: Path, *, keep_last: int | None, keep_days: int | None, now: datetime) -> Pruned:
    """Remove what `plan_prune` says, and leftovers of killed work that nothing has touched for a day.

    Damaged sets stay: a person decides about them. A crash leaves every set whole or unlisted.
    Raises BackupError when something cannot be removed.
    """
    found = list_sets(directory)
    plan = plan_prune(found.sets, keep_last=keep_last, keep_days=keep_days, now=now)
    leftovers = []
    try:
        for path in found.unfinished:
            if path.name.endswith(REMOVING) or now - _touched(path) > _LEFTOVER_AGE:
                with side_effect("remove leftover"):
                    remove_tree(path)
                leftovers.append(path.name)
        for identity in plan.remove:
            going = directory / (identity + REMOVING)
            with side_effect("unlist backup"):
                (directory / identity).rename(going)
                sync_directory(directory)
            with side_effect("remove backup"):
                remove_tree(going)
    except OSError as error:
        raise BackupError(
            f"a backup in {directory} cannot be removed: {error.strerror or error}",
            hint="Run the command as the user who owns the backups.",
        ) from error
    return Pruned(plan.remove, tuple(leftovers), plan.keep)


def _touched(path: Path) -> datetime:
    """When anything below `path` was last changed (a long backup still writes its files)."""
    newest = path.stat().st_mtime
    for entry in path.rglob("*"):
        with suppress(FileNotFoundError):  # its owner is at work
            newest = max(newest, entry.lstat().st_mtime, entry.lstat().st_ctime)
    return datetime.fromtimestamp(newest, UTC)
