"""The commuting diagram: what an online upgrade makes of a snapshot and of what was written since, against a plain
migration of everything. Real releases write (`history_inside.py`), real migrations migrate.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from liftlock.model.deployment import Role
from liftlock.model.uri import Engine, StoreUri
from liftlock.online.compare import Difference, differences, layout
from liftlock.online.scratch import scratch
from liftlock.online.translate import Translator
from liftlock.online.translation import Translation, translation
from liftlock.proc import spawn
from liftlock.releases.children import clean_environment
from liftlock.releases.tools import WarmWorker
from liftlock.stores.interface import Store
from liftlock.stores.live import Live, Row
from liftlock.stores.opening import live, open_store
from tests.support.releases import environment, tools

_INSIDE = Path(__file__).with_name("history_inside.py")
_PAGE = 5000
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for tests"}


class Writer:
    """A process of a release that carries out random histories on databases, by its own stores."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.done: Counter[str] = Counter()
        self._child = spawn(
            [environment(version).python, _INSIDE], env=clean_environment(_QUIET),
            cwd=_INSIDE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def go(
        self, uri: StoreUri, seed: int, ops: int, weights: Mapping[str, float] | None = None, *, auth: bool = False
    ) -> dict[str, list[list[str]]]:  # fmt: skip
        """So many operations; the first on a database makes its schema. With `auth` on users and permissions: returns
        what each user may do then.
        """
        assert self._child.stdin
        assert self._child.stdout
        command = {"uri": uri.reveal(), "seed": seed, "ops": ops, "weights": dict(weights or {}), "auth": auth}
        self._child.stdin.write(json.dumps(command).encode() + b"\n")
        self._child.stdin.flush()
        for line in self._child.stdout:
            if line.startswith(b"@answer "):
                made = json.loads(line[len(b"@answer ") :])
                assert "failed" not in made, made
                seen: dict[str, list[list[str]]] = made.pop("seen", {})
                self.done.update({kind: number for kind, number in made.items() if "!" not in kind})
                return seen
        raise AssertionError(f"the writer of {self.version} died")

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(30)
        assert self._child.stdout
        self._child.stdout.close()


def revisions_between(store: Store, version: str) -> tuple[str, ...]:
    """The revisions that `version` runs on this database."""
    chain = tools(version).heads().chain(store.role)
    at = store.revision()
    assert at in chain, at
    return chain[chain.index(at) + 1 :]


@dataclass
class Upgrade:
    """One database on its way to another release."""

    blue: Live
    green: Live
    plan: Translation
    translator: Translator
    replaced: Counter[str] = field(default_factory=Counter)

    def epoch(self, limit: int | None = None) -> int:
        """Bring over what changed; how many keys that were."""
        with self.blue.changes(limit) as view:
            keys = sum(map(len, view.changed.values()))
            delta = self.translator.read(view)
            token = view.token
        replacement = self.translator.expected(delta)
        with self.green.applying() as target:
            self.translator.apply(replacement, target)
            assert self.translator.differences(replacement, target) == []
        self.replaced.update({table: len(rows) for table, rows in replacement.rows.items()})
        self.blue.consume(token)
        return keys

    def verify(self, limit: int = 40) -> list[str]:
        """What the aligned verification says, part by part."""
        wrong: list[str] = []
        for name in self.translator.parts():
            after = None
            while True:
                with self.blue.look() as view:
                    part = self.translator.part(view, name, after, limit)
                expected = self.translator.expected(part.delta)
                with self.green.look() as view:
                    current = self.translator.current(view, part.delta)
                wrong += map(str, self.translator.compare(expected, current, part.delta))
                if part.last is None:
                    break
                after = part.last
        for family in self.translator.families():
            place: Any = None
            while True:
                with self.green.look() as view:
                    lines, place = self.translator.unrooted(view, family, place, limit)
                wrong += lines
                if place is None:
                    break
        return wrong


@contextmanager
def upgrading(
    blue: Store, worker: WarmWorker, version: str, *, green: str = "green",
    prepare: Callable[[], object] | None = None,
) -> Iterator[Upgrade]:  # fmt: skip
    """Capture, copy, migrate the copy, decide how rows look there. `prepare` writes between capture and copy."""
    source = live(blue)
    steps = revisions_between(blue, version)
    source.capture()
    if prepare:
        prepare()
    copy = blue.scratch(green)
    source.copy_to(copy)
    worker.migrate(copy.uri, blue.role, timeout=300)
    sink = live(open_store(copy.uri, blue.role))
    shapes, targets = source.shapes(), sink.shapes()
    plan = translation(blue.role, steps, shapes, targets)
    assert plan.refusals == ()
    rows = scratch(blue, "test", worker, shapes, targets)
    try:
        yield Upgrade(source, sink, plan, Translator(plan, shapes, targets, rows))
    finally:
        rows.close()
        copy.drop()


@contextmanager
def reference(blue: Store, worker: WarmWorker) -> Iterator[Live]:
    """Everything as the target release's own migration makes it."""
    copy = blue.scratch("reference")
    try:
        live(blue).copy_to(copy)
        worker.migrate(copy.uri, blue.role, timeout=300)
        yield live(open_store(copy.uri, blue.role))
    finally:
        copy.drop()


def unequal(
    plan: Translation, expected: Live, found: Live, *, skip: Mapping[str, tuple[str, ...]] | None = None
) -> list[Difference]:  # fmt: skip
    """Every row and column in which two databases of one schema differ, but for the clock columns."""
    shapes = expected.shapes()
    assert shapes == found.shapes()
    wrong: list[Difference] = []
    for name, shape in shapes.items():
        clocks = (*plan.clocks.get(name, ()), *(skip or {}).get(name, ()))
        how = layout(shape.columns, shape.key, clocks=clocks, sums=plan.sums.get(name, ()))
        wrong += differences(name, how, rows_of(expected, name), rows_of(found, name))
    return wrong


def rows_of(database: Live, table: str) -> list[Row]:
    """All rows of a table."""
    shape = database.shapes()[table]
    places = [shape.columns.index(column) for column in shape.key]
    found: list[Row] = []
    with database.look() as view:
        while True:
            last = tuple(found[-1][place] for place in places) if found else None
            page = view.after(table, last, _PAGE)
            found += page
            if len(page) < _PAGE:
                return found


def sqlite_store(path: Path, role: Role = Role.TRACKING) -> Store:
    """A database file that need not exist yet."""
    return open_store(StoreUri(engine=Engine.SQLITE, scheme="sqlite", database=str(path)), role)
