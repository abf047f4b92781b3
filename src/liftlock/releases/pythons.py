"""Finding a Python that a release really runs on."""

from __future__ import annotations

import os
from pathlib import Path

from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, ReleaseError
from liftlock.knowledge.constraints import PythonRange, python_range
from liftlock.model.codec import Value
from liftlock.model.release import Release
from liftlock.proc import run
from liftlock.releases.children import clean_environment
from liftlock.releases.uv import uv

_PROBE = "import ctypes, platform, sqlite3, ssl; import sys; print(platform.python_version(), sys.executable)"


class Interpreter(Value, frozen=True):
    """A Python on this machine that has what MLflow needs of a standard library (sqlite3, ssl, ctypes)."""

    path: Path
    version: str

    @property
    def minor(self) -> str:
        """The version's first two parts, such as `3.11`."""
        return ".".join(self.version.split(".")[:2])


def order(wanted: PythonRange, prefer: str = "") -> tuple[str, ...]:
    """The minors to try: `prefer`'s when it is in range, then the others from the newest down."""
    minor = ".".join(prefer.split(".")[:2])
    first = (minor,) if minor in wanted.minors() else ()
    return first + tuple(other for other in wanted.minors() if other != minor)


def find_python(release: Release, *, prefer: str = "") -> Interpreter:
    """A Python for this release: one on the machine, else one that uv can fetch. Raises ReleaseError naming the range.

    `prefer` is a version such as `3.11`, taken when the release runs on it.
    """
    wanted = python_range(release)
    for minor in order(wanted, prefer):
        if (interpreter := _on_machine(minor)) is not None:
            return interpreter
    for minor in order(wanted, prefer):
        if (interpreter := _fetched(minor)) is not None:
            return interpreter
    raise ReleaseError(
        f"MLflow {release} needs a Python from {wanted.minimum} to {wanted.maximum}, and this machine has none",
        hint=f"Install Python {wanted.maximum} (for example with the system's packages or pyenv) and try again.",
    )


def find_minor(minor: str) -> Interpreter | None:
    """A Python of exactly this minor: one on the machine, else one that uv can fetch, else None."""
    return _on_machine(minor) or _fetched(minor)


def probe(path: Path) -> Interpreter | None:
    """The interpreter at a path, or None when it does not run or lacks sqlite3, ssl or ctypes."""
    try:
        done = run([path, "-c", _PROBE], timeout=30, env=clean_environment(), check=False)
    except CommandFailed:
        return None
    if done.status != 0:
        return None
    # sys.executable, not `path`: a shim chooses another Python when its configuration changes
    version, _, real = done.stdout.strip().partition(" ")
    return Interpreter(path=Path(real), version=version)


def _on_machine(minor: str) -> Interpreter | None:
    candidates: list[Path] = []
    try:
        done = uv(["python", "find", "--no-python-downloads", "--system", minor], timeout=60)
        candidates.append(Path(done.stdout.strip().splitlines()[-1]))
    except CommandFailed:
        pass  # uv says that it knows none; pyenv's own directories are asked next
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += sorted(pyenv.glob(f"{minor}.*/bin/python3"))
    for path in candidates:
        if (found := probe(path)) is not None and found.minor == minor:
            return found
    return None


def _fetched(minor: str) -> Interpreter | None:
    try:
        with side_effect("install python"):
            uv(["python", "install", minor], timeout=600)
    except (CommandFailed, ReleaseError):
        return None  # not reachable from here: the caller's error names what is needed
    return _on_machine(minor)
