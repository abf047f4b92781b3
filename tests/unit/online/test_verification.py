"""Aligned verification: equal sides pass while they are written; every corruption is found, every seeded bug too."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from liftlock.errors import StoreError
from liftlock.online.control import Control
from liftlock.online.converge import Pace, converge
from liftlock.online.delta import Replacement
from liftlock.online.flow import Flow
from liftlock.online.translate import Translator
from liftlock.online.verification import Comparable, Verified, verify
from tests.support.online import TwoSides, two_sides

_WRITE = "INSERT INTO tags (key, value, run_uuid) SELECT ?, ?, run_uuid FROM runs ORDER BY random() LIMIT 1"


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[TwoSides]:
    with two_sides(tmp_path) as made:
        yield made


def run(flow: Flow, directory: Path) -> Verified:
    return verify(flow, cast(Comparable, flow.rules), Pace(), Control(directory))


def test_equal_sides_are_equal_while_people_write(sides: TwoSides, tmp_path: Path) -> None:
    stop = threading.Event()

    def people() -> None:
        with closing(sqlite3.connect(sides.blue.store.uri.path, timeout=20)) as connection:
            number = 0
            while not stop.is_set():
                with connection:
                    connection.execute(_WRITE, (f"k{number}", "v"))
                    connection.execute("DELETE FROM tags WHERE key = ?", (f"k{number - 3}",))
                number += 1
                time.sleep(0.003)  # SQLite's lock is not fair: without a gap nobody else ever gets it

    writer = threading.Thread(target=people)
    writer.start()
    try:
        flow = sides.flow()
        for _ in range(3):
            converge([flow], Pace(), Control(tmp_path))
            found = run(flow, tmp_path)
            assert found.wrong == 0 and found.rows > 20, found.differences
    finally:
        stop.set()
        writer.join()


def _tables(sides: TwoSides) -> list[tuple[str, tuple[str, ...]]]:
    return [(name, shape.columns) for name, shape in sides.green.shapes().items()]


def corrupt(sides: TwoSides, random: Random) -> str:
    """Change one cell, drop one row or add one in green, behind everybody's back."""
    with sides.green.applying() as target:
        while True:
            table, columns = random.choice(_tables(sides))
            shape = sides.green.shapes()[table]
            with sides.green.look() as view:
                rows = view.after(table, None, 1000)
            if not rows:
                continue
            row = random.choice(rows)
            key = tuple(row[columns.index(name)] for name in shape.key)
            how = random.choice(("cell", "drop", "null"))
            free = [index for index, name in enumerate(columns) if name not in shape.key]
            if how != "drop" and not free:
                continue
            target.delete(table, shape.key, [key])
            if how == "drop":
                return f"{table}: row dropped"
            index = random.choice(free)
            value: Any = None if how == "null" and row[index] is not None else f"changed {random.random()}"
            changed = tuple(value if at == index else cell for at, cell in enumerate(row))
            if target.refused(table, columns, [changed]):
                target.insert(table, columns, [row])
                continue
            return f"{table}.{columns[index]}: {row[index]!r} -> {value!r}"


def test_every_corruption_is_found(sides: TwoSides, tmp_path: Path) -> None:
    flow = sides.flow()
    converge([flow], Pace(), Control(tmp_path))
    sound = sides.green.store.uri.path.read_bytes()
    for seed in range(40):
        what = corrupt(sides, Random(seed))
        assert run(flow, tmp_path).wrong >= 1, what
        sides.green.store.uri.path.write_bytes(sound)
    assert run(flow, tmp_path).wrong == 0


class Seeded(Translator):
    """Rules with a bug of our choice."""

    bug = ""

    def apply(self, replacement: Replacement, target: Any) -> None:
        if self.bug == "nothing is deleted":
            replacement = Replacement(replacement.clear, (), replacement.rows)
        if self.bug == "a row is left out":
            rows = {table: found[1:] for table, found in replacement.rows.items()}
            replacement = Replacement(replacement.clear, replacement.deletions, rows)
        if self.bug == "NULL becomes text":
            rows = {
                table: [tuple("" if value is None else value for value in row) for row in found]
                for table, found in replacement.rows.items()
            }
            replacement = Replacement(replacement.clear, replacement.deletions, rows)
        super().apply(replacement, target)


@pytest.mark.parametrize("bug", ["nothing is deleted", "a row is left out", "NULL becomes text"])
def test_a_seeded_bug_is_caught(sides: TwoSides, tmp_path: Path, bug: str) -> None:
    flow = sides.flow()
    rules = cast(Translator, flow.rules)
    shapes = sides.blue.shapes()
    seeded = Seeded(rules.translation, shapes, sides.green.shapes(), None)
    seeded.bug = bug
    with closing(sqlite3.connect(sides.blue.store.uri.path)) as connection, connection:
        connection.execute("DELETE FROM tags WHERE rowid IN (SELECT rowid FROM tags LIMIT 1)")
        connection.execute("UPDATE runs SET name = NULL, end_time = NULL")
        connection.execute(_WRITE, ("new", "v"))
    broken = Flow(flow.role, flow.source, flow.sink, seeded)
    try:
        converge([broken], Pace(), Control(tmp_path))
        found = run(flow, tmp_path).wrong
    except StoreError:  # a Mismatch, or a row that was there already
        found = 1
    assert found
