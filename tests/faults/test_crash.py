"""kill -9 before and after every named side effect of an upgrade, a rollback and a rehearsal; then `resume`.

Whatever the point: the deployment ends done or as it was, served by the right release; backups verify; a second
`resume` has nothing to do; nothing is left behind. Points come from a whole run that wrote down its side effects.
"""

from __future__ import annotations

import functools
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liftlock.app import upgrade as life
from liftlock.app.workspace import Workspace
from liftlock.backup import catalog
from liftlock.backup.verify import verify
from liftlock.describe.launch import server_spec
from liftlock.errors import Refused
from liftlock.model.finding import blocking
from liftlock.model.fingerprint import Fingerprint
from tests.support.deployment import Deployment
from tests.support.stub_release import NEW, OLD

PARTS = 8
UPGRADE = ("upgrade", "--to", NEW, "--yes")
ROLLBACK = ("rollback", "--yes")
REHEARSE = ("rehearse", "--to", NEW)


class State:
    """The two states a deployment may be in, as observed once on a whole run."""

    def __init__(self, deployment: Deployment) -> None:
        self.fingerprint = deployment.fingerprint()
        self.config = deployment.config.read_text()
        self.version = deployment.version()

    def differs(self, deployment: Deployment) -> str:
        """Why a deployment is not in this state; empty when it is."""
        tables = contents(self.fingerprint, deployment.fingerprint())
        if tables:
            return f"tables {tables}"
        if deployment.version() != self.version:
            return f"server {deployment.version()}, not {self.version}"
        return "" if deployment.config.read_text() == self.config else "liftlock.toml"


def contents(one: Fingerprint, other: Fingerprint) -> tuple[str, ...]:
    return tuple(one.differences(other))


