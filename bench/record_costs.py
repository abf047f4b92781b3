"""`make revision-costs`: what every revision costs on both engines, by size of tables, as data.

    python -m bench.record_costs [--only tracking:REVISION ...] [--engine sqlite] [--wheel FILE.whl ...] [--into FILE]

The newest installable release's environment runs them; a wheel adds the revisions of a release that cannot be
installed. What is not in `--only` stays as it was. All of it is 15 to 25 minutes of CPU time; figures are CPU seconds,
the least of up to three runs on equal copies, so another program on the machine changes little (see
liftlock.releases.inside.cost). The bench's server writes without fsync and autovacuum, and builds an index with one
process.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from bench.record_revisions import unpacked
from liftlock import clock
from liftlock.demo.postgres import PostgresServer
from liftlock.files import write_atomic
from liftlock.knowledge.costs import Cost, Measured, Table
from liftlock.model.codec import from_builtins, from_json, to_builtins
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.index import Index
from liftlock.releases.worker import Worker

INTO = Path("src/liftlock/knowledge/data/revision_costs.json")
CHAINS = ("tracking", "auth")
_SETTINGS = ("autovacuum=off", "max_parallel_maintenance_workers=0")
_TIMEOUT = 6 * 3600.0


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="CHAIN:REVISION")
    parser.add_argument("--engine", action="append", choices=["sqlite", "postgresql"], default=[])
    parser.add_argument("--wheel", type=Path, action="append", default=[])
    parser.add_argument("--into", type=Path, default=INTO)
    options = parser.parse_args(arguments)
    environments = Environments()
    newest = Index(environments.root).newest_installable()
    environment = environments.build(Release.parse(str(newest)), drivers={Engine.POSTGRESQL})
    engines = [Engine(name) for name in options.engine] or [Engine.SQLITE, Engine.POSTGRESQL]
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        with PostgresServer(directory / "postgres", durable=False, settings=_SETTINGS) as server:
            for number, wheel in enumerate([None, *options.wheel]):
                release = wheel.name.split("-")[1] if wheel else str(newest)
                for chain in CHAINS:
                    scripts = unpacked(wheel, directory / f"wheel{number}", chain) if wheel else None
                    only = [name.partition(":")[2] for name in options.only if name.startswith(f"{chain}:")]
                    if wheel and not options.only:  # what the environment's own release has was measured with it
                        only = _new(environment, scripts, chain)
                    if (options.only or wheel) and not only:
                        continue
                    for engine in engines:
                        uri = (
                            f"sqlite:///{directory}/{chain}{number}.db" if engine is Engine.SQLITE
                            else server.create_database(f"{chain}{number}").reveal()
                        )  # fmt: skip
                        asked = {"uri": uri, "chain": chain, "only": only, "scripts": scripts}
                        keep = functools.partial(_keep, options.into, chain, engine, release)
                        with Worker(environment.python, f"MLflow {environment.release}") as worker:
                            worker.call("cost", "measure", asked, timeout=_TIMEOUT, progress=keep)
    return 0


def _keep(into: Path, chain: str, engine: Engine, release: str, found: Mapping[str, Any]) -> None:
    """Write what was measured of one revision, so that a run that is cut off loses no more than one."""
    print(chain, engine.value, found["id"], file=sys.stderr, flush=True)
    known = from_json(into.read_bytes(), Table) if into.exists() else Table(machine="", revisions=())
    write_atomic(into, text(merged(known, found, chain, engine, release)), mode=0o644)


def _new(environment: Environment, scripts: str | None, chain: str) -> list[str]:
    """The revisions of a wheel that the environment's release does not have."""
    with Worker(environment.python, f"MLflow {environment.release}") as worker:
        answers: list[list[str]] = [
            worker.call("cost", "revisions", {"chain": chain, "scripts": each}, timeout=60) for each in (None, scripts)
        ]
    return [name for name in answers[1] if name not in answers[0]]


def merged(table: Table, found: Mapping[str, Any], chain: str, engine: Engine, release: str) -> Table:
    """The table with one more measurement, which replaces what was known of that revision on that engine."""
    known = {(each.chain, each.id): each for each in table.revisions}
    old = known.get((chain, found["id"]))
    values = {name: value for name, value in found.items() if name != "id"}
    measured = from_builtins({**values, "loads": [_ascending(each) for each in found["loads"]]}, Measured)
    engines = {**(old.engines if old else {}), engine: measured}
    today = f"{clock.now():%Y-%m-%d}"
    known[chain, found["id"]] = Cost(
        id=found["id"], chain=chain, day=today, release=release,
        engines={each: engines[each] for each in Engine if each in engines},
    )  # fmt: skip
    return Table(machine=machine(), revisions=tuple(known.values()))


def _ascending(load: Mapping[str, Any]) -> dict[str, Any]:
    """Fewer rows take no longer than more: what says so is noise, of a few hundredths of a second."""
    seconds = list(load["seconds"])
    for place in range(len(seconds) - 2, -1, -1):
        seconds[place] = min(seconds[place], seconds[place + 1])
    return {**load, "seconds": seconds}


def machine() -> str:
    """What ran it, in a line."""
    return (
        f"{psutil.cpu_count()} cores, {round(psutil.virtual_memory().total / 2**30)} GB, {platform.system()} "
        f"{platform.machine()}"
    )


def text(table: Table) -> str:
    """The table as JSON, a revision a line."""
    data = to_builtins(table)
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in data.pop("revisions"))
    head = json.dumps(data, ensure_ascii=False)[:-1]
    return f'{head}, "revisions": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
