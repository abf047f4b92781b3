"""A stub deployment behind a real gate with somebody who writes all the time and remembers what was acknowledged."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from liftlock.app.workspace import Workspace
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.stores.opening import live
from tests.support.deployment import Deployment
from tests.support.stub_release import NEW, OLD


@dataclass
class Writer:
    """Writes through the gate without a pause and remembers what it was told is done."""

    url: str
    login: str = ""
    acknowledged: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        headers = urllib3.make_headers(basic_auth=self.login) if self.login else None
        pool = urllib3.PoolManager(retries=False, timeout=40, headers=headers)
        number = 0
        while not self.stop.is_set():
            number += 1
            key = f"w{number}"
            body = json.dumps({"method": "log", "args": ["r1", "tags", [[key, "v"]]]})
            try:
                answer = pool.request("POST", f"{self.url}/stub", body=body)
                done = answer.status == 200
                said = f"{answer.status} {answer.data[:200]!r}"
            except urllib3.exceptions.HTTPError as error:
                done, said = False, str(error)
            (self.acknowledged.append(key) if done else self.failed.append(f"{key}: {said}"))
            time.sleep(0.01)


@contextlib.contextmanager
def at_work(directory: Path, *, tracking: str = "", auth: str = "") -> Iterator[tuple[Deployment, Writer]]:
    """Everything running; the URIs as `Deployment` takes them."""
    deployment = Deployment(directory / "d", tracking=tracking, auth=auth).make()
    thread = None
    writer = Writer(deployment.url, f"admin:{deployment.password}" if deployment.auth else "")
    try:
        deployment.ok("gate", "install", "--yes")
        thread = threading.Thread(target=writer.run)
        thread.start()
        yield deployment, writer
    finally:
        writer.stop.set()
        if thread is not None:
            thread.join()
        deployment.end()


def there_once(deployment: Deployment, writer: Writer) -> None:
    """Every acknowledged write is in the live database, once; none failed for good but by a fence that fell later."""
    acknowledged = list(writer.acknowledged)  # before the rows are read: it goes on growing
    store = Workspace.open(deployment.config).stores[Role.TRACKING]
    found = Counter(row["key"] for row in store.rows("SELECT key FROM tags WHERE run_uuid = 'r1'"))
    lost = [key for key in acknowledged if found[key] != 1]
    assert len(acknowledged) > 20 and not lost, (lost, writer.failed[:3])


def goes_on(writer: Writer, *, seconds: float = 30) -> None:
    goal, deadline = len(writer.acknowledged) + 5, time.monotonic() + seconds
    while len(writer.acknowledged) < goal:
        assert time.monotonic() < deadline, writer.failed[-3:]
        time.sleep(0.05)


def tidy(deployment: Deployment, *, old: bool) -> None:
    """On the old side nothing of ours is left; on the new one what the way back needs."""
    workspace = Workspace.open(deployment.config)
    assert workspace.config.server.release == (OLD if old else NEW)
    assert deployment.version() == (OLD if old else NEW)
    assert workspace.journal.open_run() is None
    serving = workspace.stores[Role.TRACKING]
    assert ("liftlock" in serving.uri.database) is not old
    assert live(serving).captured() is not old
    if old and serving.uri.engine is Engine.SQLITE:
        assert not list(serving.uri.path.parent.glob("*.liftlock-*"))