def points(names: list[str]) -> list[str]:
    """`before:NAME#2`, `after:NAME#2` for each occurrence, in the order of the run."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found += [f"before:{name}#{seen[name]}", f"after:{name}#{seen[name]}"]
    return found


class Bench:
    """One deployment at one place, put back into its saved state before each kill."""

    def __init__(self, verb: tuple[str, ...], before: tuple[str, ...] | None, *, busy: bool) -> None:
        self.verb = verb
        self.environment = {"STUB_SERVER": f"{OLD}:write-when-asked"} if busy else {}
        root = Path(tempfile.mkdtemp(prefix="liftlock-crash-"))
        self.root = root
        self.deployment = Deployment(root / "d", server_environment=self.environment)
        _made.append(self)
        self.deployment.make()
        # Once through everything, so that environments are cached and later runs are alike.
        self.deployment.ok(*UPGRADE)
        self.deployment.ok(*ROLLBACK)
        self.fresh()
        if before is not None:
            self.deployment.ok(*before)
        self.running = self.deployment.version() or ""
        self.start = State(self.deployment)
        self.save()
        log = root / "effects"
        self.deployment.ok(*verb, env={"LIFTLOCK_EFFECTS_LOG": str(log)})
        self.end = State(self.deployment)
        self.points = points(log.read_text().splitlines())

    def fresh(self) -> None:
        """A new deployment at the same place and port."""
        port = self.deployment.port
        self.deployment.end()
        shutil.rmtree(self.deployment.directory)
        self.deployment = Deployment(self.root / "d", server_environment=self.environment, port=port).make()

    def save(self) -> None:
        shutil.copytree(self.deployment.directory, self.root / "saved", symlinks=True)

    def restore(self) -> Deployment:
        self.deployment.end()
        shutil.rmtree(self.deployment.directory)
        shutil.copytree(self.root / "saved", self.deployment.directory, symlinks=True)
        workspace = Workspace.open(self.deployment.config)
        config = workspace.config
        if self.running == OLD:
            self.deployment.start_old()  # as a person did
        else:
            workspace.runtime.start(server_spec(config, python=config.python, release=config.release))
        return self.deployment

    def kill_at(self, point: str) -> None:
        killed = self.deployment.liftlock(*self.verb, env={"LIFTLOCK_CRASH_AT": point})
        assert killed.returncode == -signal.SIGKILL, f"{point} was not reached: {killed.stdout}{killed.stderr}"

    def close(self) -> None:
        self.deployment.end()
        shutil.rmtree(self.root)


@functools.cache
def bench(verb: tuple[str, ...], before: tuple[str, ...] | None = None, *, busy: bool = False) -> Bench:
    """`busy`: the old server writes after the first backup, so that the upgrade has to take another one."""
    return Bench(verb, before, busy=busy)


_made: list[Bench] = []


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()
    bench.cache_clear()


def nothing_left(deployment: Deployment, point: str) -> None:
    """Backups are whole and verify, no scratch files, one server and no other process of ours, a journal that holds."""
    journal = deployment.journal()
    journal.verify()
    assert journal.open_run() is None, point
    listed = catalog.list_sets(deployment.backups)
    assert not listed.damaged, point
    assert not listed.unfinished, (point, listed.unfinished)
    stores = Workspace.open(deployment.config).stores
    for each in listed.sets:
        found = verify(deployment.backups, each.id, stores=stores)
        assert not blocking(found), (point, each.id, found)
    odd = [
        str(path.relative_to(deployment.directory))
        for path in deployment.directory.rglob("*")
        if (".liftlock-" in path.name or path.suffix == ".part" or ".view-" in path.name)
    ]
    assert not odd, (point, odd)
    rehearsals = [path for path in (deployment.state / "rehearsals").glob("*") if path.is_dir()]
    assert not rehearsals, (point, rehearsals)
    servers = [process.pid for process in deployment.servers()]
    others = [process.cmdline() for process in deployment.processes() if process.pid not in servers]
    assert len(servers) == 1, (point, servers)
    assert not others, (point, others)


def resumed(deployment: Deployment, point: str, verb: str = "resume") -> int:
    """Go on; then once more, which must be refused because nothing is to be done."""
    done = deployment.liftlock(verb)
    assert done.returncode in (0, 3), f"{verb} after {point}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    if done.returncode == 3:
        assert "no run is open" in done.stderr, (point, done.stderr)
    # What `liftlock resume` calls: a third process would only start slower.
    with pytest.raises(Refused, match="no run is open"):
        life.resume(Workspace.open(deployment.config))
    return done.returncode


def sweep(
    used: Bench, chosen: list[str], allowed: Callable[[int], list[State]], record: Callable[[str, object], None]
) -> None:
    problems = []
    for point in chosen:
        try:
            deployment = used.restore()
            used.kill_at(point)
            status = resumed(deployment, point)
            why = [state.differs(deployment) for state in allowed(status)]
            assert "" in why, f"{point}: in no known state after resume ({status}): {why}"
            nothing_left(deployment, point)
        except AssertionError as error:
            problems.append(f"{point}: {str(error)[:900]}")
    record(f"crash points: {used.verb[0]}", len(chosen))
    print(f"{used.verb[0]}: killed at {len(chosen)} of {len(used.points)} points")
    assert not problems, f"{len(problems)} of {len(chosen)}:\n" + "\n".join(problems)


def share(found: list[str], part: int, *, whole: bool, every: int = 1) -> list[str]:
    """One part of the points. Not `whole`: only those before an effect, as what lies between the end of one effect
    and the beginning of the next changes nothing but the journal (whose every gap tests/unit/engine goes through);
    of these one in `every`.
    """
    chosen = found if whole else found[::2][::every]
    return chosen[part::PARTS]


SWEEPS = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["before", "both"])


@pytest.mark.xdist_group("crash-upgrade")  # one bench for all of them: making one takes ten seconds
@SWEEPS
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_upgrade_is_done_or_as_it_was(
    part: int, whole: bool, record_property: Callable[[str, object], None]
) -> None:
    used = bench(UPGRADE, busy=whole)

    def allowed(status: int) -> list[State]:
        # Resumed: done. Nothing to resume: the kill came before the first entry, or after the last.
        return [used.end] if status == 0 else [used.start, used.end]

    sweep(used, share(used.points, part, whole=whole), allowed, record_property)


@pytest.mark.xdist_group("crash-rollback")
@SWEEPS
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_rollback_is_done_or_as_it_was(
    part: int, whole: bool, record_property: Callable[[str, object], None]
) -> None:
    used = bench(ROLLBACK, UPGRADE)

    def allowed(status: int) -> list[State]:
        return [used.end] if status == 0 else [used.start, used.end]

    sweep(used, share(used.points, part, whole=whole, every=2), allowed, record_property)


@pytest.mark.xdist_group("crash-rehearsal")
@SWEEPS
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_rehearsal_leaves_nothing(
    part: int, whole: bool, record_property: Callable[[str, object], None]
) -> None:
    used = bench(REHEARSE)
    sweep(used, share(used.points, part, whole=whole, every=3), lambda status: [used.start], record_property)


@pytest.mark.xdist_group("crash-upgrade")
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_upgrade_can_be_aborted(part: int, record_property: Callable[[str, object], None]) -> None:
    used = bench(UPGRADE)
    point = used.points[(len(used.points) - 1) * part // (PARTS - 1)]
    deployment = used.restore()
    used.kill_at(point)
    status = resumed(deployment, point, verb="abort")
    why = [state.differs(deployment) for state in ([used.start] if status == 0 else [used.start, used.end])]
    assert "" in why, f"{point}: {why}"
    nothing_left(deployment, point)
    record_property("crash points: abort", 1)
