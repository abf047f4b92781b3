"""Environments: one MLflow release with everything it needs, locked, proven, and kept in a content-addressed cache.

`<root>/environments/<release>-<digest12>/` holds `venv/`, `lock.txt`, `environment.json` (written last: without it
the directory is a leftover of an interrupted build and is made anew) and `kept/<by>` marks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from liftlock import clock, files
from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, ReleaseError, UsageError
from liftlock.knowledge.constraints import constraints
from liftlock.model.codec import Value, from_json, to_json
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.releases.cache import default_cache as default_cache
from liftlock.releases.index import Index
from liftlock.releases.lock import Yanked, checked_requirements, compile_lock, digest, locked_release, resolve, split
from liftlock.releases.observe import Description, carried, describe, lock_of, mlflow_release
from liftlock.releases.proof import prove_imports, prove_start
from liftlock.releases.pythons import Interpreter, find_minor, find_python
from liftlock.releases.uv import IndexUnreachable, explain, uv

_MARKER = "environment.json"
# What was seen of a person's environment, by interpreter, for as long as its directory stays the same.
_SEEN: dict[tuple[Path, int], tuple[Description, Environment]] = {}


class Proof(Value, frozen=True):
    """What was seen working: SQLAlchemy's version, the engines whose drivers were imported and which drivers those
    are, and the seconds `mlflow server` took to answer `/health` (None: not tried).
    """

    at: datetime
    sqlalchemy: str
    engines: tuple[Engine, ...] = ()
    drivers: tuple[str, ...] = ()
    start_seconds: float | None = None


class Environment(Value, frozen=True):
    """One release in one Python.

    `python` is the interpreter inside; `package` is the directory of the `mlflow` package; `lock` is the text of
    pins with hashes and `lock_digest` its SHA-256 together with the Python's minor. `owned` tells whether liftlock
    made it. `unlocked` names what the index cannot give again (local, editable or VCS installations).
    """

    release: Release
    python: Path
    python_version: str
    package: Path
    lock: str
    lock_digest: str
    owned: bool
    unlocked: tuple[str, ...] = ()
    proof: Proof | None = None

    def __repr__(self) -> str:
        return f"Environment(mlflow {self.release}, {self.python})"


class Environments:
    """The cache of environments below `root` (default: $LIFTLOCK_CACHE, else $XDG_CACHE_HOME or ~/.cache, liftlock)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_cache()).absolute()
        self._directory = self.root / "environments"

    def build(
        self, release: Release, *, requirements: Sequence[str] = (), drivers: Collection[Engine] = (),
        python: str = "", start: bool = True, refresh: bool = False, observer: Observer = silent,
    ) -> Environment:  # fmt: skip
        """An environment for a release: from the cache when this was asked before, else resolved, installed, proven.

        `requirements` are further PEP 508 requirements (see `carried`), `drivers` the engines it must reach,
        `python` a preferred version, `start` whether `mlflow server` must have been seen starting (6 to 20 s, once).
        `refresh` resolves anew instead of taking what an equal request gave before. Raises ReleaseError.
        """
        extra = checked_requirements(requirements)
        request = self._request(release, extra, drivers, python)
        if not refresh and (known := self._known(request)) is not None:
            return self._proven(known, drivers, start, observer)
        interpreter = find_python(release, prefer=python)
        observer(Progress(work=f"resolve MLflow {release}"))
        try:
            lock = resolve(release, interpreter.path, extra, drivers)
        except (IndexUnreachable, Yanked):
            raise
        except ReleaseError:
            Index(self.root).require(release)  # an unknown release gets its nearest names instead
            raise
        environment = self._install(lock, interpreter, drivers, start, observer)
        with side_effect("record environment request"):
            files.private_directory(request.parent)
            files.write_atomic(request, environment.lock_digest)
        return environment

    def rebuild(
        self, lock: str, python_version: str, *, drivers: Collection[Engine] = (), start: bool = True,
        observer: Observer = silent,
    ) -> Environment:  # fmt: skip
        """The environment a lock describes, from the cache or installed again with every hash checked."""
        release = locked_release(lock)
        if (known := self.find(release, digest(lock, python_version))) is not None:
            return self._proven(known, drivers, start, observer)
        minor = ".".join(python_version.split(".")[:2])
        interpreter = find_minor(minor)
        if interpreter is None:
            raise ReleaseError(
                f"the lock of MLflow {release} was made for Python {minor}, and this machine has none",
                hint=f"Install Python {minor}: another one would need other packages.",
            )
        if "--hash=" not in lock:  # recorded while the index did not answer
            pinned = [line for line in lock.splitlines() if line.strip()]
            lock = compile_lock(pinned, interpreter.path, release, dependencies=False)
        return self._install(lock, interpreter, drivers, start, observer)

    def find(self, release: Release, lock_digest: str) -> Environment | None:
        """The whole environment with this lock digest from the cache, or None."""
        return _read(self._place(release, lock_digest)) if lock_digest else None

    def at(self, python: Path) -> Environment | None:
        """The cached environment with this interpreter, or None."""
        return next((entry for entry in self.cached() if entry.python == python), None)

    def observe(self, python: Path) -> Environment:
        """A person's own environment as it is; nothing in it is changed and it is not copied into the cache.

        `python` is its interpreter. Raises ReleaseError when it does not run or has no MLflow.
        """
        return self._observed(python)[1]

    def carried(self, observed: Environment, drivers: Collection[Engine]) -> tuple[str, ...]:
        """Requirements of an old environment that the server needs in its new one, beside MLflow and `drivers`."""
        return carried(self._observed(observed.python)[0].distributions, drivers)

    def _observed(self, python: Path) -> tuple[Description, Environment]:
        """Described and locked: 1 to 2 s, so once for each state of the directory that installers write to."""
        places = sorted((python.parent.parent / "lib").glob("python3.*/site-packages"))
        key = (python, places[0].stat().st_mtime_ns) if len(places) == 1 else None
        if key in _SEEN:
            return _SEEN[key]
        description = describe(python)
        lock, unlocked = lock_of(description, python)
        seen = Environment(
            release=mlflow_release(description), python=python, python_version=description.python_version,
            package=Path(description.package), lock=lock, lock_digest=digest(lock, description.python_version),
            owned=False, unlocked=unlocked,
        )  # fmt: skip
        if key is not None:
            _SEEN[key] = description, seen
        return description, seen

    def keep(self, environment: Environment, by: str) -> None:
        """Protect an environment from `prune` in the name of `by` (a run or a deployment). Repeatable."""
        if environment.owned:
            marks = self._home(environment) / "kept"
            with side_effect("keep environment"):
                files.private_directory(marks)
                files.write_atomic(marks / _mark(by), by)

    def release(self, by: str) -> None:
        """Take back everything that `keep` protected in the name of `by`. Repeatable."""
        for mark in self._directory.glob(f"*/kept/{_mark(by)}"):
            with side_effect("release environment"):
                mark.unlink(missing_ok=True)

    def prune(self) -> tuple[str, ...]:
        """Remove every environment that nobody keeps, and leftovers; the names of what was removed."""
        removed = []
        for place in sorted(self._directory.glob("*-*")):
            if not place.is_dir():
                continue
            with self._locked(place.name):
                if any((place / "kept").glob("*")):
                    continue
                with side_effect("remove environment"):
                    (place / _MARKER).unlink(missing_ok=True)
                    files.remove_tree(place)
                removed.append(place.name)
        return tuple(removed)

    def cached(self) -> tuple[Environment, ...]:
        """All environments that are whole, oldest release first."""
        found = (_read(place) for place in self._directory.glob("*-*") if place.is_dir())
        return tuple(sorted((entry for entry in found if entry), key=lambda entry: entry.release))

    def _install(
        self, lock: str, interpreter: Interpreter, drivers: Collection[Engine], start: bool, observer: Observer
    ) -> Environment:
        release = locked_release(lock)
        name = digest(lock, interpreter.version)
        place = self._place(release, name)
        with self._locked(place.name):
            if (known := _read(place)) is None:
                with side_effect("remove interrupted environment"):
                    files.remove_tree(place)
                known = self._fill(place, release, lock, name, interpreter, drivers, observer)
        return self._proven(known, drivers, start, observer)

    def _fill(
        self, place: Path, release: Release, lock: str, name: str, interpreter: Interpreter,
        drivers: Collection[Engine], observer: Observer,
    ) -> Environment:  # fmt: skip
        python = place / "venv" / "bin" / "python"
        files.private_directory(place)
        files.write_atomic(place / "lock.txt", lock)
        observer(Progress(work=f"install MLflow {release}"))
        try:
            with side_effect("install environment"):
                uv(["venv", "--quiet", "--no-project", "--python", interpreter.path, place / "venv"], timeout=120)
                self._packages(place, python, lock, f"installing MLflow {release}")
        except CommandFailed as error:
            raise ReleaseError(
                f"MLflow {release} could not be installed on Python {interpreter.version}: "
                f"{explain(error.output)[:400]}",
                hint="A package without a wheel for this Python needs a compiler; an older Python may have one.",
            ) from error
        environment = Environment(
            release=release, python=python, python_version=interpreter.version, package=package_directory(python),
            lock=lock, lock_digest=name, owned=True, proof=_imports(python, release, drivers, observer),
        )  # fmt: skip
        self._record(place, environment)
        return environment

    def _packages(self, place: Path, python: Path, lock: str, what: str) -> None:
        hashed, direct = split(lock)
        files.write_atomic(place / "hashed.txt", hashed)
        uv(
            ["pip", "sync", "--quiet", "--require-hashes", "--python", python, place / "hashed.txt"],
            timeout=1800, what=what,
        )  # fmt: skip
        if direct:
            files.write_atomic(place / "direct.txt", direct)
            uv(
                ["pip", "install", "--quiet", "--no-deps", "--python", python, "-r", place / "direct.txt"],
                timeout=1800, what=what,
            )  # fmt: skip

    def _proven(
        self, environment: Environment, drivers: Collection[Engine], start: bool, observer: Observer
    ) -> Environment:
        """The environment with every proof that is asked for: those it lacks are made now, and recorded."""
        if _covers(environment.proof, drivers, start):
            return environment
        place = self._home(environment)
        with self._locked(place.name):
            environment = _read(place) or environment
            proof = environment.proof
            if proof is None or not set(drivers) <= set(proof.engines):
                engines = {*drivers, *(proof.engines if proof else ())}
                started = proof.start_seconds if proof else None
                proof = _imports(environment.python, environment.release, engines, observer)
                proof = msgspec.structs.replace(proof, start_seconds=started)
            if start and proof.start_seconds is None:
                observer(Progress(work=f"start MLflow {environment.release}"))
                with tempfile.TemporaryDirectory(prefix="liftlock-proof-") as scratch:
                    seconds = prove_start(environment.python, environment.release, Path(scratch))
                proof = msgspec.structs.replace(proof, start_seconds=seconds)
            environment = msgspec.structs.replace(environment, proof=proof)
            self._record(place, environment)
        return environment

    def _record(self, place: Path, environment: Environment) -> None:
        with side_effect("record environment"):
            files.write_atomic(place / _MARKER, to_json(environment, indent=2))

    def _request(self, release: Release, extra: tuple[str, ...], drivers: Collection[Engine], python: str) -> Path:
        """The file that remembers what an equal request gave: so a cache hit asks no index."""
        words = [release.version, *extra, *sorted(drivers), python, *constraints(release)]
        return self.root / "requests" / hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]

    def _known(self, request: Path) -> Environment | None:
        try:
            name = request.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        places = self._directory.glob(f"*-{name[:12]}") if re.fullmatch(r"[0-9a-f]{64}", name) else iter(())
        return next((entry for place in places if (entry := _read(place)) is not None), None)

    def _place(self, release: Release, name: str) -> Path:
        return self._directory / f"{release}-{name[:12]}"

    def _home(self, environment: Environment) -> Path:
        return self._place(environment.release, environment.lock_digest)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One builder at a time, across processes; the lock goes with the process that holds it."""
        files.private_directory(self._directory)
        descriptor = os.open(self._directory / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def package_directory(python: Path) -> Path:
    """The `mlflow` package below a virtual environment's interpreter. Raises ReleaseError when there is none."""
    found = sorted((python.parent.parent / "lib").glob("python3.*/site-packages/mlflow"))
    if not found:
        raise ReleaseError(f"there is no MLflow beside {python}")
    return found[0]


