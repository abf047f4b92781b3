"""Export a deployment straight from its databases into JSON Lines that people and tools read without MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from liftlock import clock
from liftlock.artifacts.interface import ArtifactStore
from liftlock.effects import side_effect
from liftlock.errors import LiftlockError, Refused
from liftlock.export.kinds import PASSWORD_HASH, REGISTRY, TRACKING, USERS, Child, Kind
from liftlock.export.lines import LineFile
from liftlock.export.read import Reader
from liftlock.files import PRIVATE_DIR, remove_tree, sync_directory, write_atomic
from liftlock.model.codec import Value, to_json
from liftlock.model.deployment import Role
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.secret import redact
from liftlock.model.uri import Engine, StoreUri
from liftlock.stores.interface import Store
from liftlock.stores.opening import open_store

FORMAT = "liftlock-export"
FORMAT_VERSION = 1
INDEX = "export.json"
_REPORT_EVERY = 1000


class ExportFile(Value, frozen=True):
    """One file of an export: lines, bytes and SHA-256."""

    name: str
    lines: int
    bytes: int
    sha256: str


class ExportTable(Value, frozen=True):
    """One table of a source: its rows and how many of them are in the export (fewer: orphans, or not exported)."""

    rows: int
    exported: int


class ExportSource(Value, frozen=True):
    """One database that was read."""

    role: Role
    engine: Engine
    revision: str | None
    tables: dict[str, ExportTable]


class ExportReport(Value, frozen=True):
    """The index of an export (`export.json`). Times are UTC; `artifacts` is `reference` or `copy`."""

    format: str
    format_version: int
    created_at: datetime
    release: str
    artifacts: str
    password_hashes: bool
    sources: tuple[ExportSource, ...]
    files: tuple[ExportFile, ...]
    left_out_artifacts: dict[str, str]
    seconds: float

    def lines(self, name: str) -> int:
        """Lines of one file (`runs`, `metrics`, ...); 0 when there is none."""
        return next((file.lines for file in self.files if file.name == f"{name}.jsonl"), 0)


def export(
    stores: Mapping[Role, Store],
    directory: Path,
    *,
    release: str,
    artifacts: Mapping[str, ArtifactStore] | None = None,
    include_password_hashes: bool = False,
    observer: Observer = silent,
) -> ExportReport:
    """Write everything into a new directory, owner-only, that appears whole or not at all.

    SQLite is read from a private snapshot, so a live server is not held up; PostgreSQL is read live, each batch of
    rows from one moment. `artifacts` maps root URIs to stores whose files are copied below `artifacts/<n>/`; with
    None artifacts stay where they are and the lines name them by URI.

    Raises Refused when `directory` exists and is not empty, LiftlockError when it cannot be written, StoreError.
    """
    started = clock.monotonic()
    partial = directory.with_name(directory.name + ".partial")
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise Refused(f"{directory} exists already", hint="Name a directory that does not exist yet.")
        with side_effect("make export directory"):
            remove_tree(partial)  # left by an export that was killed
            partial.mkdir(parents=True, mode=PRIVATE_DIR)
        try:
            report = _write(stores, partial, release, artifacts, include_password_hashes, observer, started)
            with side_effect("publish export"):
                partial.rename(directory)
                sync_directory(directory.parent)
        except BaseException:
            with suppress(OSError):  # the next export into this directory removes it
                remove_tree(partial)
            raise
    except OSError as error:
        raise LiftlockError(
            f"no export can be written to {directory}: {error.strerror or error}",
            hint="Free space there or name another directory.",
        ) from error
    return report


def _write(
    stores: Mapping[Role, Store],
    partial: Path,
    release: str,
    artifacts: Mapping[str, ArtifactStore] | None,
    password_hashes: bool,
    observer: Observer,
    started: float,
) -> ExportReport:
    files: list[ExportFile] = []
    sources: list[ExportSource] = []
    left_out: dict[str, str] = {}
    scratch = partial / ".copies"
    for role, store in stores.items():
        place = scratch / role
        with side_effect(f"export {role}"):
            reader = Reader(_quiet(store, place, observer))
            for kind in _kinds(role, stores):
                files += _kind(reader, kind, partial, observer)
            if role is Role.AUTH:
                files += _auth(reader, partial, password_hashes)
            sources.append(
                ExportSource(
                    role=role,
                    engine=store.uri.engine,
                    revision=reader.store.revision(),
                    tables={
                        table: ExportTable(rows=reader.count(table), exported=reader.exported[table])
                        for table in sorted(reader.tables)
                    },
                )
            )
            remove_tree(place)
    remove_tree(scratch)
    if artifacts is not None:
        with side_effect("export artifacts"):
            files.append(_artifacts(artifacts, partial, left_out, observer))
    report = ExportReport(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        created_at=clock.now(),
        release=release,
        artifacts="reference" if artifacts is None else "copy",
        password_hashes=password_hashes,
        sources=tuple(sources),
        files=tuple(files),
        left_out_artifacts=left_out,
        seconds=round(clock.monotonic() - started, 3),
    )
    with side_effect("write export index"):
        write_atomic(partial / INDEX, to_json(report, indent=1) + "\n")
    return report


def _quiet(store: Store, place: Path, observer: Observer) -> Store:
    """The store itself, or a private copy where reading it would hold a live server up."""
    if store.uri.engine is not Engine.SQLITE:
        return store
    place.mkdir(parents=True, mode=PRIVATE_DIR)
    snapshot = store.snapshot(place, observer=observer)
    (entry,) = snapshot.files
    return open_store(StoreUri(engine=Engine.SQLITE, scheme="sqlite", database=str(place / entry.path)), store.role)


def _kinds(role: Role, stores: Mapping[Role, Store]) -> tuple[Kind, ...]:
    """What lies in which database: a registry store of its own holds the registry, else tracking does."""
    if role is Role.REGISTRY:
        return REGISTRY
    if role is Role.TRACKING:
        return TRACKING if Role.REGISTRY in stores else TRACKING + REGISTRY
    return ()


def _kind(reader: Reader, kind: Kind, partial: Path, observer: Observer) -> list[ExportFile]:
    if not reader.has(kind.table):
        return []
    with ExitStack() as stack:
        main = stack.enter_context(LineFile(partial / f"{kind.name}.jsonl"))
        spilled = {
            child.name: stack.enter_context(LineFile(partial / f"{child.name}.jsonl"))
            for child in kind.spill
            if reader.has(child.table)
        }

        def spill(child: Child, line: dict[str, Any]) -> None:
            spilled[child.name].add(line)

        for line in reader.lines(kind, spill):
            main.add(line)
            if main.lines % _REPORT_EVERY == 0:
                observer(Progress(work=f"export {kind.name}", done=main.lines, unit="rows"))
    return [_entry(file) for file in (main, *spilled.values())]


def _auth(reader: Reader, partial: Path, password_hashes: bool) -> list[ExportFile]:
    """Users, and every other table of the auth database as permissions: releases differ in which there are."""
    found = []
    if reader.has(USERS.table):
        with LineFile(partial / f"{USERS.name}.jsonl") as users:
            for row in reader.rows(USERS.table, without=() if password_hashes else (PASSWORD_HASH,), order=USERS.key):
                users.add({**row, "is_admin": bool(row["is_admin"])} if "is_admin" in row else row)
        found.append(_entry(users))
    with LineFile(partial / "permissions.jsonl") as permissions:
        for table in sorted(reader.tables):
            if table != USERS.table and not table.startswith("alembic_version"):
                for row in reader.rows(table):
                    permissions.add({"table": table, **row})
    return [*found, _entry(permissions)]


def _artifacts(
    artifacts: Mapping[str, ArtifactStore], partial: Path, left_out: dict[str, str], observer: Observer
) -> ExportFile:
    with LineFile(partial / "artifacts.jsonl") as lines:
        for number, (uri, store) in enumerate(artifacts.items()):
            place = f"artifacts/{number}"
            skipped: dict[str, str] = {}
            files = store.inventory(on_skip=skipped.__setitem__, observer=observer)
            store.copy(files, partial / place, on_skip=skipped.__setitem__, observer=observer)
            for file in files:
                if file.path not in skipped:
                    lines.add(
                        {
                            "root": redact(uri), "path": file.path, "file": f"{place}/{file.path}",
                            "bytes": file.bytes, "sha256": file.sha256, "mtime_ns": file.mtime_ns,
                        }
                    )  # fmt: skip
            left_out.update({f"{redact(uri)} {path}": reason for path, reason in skipped.items()})
    return _entry(lines)


def _entry(file: LineFile) -> ExportFile:
    entry = file.entry()
    return ExportFile(name=entry.path, lines=file.lines, bytes=entry.bytes, sha256=entry.sha256)
