"""Secrets planted as canaries appear in nothing that liftlock says, writes or starts, but where they must be."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from liftlock.demo.postgres import PostgresServer
from liftlock.model.secret import Secret
from tests.support.deployment import Deployment
from tests.support.stub_release import NEW, OLD

# New in each run: the process list of the machine holds those of other runs too.
DATABASE, ADMIN, PASSPHRASE = (f"canary-{what}-{uuid.uuid4().hex[:8]}" for what in ("database", "admin", "passphrase"))
CANARIES = (DATABASE, ADMIN, PASSPHRASE)
# Where a secret has to be: the secrets file, the ini a server reads (the person's and private copies), databases.
ALLOWED = {"secrets.env", "basic_auth.ini"}


class Watch(threading.Thread):
    """Reads the arguments of every process on the machine that names a canary, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self.rounds = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            for pid in psutil.pids():
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if any(canary in words for canary in CANARIES):
                    self.seen.add(words.replace("\0", " ")[:300])
            self.rounds += 1
            time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("pg"), durable=False) as found:
        found.execute(f"CREATE ROLE mlflow LOGIN SUPERUSER PASSWORD '{DATABASE}'")
        yield found


def said(output: str, where: str) -> None:
    for canary in CANARIES:
        assert canary not in output, f"{canary} in {where}"


def test_no_canary_leaves_the_places_it_belongs_to(tmp_path: Path, server: PostgresServer) -> None:
    for name in ("tracking", "auth"):
        server.create_database(name)
    uris = {
        name: server.uri(name, username="mlflow", password=Secret(DATABASE)).reveal() for name in ("tracking", "auth")
    }
    deployment = Deployment(
        tmp_path / "d",
        tracking=uris["tracking"],
        auth=uris["auth"],
        password=ADMIN,
        server_environment={"MLFLOW_CRYPTO_KEK_PASSPHRASE": PASSPHRASE},
    )
    watch = Watch()
    try:
        deployment.make()
        deployment.config.unlink()
        child = deployment.child
        assert child is not None
        watch.start()
        commands: list[tuple[str, ...]] = [
            ("init", "--process", str(child.pid), "--json"),
            ("init", "--process", str(child.pid), "--force"),
            ("status",),
            ("status", "--json"),
            ("check", "--before", NEW),
            ("check", "--json"),
            ("backup", "create", "--json"),
            ("backup", "list"),
            ("plan", "--to", NEW),
            ("plan", "--to", NEW, "--json"),
            ("rehearse", "--to", NEW),
            ("upgrade", "--to", NEW, "--yes", "--json"),
            ("check", "--after"),
            ("rollback", "--dry-run", "--json"),
            ("rollback", "--yes"),
            ("server", "restart"),
            ("server", "logs"),
        ]
        for words in commands:
            done = deployment.liftlock("--debug", *words)
            said(done.stdout + done.stderr, f"the output of {words}")
            allowed = (0, 1) if words[0] == "check" else (0,)  # it may well have findings
            assert done.returncode in allowed, (words, done.returncode, done.stdout[-1500:], done.stderr[-1500:])
        # The failing ways say no more.
        failing: list[tuple[tuple[str, ...], dict[str, str]]] = [
            (("--debug", "upgrade", "--to", NEW, "--yes"), {"STUB_MIGRATE": "fail:de4033877273"}),
            (("upgrade", "--to", NEW, "--yes"), {"STUB_MIGRATE": "lose"}),
        ]
        for words, env in failing:
            done = deployment.liftlock(*words, env=env)
            assert done.returncode != 0
            said(done.stdout + done.stderr, f"the output of {words}")
        assert deployment.version() == OLD
        server.kill()
        for words in (("check",), ("status",), ("backup", "create"), ("--debug", "plan", "--to", NEW)):
            done = deployment.liftlock(*words)
            said(done.stdout + done.stderr, f"the output of {words} without a database")
        server.start()
    finally:
        watch.stop.set()
        deployment.end()
    watch.join()
    assert watch.rounds > 20
    assert not watch.seen
    files = [path for path in deployment.directory.rglob("*") if path.is_file()]
    assert deployment.state / "secrets.env" in files
    holding = {path for path in files for canary in CANARIES if canary.encode() in path.read_bytes()}
    dumps = {path for path in holding if "databases" in path.parts and deployment.backups in path.parents}
    wrong = {path for path in holding - dumps if path.name not in ALLOWED}
    assert not wrong
    assert any(path.name == "secrets.env" for path in holding)
    for path in holding - dumps:
        assert path.stat().st_mode & 0o077 == 0, path