def _imports(python: Path, release: Release, engines: Collection[Engine], observer: Observer) -> Proof:
    observer(Progress(work=f"prove MLflow {release}"))
    with tempfile.TemporaryDirectory(prefix="liftlock-proof-") as scratch:
        seen = prove_imports(python, release, Path(scratch), engines)
    return Proof(at=clock.now(), sqlalchemy=seen.sqlalchemy, engines=tuple(sorted(engines)), drivers=seen.drivers)


def _covers(proof: Proof | None, engines: Collection[Engine], start: bool) -> bool:
    if proof is None:
        return False
    return set(engines) <= set(proof.engines) and (proof.start_seconds is not None or not start)


def _read(place: Path) -> Environment | None:
    """The whole environment at a place, or None: missing, interrupted, edited, or its interpreter is gone."""
    try:
        environment = from_json((place / _MARKER).read_bytes(), Environment)
    except (FileNotFoundError, ValueError):
        return None
    whole = (
        digest(environment.lock, environment.python_version) == environment.lock_digest
        and environment.python.is_file()
        and environment.package.is_dir()
    )
    return environment if whole else None


def _mark(by: str) -> str:
    if not by:
        raise UsageError("an environment is kept in somebody's name")
    return re.sub(r"[^A-Za-z0-9._-]", "_", by)[:80] + "-" + hashlib.sha256(by.encode()).hexdigest()[:8]
