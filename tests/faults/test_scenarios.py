"""What bad luck does to an upgrade: it ends with the contract's exit status, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liftlock.backup import catalog
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.journal import RunOutcome
from tests.support.deployment import Deployment
from tests.support.disks import small_disk
from tests.support.sqlite import held_open
from tests.support.stub_release import NEW, NEW_HEAD, OLD, OLD_HEAD, PATCH

UPGRADE = ("upgrade", "--to", NEW, "--yes")


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path / "d")
    try:
        yield made.make()
    finally:
        made.end()


@contextlib.contextmanager
def made(directory: Path, **server_environment: str) -> Iterator[Deployment]:
    found = Deployment(directory, server_environment=server_environment)
    try:
        yield found.make()
    finally:
        found.end()


def as_it_was(deployment: Deployment, before: Fingerprint, config: str) -> None:
    assert not deployment.fingerprint().differences(before)
    assert deployment.store().revision() == OLD_HEAD
    assert deployment.version() == OLD
    assert deployment.config.read_text() == config
    assert len(deployment.servers()) == 1
    assert deployment.journal().open_run() is None
    deployment.journal().verify()


def wait_for(deployment: Deployment, step: str, child: subprocess.Popen[str], seconds: float = 120) -> None:
    """Until the journal holds an entry of this step."""
    deadline = time.monotonic() + seconds
    while not any(entry.step == step for entry in deployment.journal().entries()):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def slow_migration(deployment: Deployment) -> Iterator[subprocess.Popen[str]]:
    """An upgrade that stands in the middle of its migration, one revision done."""
    child = deployment.spawn(*UPGRADE, env={"STUB_MIGRATE": "slow:1b5f0d9ad7c1", "STUB_SECONDS": "60"})
    try:
        wait_for(deployment, "migrate-tracking", child)
        deadline = time.monotonic() + 20
        while deployment.store().revision() != "1b5f0d9ad7c1":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_in_the_middle_is_put_back(deployment: Deployment, number: signal.Signals) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with slow_migration(deployment) as child:
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    assert f"interrupted by {number.name}" in err
    as_it_was(deployment, before, config)
    assert deployment.journal().runs()[-1].outcome is RunOutcome.PUT_BACK


def test_two_ctrl_c_do_not_stop_the_way_back(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with slow_migration(deployment) as child:
        for _ in range(5):
            child.send_signal(signal.SIGINT)
            time.sleep(0.05)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    as_it_was(deployment, before, config)


def test_ctrl_c_before_the_run_changes_nothing(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    child = deployment.spawn(*UPGRADE)
    time.sleep(0.25)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode in (3, 4, -signal.SIGINT)
    as_it_was(deployment, before, config)


def test_second_operator_is_told_who_and_since_when(deployment: Deployment) -> None:
    with slow_migration(deployment) as child:
        for words in (UPGRADE, ("rollback", "--yes"), ("resume",), ("abort",), ("backup", "create")):
            second = deployment.liftlock(*words)
            assert second.returncode == 3, (words, second.stderr)
        refused = deployment.liftlock("resume")
        assert f"PID {child.pid}" in refused.stderr
        assert "since 20" in refused.stderr
        assert f"upgrade to MLflow {NEW}" in refused.stderr
        assert deployment.liftlock("status").returncode == 0
    assert deployment.liftlock("abort").returncode == 0


def test_plan_is_refused_when_the_deployment_changed(deployment: Deployment) -> None:
    import json

    plan = json.loads(deployment.ok("plan", "--to", NEW, "--json"))["id"]
    deployment.config.write_text(deployment.config.read_text().replace("[stores]", 'host = "0.0.0.0"\n[stores]', 1))
    text = (
        deployment.config.read_text()
        .replace('\nhost = "0.0.0.0"\n', "\n")
        .replace("[server]\n", '[server]\nhost = "0.0.0.0"\n')
    )
    deployment.config.write_text(text)
    done = deployment.liftlock("upgrade", "--plan", plan, "--yes")
    assert done.returncode == 3, done.stderr
    assert "changed since" in done.stderr
    assert deployment.version() == OLD


def test_edited_plan_is_refused(deployment: Deployment) -> None:
    import json

    plan = json.loads(deployment.ok("plan", "--to", NEW, "--json"))["id"]
    path = deployment.state / "plans" / f"{plan}.json"
    data = json.loads(path.read_text())
    data["steps"] = [step for step in data["steps"] if step["name"] != "back-up"]
    path.write_text(json.dumps(data))
    done = deployment.liftlock("upgrade", "--plan", plan, "--yes")
    assert done.returncode in (2, 3), (done.returncode, done.stdout, done.stderr)
    assert "edited" in done.stderr or "changed" in done.stderr
    path.write_text("{")
    done = deployment.liftlock("upgrade", "--plan", plan, "--yes")
    assert done.returncode == 2
    assert deployment.liftlock("upgrade", "--plan", "plan-none", "--yes").returncode == 2
    assert deployment.version() == OLD


def test_edited_journal_is_found(deployment: Deployment) -> None:
    deployment.ok(*UPGRADE)
    with closing(sqlite3.connect(deployment.state / "journal.db")) as db, db:
        db.execute("UPDATE entry SET payload = replace(payload, 'two', 'three') WHERE seq = 1")
        db.execute("UPDATE entry SET payload = '{\"pid\": 1}' WHERE kind = 'done' AND step = 'start-new'")
    done = deployment.liftlock("rollback", "--yes")
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert "journal" in done.stderr
    assert deployment.version() == NEW


def test_edited_run_file_is_found(deployment: Deployment) -> None:
    with slow_migration(deployment) as child:
        child.kill()
        child.communicate()
    run = deployment.journal().open_run()
    assert run is not None
    path = deployment.state / "runs" / run.id / "liftlock.toml"
    text = path.read_text()
    path.write_text(text.replace(str(deployment.port), "1"))
    done = deployment.liftlock("resume")
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert "is not what run" in done.stderr
    path.write_text(text)
    deployment.ok("resume")
    assert deployment.version() == NEW


def test_after_a_killed_predecessor_every_command_says_how_to_go_on(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with slow_migration(deployment) as child:
        child.kill()
        child.communicate()
    for words in (UPGRADE, ("rehearse", "--to", NEW), ("server", "start")):
        done = deployment.liftlock(*words)
        assert done.returncode == 3, (words, done.stderr)
        assert "liftlock resume" in done.stderr, (words, done.stderr)
        assert "liftlock abort" in done.stderr, (words, done.stderr)
    assert "resume" in deployment.ok("status")
    deployment.ok("abort")
    as_it_was(deployment, before, config)


@pytest.mark.parametrize("revision", ["1b5f0d9ad7c1", "de4033877273"])
def test_migration_that_fails_is_put_back(deployment: Deployment, revision: str) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    done = deployment.liftlock(*UPGRADE, env={"STUB_MIGRATE": f"fail:{revision}"})
    assert done.returncode == 4, (done.returncode, done.stderr)
    assert f"told to fail in revision {revision}" in done.stderr
    as_it_was(deployment, before, config)
    if revision == "de4033877273":
        deployment.ok(*UPGRADE)
        assert deployment.version() == NEW


def test_what_was_written_after_the_first_backup_is_in_the_second(tmp_path: Path) -> None:
    """The server writes when it is sampled, after the first backup: the final snapshot has it, and so the way back."""
    with made(tmp_path / "d", STUB_SERVER=f"{OLD}:write-when-asked") as deployment:
        done = deployment.liftlock(*UPGRADE, env={"STUB_MIGRATE": "fail:de4033877273"})
        assert done.returncode == 4, (done.returncode, done.stderr)
        first, final = sets_of(deployment)
        assert first != final
        written = "SELECT name FROM runs WHERE name = 'written when asked'"
        assert list(deployment.store().rows(written))


def sets_of(deployment: Deployment) -> tuple[str, str]:
    """The sets of an upgrade's first backup and of its final snapshot."""
    run = deployment.journal().runs()[0]
    first, final = run.step("back-up"), run.step("snapshot")
    assert first is not None
    assert final is not None
    return str(first.outcome["set"]), str(final.outcome["set"])


