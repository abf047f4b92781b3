"""Locks: pinned requirements with hashes, as uv writes them, and requests to resolve one."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from liftlock.errors import CommandFailed, ReleaseError, UsageError
from liftlock.knowledge.constraints import constraints, drivers, undeclared
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.releases.uv import explain, uv

# uv's words; an exact pin gets a yanked release, as it should, and this beside it.
_YANKED = re.compile(
    r"^warning: `mlflow(?:-skinny|-tracing)?==[^`]+` is yanked(?: \(reason: \"(?P<reason>.*)\"\))?", re.MULTILINE
)
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


class Yanked(ReleaseError):
    """The release is on the index and was withdrawn by its makers; `reason` is theirs, perhaps empty."""

    def __init__(self, release: Release, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"MLflow {release} was withdrawn (yanked) from the package index: {reason or 'no reason is given there'}",
            hint="Choose another release; `liftlock releases list` shows those there are.",
        )


def pins(lock: str) -> dict[str, str]:
    """Version by canonical name of every `name==version` line."""
    return {canonicalize_name(match["name"]): match["version"] for match in _PIN.finditer(lock)}


def locked_release(lock: str) -> Release:
    """The MLflow release a lock pins. Raises UsageError when it pins none."""
    version = pins(lock).get("mlflow")
    if version is None:
        raise UsageError("the lock does not name an MLflow release", hint="It must hold a line mlflow==VERSION.")
    return Release.parse(version)


def digest(lock: str, python_version: str) -> str:
    """SHA-256 over what is pinned and the Python's minor: what makes one environment equal to another.

    Not over the hashes: they only list the files an index offers, which may grow, and are checked at installation.
    """
    minor = ".".join(python_version.split(".")[:2])
    direct = sorted(line.strip() for line in split(lock)[1].splitlines())
    words = [f"python {minor}", *(f"{name}=={version}" for name, version in sorted(pins(lock).items())), *direct]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def checked_requirements(requirements: Sequence[str]) -> tuple[str, ...]:
    """The requirements, sorted, once each. Raises UsageError for one that is not PEP 508."""
    for text in requirements:
        try:
            Requirement(text)
        except InvalidRequirement as error:
            raise UsageError(f"{text!r} is not a requirement: {str(error).splitlines()[0]}") from None
    return tuple(sorted(set(requirements)))


def split(lock: str) -> tuple[str, str]:
    """The lock's hashed pins, and its `name @ url` lines: directories and repositories have no hash to check."""
    direct: list[str] = []
    hashed: list[str] = []
    inside = False
    for line in lock.splitlines(keepends=True):
        if not line[:1].isspace():
            inside = " @ " in line and "--hash=" not in line and not line.rstrip().endswith("\\")
        (direct if inside else hashed).append(line)
    return "".join(hashed), "".join(direct)


def resolve(release: Release, python: Path, requirements: Sequence[str], engines: Collection[Engine]) -> str:
    """Resolve a release with its constraints, drivers and further requirements to a lock with hashes.

    Raises ReleaseError with the resolver's reason, Yanked where its makers withdrew it; IndexUnreachable when the
    index does not answer.
    """
    asked = [*_roots(release), *undeclared(release), *requirements]
    lock = compile_lock([*asked, *drivers(engines, {})], python, release, bounds=constraints(release))
    with_drivers = drivers(engines, pins(lock))
    if with_drivers != drivers(engines, {}):
        lock = compile_lock([*asked, *with_drivers], python, release, bounds=constraints(release))
    return lock


def compile_lock(
    requirements: Sequence[str],
    python: Path,
    release: Release,
    *,
    bounds: Sequence[str] = (),
    dependencies: bool = True,
) -> str:
    """Resolve requirements for one interpreter; the text names no index and no time, so equal means equal.

    Raises as `resolve`.
    """
    arguments: list[str | Path] = [
        "pip", "compile", "--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url",
        "--no-emit-find-links", "--python", python,
    ]  # fmt: skip
    if not dependencies:
        arguments.append("--no-deps")
    with tempfile.TemporaryDirectory(prefix="liftlock-") as directory:
        wanted, limits = Path(directory, "requirements.in"), Path(directory, "constraints.txt")
        wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        limits.write_text("\n".join(bounds) + "\n", encoding="utf-8")
        try:
            done = uv([*arguments, "--constraint", limits, wanted], timeout=300, what="resolving")
        except CommandFailed as error:
            raise ReleaseError(
                f"MLflow {release} cannot be installed: {explain(error.output)[:400]}",
                hint="`liftlock` offers only releases whose own dependencies can be resolved from your package index.",
            ) from error
    if withdrawn := _YANKED.search(done.stderr):
        raise Yanked(release, withdrawn["reason"] or "")
    return done.stdout


def _roots(release: Release) -> list[str]:
    # The `auth` extra holds what basic-auth imports (Flask-WTF); releases before 2.11 need and declare none.
    return [f"mlflow[auth]=={release}"]
