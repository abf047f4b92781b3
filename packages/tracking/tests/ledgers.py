"""The independent ledger: what applications were told against what the server's database holds."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any


def ledger(folder: Path) -> list[dict[str, Any]]:
    """What every worker wrote down: calls it began and calls it was told are done."""
    entries: list[dict[str, Any]] = []
    for path in sorted(folder.glob("ledger-*.jsonl")):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                entries.append(json.loads(line))
    return entries


def compare(database: Path, entries: list[dict[str, Any]], *, artifacts: Path | None = None) -> list[str]:
    """Differences between what applications were told and what the server's database holds; empty if none.

    Reads the database itself, with nothing of ours or of MLflow's in between.
    """
    done = [e for e in entries if e["state"] == "done"]
    begun = {e["id"]: e for e in entries if e["state"] == "begun"}
    for entry in done:
        begun.pop(entry["id"], None)
    said: list[str] = []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        runs: dict[str, list[tuple[str, str, str]]] = {}
        for name, run_id, status in db.execute(
            "SELECT name, run_uuid, status FROM runs WHERE lifecycle_stage = 'active' AND experiment_id = 0"
        ):
            runs.setdefault(name, []).append((name, run_id, status))
        want_runs = {e["run"] for e in done if e["op"] == "start"}
        may_runs = {e["run"] for e in begun.values() if e["op"] == "start"}
        for name in want_runs:
            if len(runs.get(name, [])) != 1:
                said.append(f"run {name}: {len(runs.get(name, []))} times")
        for name in set(runs) - want_runs - may_runs:
            said.append(f"run {name}: nobody made it")
        ids = {found[0][1]: name for name, found in runs.items()}
        maybe = list(begun.values())
        said += _metrics(db, ids, done, maybe)
        said += _values(db, ids, done, maybe)
        for entry in done:
            if entry["op"] == "end" and runs.get(entry["run"], [("", "", "")])[0][2] != entry["status"]:
                said.append(f"run {entry['run']}: status {runs.get(entry['run'])}, not {entry['status']}")
        parents = dict(db.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'"))
        names = {name: run_id for run_id, name in ids.items()}
        for entry in done:
            if (
                entry["op"] == "start"
                and entry.get("parent")
                and parents.get(names.get(entry["run"], "")) != names.get(entry["parent"])
            ):
                said.append(f"run {entry['run']}: parent {parents.get(names.get(entry['run'], ''))}")
        if artifacts is not None:
            for entry in done:
                if entry["op"] == "artifact":
                    found = list(artifacts.glob(f"*/{names.get(entry['run'], 'none')}/artifacts/{entry['path']}"))
                    if len(found) != 1 or found[0].read_text() != entry["text"]:
                        said.append(f"artifact {entry['path']} of {entry['run']}: {found}")
    return said


def _metrics(
    db: sqlite3.Connection, ids: dict[str, str], done: list[dict[str, Any]], maybe: list[dict[str, Any]]
) -> list[str]:
    want = Counter((e["run"], k, v, s) for e in done if e["op"] == "metrics" for k, v, s in e["points"])
    may = {(e["run"], k, v, s) for e in maybe if e["op"] == "metrics" for k, v, s in e["points"]}
    have: Counter[tuple[str, str, float, int]] = Counter()
    for run_id, key, value, step in db.execute("SELECT run_uuid, key, value, step FROM metrics"):
        if run_id in ids and not key.startswith("system/"):
            have[(ids[run_id], key, value, step)] += 1
    lost = [f"metric lost: {item} {count}" for item, count in (want - have).items()]
    extra = [f"metric too much: {item} {count}" for item, count in (have - want).items() if item not in may]
    return lost + extra


def _values(
    db: sqlite3.Connection, ids: dict[str, str], done: list[dict[str, Any]], maybe: list[dict[str, Any]]
) -> list[str]:
    said = []
    names = {name: run_id for run_id, name in ids.items()}
    for table, op in (("params", "param"), ("tags", "tag")):
        want: dict[tuple[str, str], str | None] = {}
        for entry in done:
            if entry["op"] == op:
                want[(entry["run"], entry["key"])] = entry["value"]
        may = {(e["run"], e["key"]) for e in maybe if e["op"] == op}
        have = {(run, key): value for run, key, value in db.execute(f"SELECT run_uuid, key, value FROM {table}")}
        for (name, key), value in want.items():
            got = have.get((names.get(name, ""), key))
            if got != value and (name, key) not in may:
                said.append(f"{op} {key} of {name}: {got!r}, not {value!r}")
    return said