def test_migration_that_loses_a_row_is_put_back(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    done = deployment.liftlock(*UPGRADE, env={"STUB_MIGRATE": "lose"})
    assert done.returncode == 4, (done.returncode, done.stderr)
    assert "table params" in done.stderr
    as_it_was(deployment, before, config)


@pytest.mark.parametrize("wrong", ["die", "wrong-version", "lose-run"])
def test_new_server_that_is_not_right_is_put_back(tmp_path: Path, wrong: str) -> None:
    with made(tmp_path / "d", STUB_SERVER=f"{NEW}:{wrong}") as deployment:
        before, config = deployment.fingerprint(), deployment.config.read_text()
        done = deployment.liftlock(*UPGRADE)
        assert done.returncode == 4, (done.returncode, done.stderr)
        as_it_was(deployment, before, config)


def test_client_write_before_a_failed_verification_is_never_thrown_away(tmp_path: Path) -> None:
    with made(tmp_path / "d", STUB_SERVER=f"{NEW}:lose-run,write-run") as deployment:
        before, config = deployment.fingerprint(), deployment.config.read_text()
        done = deployment.liftlock(*UPGRADE)
        assert done.returncode == 5, (done.returncode, done.stderr)
        assert "tracking.runs" in done.stderr
        rows = list(deployment.store().rows("SELECT name FROM runs WHERE name = 'written by a client'"))
        assert len(rows) == 1
        assert deployment.version() == NEW
        again = deployment.liftlock("resume")  # verifies once more, finds the same
        assert again.returncode == 5, (again.returncode, again.stderr)
        # The way the hint offers.
        back = deployment.liftlock("rollback", "--yes")
        assert back.returncode == 0, (back.returncode, back.stdout, back.stderr)
        assert "written by a client" in back.stdout
        as_it_was(deployment, before, config)
        listed = deployment.ok("backup", "list")
        assert "pre-rollback" in listed


def test_rollback_lists_saves_and_goes_back(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    deployment.ok(*UPGRADE)
    with closing(sqlite3.connect(deployment.directory / "mlflow.db")) as db, db:
        now = int(time.time() * 1000)
        db.execute(
            "INSERT INTO runs (run_uuid, experiment_id, name, status, start_time, lifecycle_stage)"
            " VALUES ('late', 1, 'afterwards', 'FINISHED', ?, 'active')",
            (now,),
        )
    preview = deployment.ok("rollback", "--dry-run")
    assert "late afterwards" in preview
    assert deployment.version() == NEW
    assert deployment.liftlock("rollback").returncode == 3  # nobody is there to confirm
    deployment.ok("rollback", "--yes")
    as_it_was(deployment, before, config)
    assert deployment.liftlock("rollback", "--yes").returncode == 3


def test_in_place_for_a_release_with_the_same_schema(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    deployment.ok("upgrade", "--to", PATCH, "--yes")
    assert deployment.version() == PATCH
    assert not deployment.fingerprint().differences(before)
    deployment.ok("rollback", "--yes")
    as_it_was(deployment, before, config)


def test_in_place_server_that_dies_is_put_back(tmp_path: Path) -> None:
    with made(tmp_path / "d", STUB_SERVER=f"{PATCH}:die") as deployment:
        before, config = deployment.fingerprint(), deployment.config.read_text()
        assert deployment.liftlock("upgrade", "--to", PATCH, "--yes").returncode == 4
        as_it_was(deployment, before, config)


def test_finalize_ends_the_way_back(deployment: Deployment) -> None:
    deployment.ok(*UPGRADE)
    kept = [each.id for each in catalog.list_sets(deployment.backups).sets if each.keep]
    assert kept
    said = deployment.ok("finalize", "--yes")
    assert all(said.count(each) == 1 for each in kept), said
    assert not [each for each in catalog.list_sets(deployment.backups).sets if each.keep]
    assert deployment.liftlock("rollback", "--yes").returncode == 3
    assert deployment.liftlock("finalize", "--yes").returncode == 3
    assert deployment.version() == NEW


def test_writer_that_does_not_go_away_stops_the_upgrade(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with held_open(deployment.directory / "mlflow.db") as pid:
        done = deployment.liftlock(*UPGRADE)
        assert done.returncode in (3, 4), (done.returncode, done.stderr)
        assert f"PID {pid}" in done.stderr
        as_it_was(deployment, before, config)


def test_port_taken_while_the_server_was_down_is_put_back(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with slow_migration(deployment) as child, socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind(("127.0.0.1", deployment.port))
        foreign.listen()
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        # The old server cannot come back either: only a person can end the foreign process.
        assert child.returncode == 5, err
        assert f"port {deployment.port} is taken" in err
        assert "liftlock abort" in err
    deployment.ok("abort")
    as_it_was(deployment, before, config)


def test_unknown_or_wrong_targets_change_nothing(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    for target, status in (("90.0.0", 3), (OLD, 3), ("91.0.0", 3), ("not-a-version", 2), ("1.0.0", 3)):
        done = deployment.liftlock("upgrade", "--to", target, "--yes")
        assert done.returncode == status, (target, done.returncode, done.stderr)
        assert done.stderr.count("error:") == 1
    assert deployment.liftlock("upgrade", "--to", NEW, "--strategy", "in-place", "--yes").returncode == 2
    as_it_was(deployment, before, config)


def test_configuration_with_unknown_keys(deployment: Deployment) -> None:
    deployment.config.write_text(deployment.config.read_text().replace("[server]", "[server]\ncolour = 'blue'"))
    for words in (("status",), ("check",), UPGRADE):
        done = deployment.liftlock(*words)
        assert done.returncode == 2, (words, done.stderr)
        assert "unknown key server.colour" in done.stderr


def test_database_of_a_newer_release_is_refused(deployment: Deployment) -> None:
    with closing(sqlite3.connect(deployment.directory / "mlflow.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'z999'")
    done = deployment.liftlock(*UPGRADE)
    assert done.returncode == 3, done.stderr
    assert "z999" in done.stderr
    assert deployment.liftlock("check").returncode == 1
    assert deployment.store().revision() == "z999"


def test_corrupt_database_is_found_and_not_upgraded(deployment: Deployment) -> None:
    path = deployment.directory / "mlflow.db"
    with closing(sqlite3.connect(path)) as db, db:
        page, pages = db.execute("PRAGMA page_size").fetchone()[0], db.execute("PRAGMA page_count").fetchone()[0]
    with path.open("r+b") as file:
        for number in range(2, pages):
            file.seek(number * page)
            file.write(os.urandom(page))
    raw = path.read_bytes()
    checked = deployment.liftlock("check")
    assert checked.returncode == 1, (checked.returncode, checked.stderr)
    done = deployment.liftlock(*UPGRADE)
    assert done.returncode in (3, 4), (done.returncode, done.stderr)
    assert "damaged" in done.stderr
    assert path.read_bytes() == raw
    assert deployment.version() == OLD


def test_server_that_does_not_run_is_refused(deployment: Deployment) -> None:
    deployment.end()
    done = deployment.liftlock(*UPGRADE)
    assert done.returncode == 3, done.stderr
    assert "liftlock server start" in done.stderr
    deployment.ok("server", "start")
    deployment.ok(*UPGRADE)


def test_artifacts_survive_both_ways(deployment: Deployment) -> None:
    note = deployment.directory / "mlartifacts" / "1" / "r1" / "artifacts" / "note.txt"
    deployment.ok(*UPGRADE)
    first, final = sets_of(deployment)
    assert first == final, "nothing was written in between, so one set serves as both"
    deployment.ok("rollback", "--yes")
    assert note.read_text() == "an artifact"
    left = [path for path in (deployment.directory / "mlartifacts").rglob("*") if path.is_file()]
    assert left == [note]


def test_a_moment_to_cut_over_without_a_gate_is_a_wrong_request(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    done = deployment.liftlock(*UPGRADE, "--cut-over", "manual")
    assert done.returncode == 2, done.stderr
    assert "this upgrade is standard" in done.stderr and "no gate stands in front" in done.stderr
    as_it_was(deployment, before, config)


@pytest.mark.parametrize("size", ["40k", "80k"])
def test_full_disk_under_the_backups(deployment: Deployment, size: str) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with small_disk(deployment.backups, size):
        done = deployment.liftlock(*UPGRADE)
        assert done.returncode in (3, 4), (done.returncode, done.stdout, done.stderr)
        assert "no space left" in done.stderr, done.stderr
        as_it_was(deployment, before, config)
        assert not list(deployment.backups.glob("*.partial"))


def test_full_disk_under_the_database(tmp_path: Path) -> None:
    """No room for the migration nor for a second copy beside the database."""
    place = tmp_path / "small"
    with small_disk(place, "600k"):
        deployment = Deployment(tmp_path / "d", tracking=f"sqlite:///{place / 'mlflow.db'}")
        try:
            deployment.make()
            before, config = deployment.fingerprint(), deployment.config.read_text()
            free = shutil.disk_usage(place).free
            (place / "ballast").write_bytes(b"\0" * (free - 8192))
            done = deployment.liftlock(*UPGRADE)
            assert done.returncode in (3, 4), (done.returncode, done.stdout, done.stderr)
            (place / "ballast").unlink()
            as_it_was(deployment, before, config)
        finally:
            deployment.end()


@pytest.mark.parametrize("which", ["backups", "state"])
def test_file_in_the_place_of_a_directory(deployment: Deployment, which: str) -> None:
    """What root can also not write: a directory that cannot be made because a file stands there."""
    before = deployment.fingerprint()
    path: Path = getattr(deployment, which)
    path.write_text("not a directory")
    done = deployment.liftlock(*UPGRADE)
    assert done.returncode in (2, 3, 4), (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    assert not deployment.fingerprint().differences(before)
    assert deployment.version() == OLD


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """A directory nobody can write in, root neither: a read-only bind mount."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "--bind", str(place), str(place)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"a read-only mount needs root: {done.stderr.strip()}")  # reason: rights of the machine
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_read_only_backup_directory(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with read_only(deployment.backups):
        done = deployment.liftlock(*UPGRADE)
        assert done.returncode in (3, 4), (done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
    as_it_was(deployment, before, config)


def test_read_only_state_directory(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    with read_only(deployment.state):
        done = deployment.liftlock(*UPGRADE)
        assert done.returncode in (2, 3), (done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
    as_it_was(deployment, before, config)


def test_confirmation_is_needed(deployment: Deployment) -> None:
    done = deployment.liftlock("upgrade", "--to", NEW)
    assert done.returncode == 3
    assert "--yes" in done.stderr
    assert deployment.version() == OLD


def test_rehearsal_touches_nothing(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    pids = [process.pid for process in deployment.servers()]
    files = set(deployment.directory.iterdir())
    deployment.ok("rehearse", "--to", NEW)
    as_it_was(deployment, before, config)
    assert [process.pid for process in deployment.servers()] == pids
    assert set(deployment.directory.iterdir()) - files == {deployment.state}
    assert "rehearsed" in deployment.ok("plan", "--to", NEW)


def test_rehearsal_that_fails_says_so_and_leaves_nothing(deployment: Deployment) -> None:
    before, config = deployment.fingerprint(), deployment.config.read_text()
    done = deployment.liftlock("rehearse", "--to", NEW, env={"STUB_MIGRATE": "lose"})
    assert done.returncode == 4, (done.returncode, done.stderr)
    as_it_was(deployment, before, config)
    assert not list(deployment.directory.glob("*.liftlock-*"))


def test_upgraded_database_is_at_the_new_head(deployment: Deployment) -> None:
    deployment.ok(*UPGRADE)
    assert deployment.store().revision() == NEW_HEAD
    assert deployment.version() == NEW
    assert f'release = "{NEW}"' in deployment.config.read_text()
    deployment.ok("check", "--after")
