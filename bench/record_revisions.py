"""`make revisions`: run every revision of MLflow on both engines and write what they did as data.

    python -m bench.record_revisions [--wheel FILE.whl ...] [--into FILE.toml]

The newest installable release's environment runs them. A wheel adds the revisions of a release that cannot be
installed (its migration files are run by the environment's own Alembic). Takes about two minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from liftlock.demo.postgres import PostgresServer
from liftlock.files import write_atomic
from liftlock.knowledge.revisions import Fill, Recorded, Work
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.index import Index
from liftlock.releases.worker import Worker

INTO = Path("src/liftlock/knowledge/data/revisions_recorded.toml")
# The heads of 2.0.1: nothing older is upgraded while people write.
SINCE = {"tracking": "97727af70f4d", "auth": "8606fa83a998"}
_SCRIPTS = {"tracking": "mlflow/store/db_migrations/", "auth": "mlflow/server/auth/db/migrations/"}
_TIMEOUT = 900.0


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheel", type=Path, action="append", default=[])
    parser.add_argument("--into", type=Path, default=INTO)
    options = parser.parse_args(arguments)
    environments = Environments()
    newest = Index(environments.root).newest_installable()
    environment = environments.build(Release.parse(str(newest)), drivers={Engine.POSTGRESQL})
    lines = [
        "# What each Alembic revision of MLflow does to a database with rows: written by `make revisions`.",
        f"# Run in the environment of MLflow {newest}, on SQLite and PostgreSQL. Revision ids are unique only within a",
        "# chain: `a1b2c3d4e5f6` is in both. The fields are those of liftlock.knowledge.revisions.Recorded.",
    ]
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        with PostgresServer(directory / "postgres", durable=False) as server:
            for chain, since in SINCE.items():
                found: dict[str, Recorded] = {}
                for number, source in enumerate([None, *options.wheel]):
                    scripts = unpacked(source, directory / f"wheel{number}", chain) if source else None
                    uris = {
                        Engine.SQLITE: f"sqlite:///{directory}/{chain}{number}.db",
                        Engine.POSTGRESQL: server.create_database(f"{chain}{number}").reveal(),
                    }
                    by_engine = {
                        engine: _recorded(environment, uri, chain, since, scripts) for engine, uri in uris.items()
                    }
                    for name in by_engine[Engine.SQLITE]:
                        found.setdefault(name, merged({engine: each[name] for engine, each in by_engine.items()}))
                for name, recorded in found.items():
                    lines += ["", *toml(chain, name, recorded)]
    write_atomic(options.into, "\n".join(lines) + "\n", mode=0o644)
    return 0


def unpacked(wheel: Path, directory: Path, chain: str) -> str:
    """The migration files of one chain out of a wheel; the directory they are in."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory, [name for name in archive.namelist() if name.startswith(_SCRIPTS[chain])])
    return str(directory / _SCRIPTS[chain])


def _recorded(
    environment: Environment, uri: str, chain: str, since: str, scripts: str | None
) -> dict[str, dict[str, Any]]:  # fmt: skip
    with Worker(environment.python, f"MLflow {environment.release}") as worker:
        answer = worker.call(
            "record", "record", {"uri": uri, "chain": chain, "since": since, "scripts": scripts}, timeout=_TIMEOUT,
            progress=lambda value: print(chain, uri.split(":")[0], value["revision"], file=sys.stderr),
        )  # fmt: skip
    return {each["id"]: each for each in answer["revisions"]}


def merged(by_engine: dict[Engine, dict[str, Any]]) -> Recorded:
    """One record of what both engines did; what they disagree on counts as done (a fill as computed)."""
    every = list(by_engine.values())
    first = every[0]
    for name in ("created", "dropped", "renamed", "removed", "keys"):
        if any(each[name] != first[name] for each in every):
            raise SystemExit(f"{first['id']}: the engines disagree on {name}: {[each[name] for each in every]}")

    def union(name: str) -> tuple[str, ...]:
        return tuple(sorted({table for each in every for table in each[name]}))

    touched = {
        table for each in every for table in (*each["added"], *each["renamed"], *each["changed"], *each["writes"])
    }
    return Recorded(
        title=first["title"], after=first["after"], created=tuple(first["created"]), dropped=tuple(first["dropped"]),
        added={table: _fills(table, columns, every) for table, columns in first["added"].items()},
        renamed=first["renamed"], removed={table: tuple(columns) for table, columns in first["removed"].items()},
        keys={table: tuple(columns) for table, columns in first["keys"].items()},
        changed=union("changed"), reads=union("reads"), writes=union("writes"),
        seen=min((each["rows"][table] for each in every for table in touched), default=0),
        work={
            engine: Work(
                rewritten=tuple(each["rewritten"]), indexed=tuple(each["indexed"]),
                locked=tuple(each["locked"]) if engine is Engine.POSTGRESQL else (),
            )
            for engine, each in by_engine.items()
        },
    )  # fmt: skip


def _fills(table: str, columns: dict[str, str], every: list[dict[str, Any]]) -> dict[str, Fill]:
    agreed = {
        column: fill for column, fill in columns.items()
        if all(each["added"].get(table, {}).get(column) == fill for each in every)
    }  # fmt: skip
    return {column: Fill(agreed.get(column, Fill.COMPUTED)) for column in columns}


def toml(chain: str, name: str, recorded: Recorded) -> list[str]:
    """One record as TOML, without what is empty."""
    lines = [f"[{chain}.{name}]", f"title = {json.dumps(recorded.title)}", f"after = {json.dumps(recorded.after)}"]
    for field in ("created", "dropped", "changed", "reads", "writes"):
        if values := getattr(recorded, field):
            lines.append(f"{field} = {json.dumps(list(values))}")
    if recorded.seen:
        lines.append(f"seen = {recorded.seen}")
    for field in ("removed", "keys"):
        lines += [f"{field}.{table} = {json.dumps(list(value))}" for table, value in getattr(recorded, field).items()]
    for field in ("added", "renamed"):
        for table, columns in getattr(recorded, field).items():
            lines += [f"{field}.{table}.{column} = {json.dumps(value)}" for column, value in columns.items()]
    for engine, work in recorded.work.items():
        for field in ("rewritten", "indexed", "locked"):
            if values := getattr(work, field):
                lines.append(f"work.{engine.value}.{field} = {json.dumps(list(values))}")
    return lines


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
