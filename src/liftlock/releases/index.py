"""Which releases of MLflow the user's own package index offers, and which of them can really be installed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from packaging.version import InvalidVersion, Version

from liftlock import clock, files
from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, ReleaseError
from liftlock.model.codec import Value, from_json, to_json
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.releases.lock import Yanked, compile_lock, resolve
from liftlock.releases.pythons import find_python
from liftlock.releases.uv import IndexUnreachable, explain, pip_index

_FRESH = timedelta(hours=1)
_TRIES = 10


class Installable(Value, frozen=True):
    """Whether a release can be installed now; `reason` says why not. `yanked`: its makers withdrew it."""

    release: Release
    ok: bool
    reason: str = ""
    yanked: bool = False


class _Known(Value, frozen=True):
    at: datetime
    releases: tuple[Release, ...]
    newest: Release | None = None


class Index:
    """The package index, asked through pip and uv with the user's own configuration; answers are kept for an hour.

    `cache` is the directory that holds `index.json`.
    """

    def __init__(self, cache: Path) -> None:
        self._file = cache / "index.json"

    def available(self, observer: Observer = silent, *, anew: bool = False) -> tuple[Release, ...]:
        """All releases the index offers, newest first, without withdrawn ones. Raises IndexUnreachable (retryable).

        `anew` asks whatever was kept.
        """
        known = None if anew else self._read()
        return known.releases if known is not None else self._ask(observer).releases

    def newest_installable(self, observer: Observer = silent) -> Release:
        """The newest final release whose dependencies all exist: the newest listed one need not be it.

        MLflow 3.18.0 was listed while mlflow-skinny 3.18.0, which it pins, was not. Without the index the last
        answer is used, whatever its age. Raises ReleaseError.
        """
        known, old = self._read(), self._read(stale=True)
        if known is not None and known.newest is not None:
            return known.newest
        try:
            known = known or self._ask(observer)
            final = [release for release in known.releases if not release.is_prerelease]
            for release in final[:_TRIES]:
                observer(Progress(work=f"resolve MLflow {release}"))
                if (answer := check_installable(release)).ok:
                    self._write(_Known(at=known.at, releases=known.releases, newest=release))
                    return release
        except IndexUnreachable:
            if old is not None and old.newest is not None:
                return old.newest
            raise
        last = answer.reason if final else "it offers none"
        raise ReleaseError(f"no release of MLflow on the package index can be installed: {last}")

    def require(self, release: Release) -> None:
        """Raise ReleaseError, naming the nearest releases, when the index does not offer this one; Yanked (one, too)
        when it has it, but its makers withdrew it.
        """
        offered = self.available()
        if release not in offered:
            refuse_yanked(release)
            near = ", ".join(str(other) for other in nearest(release, offered))
            raise ReleaseError(
                f"there is no MLflow {release} on the package index", hint=f"Near it are: {near}." if near else ""
            )

    def _ask(self, observer: Observer) -> _Known:
        observer(Progress(work="ask the package index"))
        try:
            done = pip_index(["versions", "mlflow", "--pre", "--ignore-requires-python"])
        except CommandFailed as error:
            if "No matching distribution" in error.output:
                # pip says so for an index that does not answer too, after its warnings
                raise IndexUnreachable("it offers no MLflow, or does not answer") from error
            raise ReleaseError(f"the package index could not be asked: {explain(error.output)[:300]}") from error
        known = _Known(at=clock.now(), releases=parse_versions(done.stdout))
        self._write(known)
        return known

    def _read(self, *, stale: bool = False) -> _Known | None:
        try:
            known = from_json(self._file.read_bytes(), _Known)
        except (FileNotFoundError, ValueError):
            return None
        return known if stale or clock.now() - known.at < _FRESH else None

    def _write(self, known: _Known) -> None:
        with side_effect("record package index"):
            files.private_directory(self._file.parent)
            files.write_atomic(self._file, to_json(known, indent=2))


def parse_versions(text: str) -> tuple[Release, ...]:
    """The releases in what `pip index versions` prints (its `Available versions:` line), newest first."""
    found = set()
    line = next((line for line in text.splitlines() if line.startswith("Available versions:")), "")
    for version in line.partition(":")[2].split(","):
        try:
            found.add(Release(version=str(Version(version.strip()))))
        except InvalidVersion:
            continue  # a legacy version such as 0.8.0-dev-x, which nothing can install today
    return tuple(sorted(found, reverse=True))


def refuse_yanked(release: Release) -> None:
    """Raise Yanked when the index has this release and its makers withdrew it: pip does not list such releases."""
    try:
        compile_lock([f"mlflow=={release}"], find_python(release).path, release, dependencies=False)
    except Yanked:
        raise
    except ReleaseError:
        return  # it is not there at all, or cannot be told


def check_installable(release: Release, *, python: str = "") -> Installable:
    """Whether a release resolves today on a Python it runs on (`python` is a preferred version), and why not.

    Raises IndexUnreachable: that is no answer about the release.
    """
    try:
        resolve(release, find_python(release, prefer=python).path, (), ())
    except IndexUnreachable:
        raise
    except ReleaseError as error:
        return Installable(release=release, ok=False, reason=error.message, yanked=isinstance(error, Yanked))
    return Installable(release=release, ok=True)


def nearest(release: Release, offered: Sequence[Release], number: int = 3) -> tuple[Release, ...]:
    """The offered releases a person may have meant: of the same minor first, then those written alike, newest first."""
    final = [other for other in offered if not other.is_prerelease]
    same = [other for other in final if other.key.release[:2] == release.key.release[:2]]
    alike = difflib.get_close_matches(release.version, [other.version for other in final], n=number, cutoff=0.5)
    chosen = dict.fromkeys([*sorted(same, reverse=True), *(Release(version=version) for version in alike)])
    return tuple(sorted(list(chosen)[:number], reverse=True))
