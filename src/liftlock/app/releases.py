"""`releases refresh`: fetch the releases the index offers, read their facts, write a catalogue.

Distributions are fetched by pip with the user's own configuration and kept; what was read from each is kept beside
it. So a run that is cut off goes on where it stopped, and a second run fetches only what is new.
"""

from __future__ import annotations

import lzma
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import msgspec

from liftlock import clock, files
from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, ReleaseError
from liftlock.knowledge.catalogue import INDEX, Contents
from liftlock.knowledge.catalogue_coding import FORMAT, encode, to_bytes
from liftlock.knowledge.extract.facts import SECTIONS, Fact, Facts
from liftlock.knowledge.extract.release import EXTRACTOR, Reader
from liftlock.model.codec import to_json
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.releases.environment import default_cache
from liftlock.releases.index import Index
from liftlock.releases.sources import find_sources
from liftlock.releases.uv import IndexUnreachable, explain, uv

FIRST = Release(version="1.0.0")
_PARALLEL = 2
_BATCH = 6
_LEFTOVER = 3600.0
_ENTRY = dict[str, dict[str, tuple[str, str]]]


class Refresher:
    """Makes a catalogue. `root` is the cache directory; distributions lie in `root/distributions`."""

    def __init__(self, root: Path | None = None, observer: Observer = silent) -> None:
        self._root = root or default_cache()
        self._kept = self._root / "distributions"
        self._observer = observer

    def refresh(self, target: Path, *, wanted: Sequence[Release] = ()) -> Contents:
        """Write a catalogue of `wanted` (default: every final release on the index from 1.0.0 on) into a directory.

        A release that cannot be fetched or read is listed in `missing` with the reason. Raises IndexUnreachable
        when the index does not answer, ReleaseError when nothing at all could be read.
        """
        asked = wanted or [
            each
            for each in Index(self._root).available(self._observer, anew=True)
            if not each.is_prerelease and each >= FIRST
        ]
        order = sorted(asked)
        with side_effect("make distribution cache"):
            files.private_directory(self._kept)
            for left in self._kept.glob(".fetch-*"):
                if clock.now().timestamp() - left.stat().st_mtime > _LEFTOVER:
                    files.remove_tree(left)  # a run that was killed; a younger one may be at work now
        missing = self._fetch(order)
        facts = self._read([each for each in order if each.version not in missing], missing)
        if not facts:
            raise ReleaseError("no release could be read", hint=next(iter(missing.values()), ""))
        return self._write(target, facts, missing)

    def _fetch(self, order: Sequence[Release]) -> dict[str, str]:
        missing: dict[str, str] = {}
        todo = [each for each in order if self._distribution(each) is None]
        done = 0
        with ThreadPoolExecutor(_PARALLEL) as pool:
            running: dict[Future[None], Release] = {pool.submit(self._download, each): each for each in todo}
            try:
                while running:
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        release = running.pop(future)
                        done += 1
                        try:
                            future.result()
                        except IndexUnreachable:
                            raise
                        except ReleaseError as error:
                            missing[release.version] = error.message
                        self._observer(Progress(work="fetch releases", done=done, total=len(todo), unit="releases"))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return missing

    def _distribution(self, release: Release) -> Path | None:
        for name in _written(release):
            for path in (*self._kept.glob(f"mlflow-{name}-*.whl"), self._kept / f"mlflow-{name}.tar.gz"):
                if path.is_file():
                    return path
        return None

    def _download(self, release: Release) -> None:
        """Fetch a wheel, or the sdist where there is no wheel (pip then asks its setup.py for the metadata)."""
        environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", **find_sources().for_pip()}
        words = ["download", "--quiet", "--no-cache-dir", "--no-deps", "--ignore-requires-python"]
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self._kept) as directory:
            words += ["--dest", directory, f"mlflow=={release}"]
            for kind in (["--only-binary", ":all:"], ["--no-binary", "mlflow"]):
                if self._fetched([*words, *kind], environment, release):
                    break
            else:
                raise ReleaseError(f"the package index offers no distribution of MLflow {release}")
            for path in Path(directory).iterdir():
                with side_effect("keep distribution"):
                    files.sync_file(path)
                    path.replace(self._kept / path.name)

    def _fetched(self, words: Sequence[str], environment: Mapping[str, str], release: Release) -> bool:
        """Run pip; whether there is a distribution of this kind. Raises ReleaseError when there is and it did not come.

        pip 24.1 and newer refuse metadata that older ones took (MLflow 1.27.0's), so an older one is asked, too.
        """
        for pip in (["pip"], ["--from", "pip<24.1", "pip"]):
            try:
                uv(["tool", "run", *pip, *words], env=environment, what="pip download")
                return True
            except CommandFailed as error:
                if "pip<24.1" in error.output:
                    continue
                if "No matching distribution" in error.output:
                    return False
                why = explain(error.output)[-200:]
                raise ReleaseError(f"MLflow {release} could not be fetched: {why}") from error
        return False

    def _read(self, order: Sequence[Release], missing: dict[str, str]) -> dict[Release, Facts]:
        """Facts of every release, in two processes."""
        found: dict[Release, Facts] = {}
        paths = {each: path for each in order if (path := self._distribution(each)) is not None}
        # batches of neighbours, which share most files; small ones, so that no worker is left alone at the end
        runs = list(paths.items())
        batches = [runs[i : i + _BATCH] for i in range(0, len(runs), _BATCH)]
        if not batches:
            return {}
        # spawned, not forked: a thread that draws progress may hold a lock at this moment
        workers, spawn = min(_PARALLEL, len(batches)), get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_prepare) as pool:
            futures = {
                pool.submit(_facts_of, [(each.version, str(path)) for each, path in batch]): batch for batch in batches
            }
            while futures:
                ended, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in ended:
                    batch = futures.pop(future)
                    try:
                        outcomes = future.result()
                    except BrokenProcessPool:
                        raise ReleaseError(
                            "a process that read releases was killed; what was read so far is kept",
                            hint="Run `liftlock releases refresh` again: it goes on where it stopped.", retryable=True,
                        ) from None  # fmt: skip
                    for (release, _), outcome in zip(batch, outcomes, strict=True):
                        if isinstance(outcome, str):
                            missing[release.version] = outcome
                        else:
                            found[release] = _decoded(outcome)
                    self._observer(Progress(work="read releases", done=len(found), total=len(paths), unit="releases"))
        return {release: found[release] for release in sorted(found)}

    def _write(self, target: Path, facts: dict[Release, Facts], missing: dict[str, str]) -> Contents:
        contents = Contents(
            format=FORMAT, made=clock.now().strftime("%Y-%m-%d"), extractor=EXTRACTOR,
            releases=tuple(release.version for release in facts), missing=dict(sorted(missing.items())),
        )  # fmt: skip
        target.mkdir(parents=True, exist_ok=True)
        self._observer(Progress(work="write the catalogue"))
        with side_effect("write catalogue"):
            (target / INDEX).unlink(missing_ok=True)  # without it a half-written catalogue is none
            for section in SECTIONS:
                coded = encode([each[section] for each in facts.values()])
                files.write_atomic(target / f"{section}.json.xz", to_bytes(coded), mode=0o644)
            files.write_atomic(target / INDEX, to_json(contents, indent=2) + "\n", mode=0o644)
        return contents


def _written(release: Release) -> tuple[str, ...]:
    """How the index may write a version: 1.13 is 1.13.0 to PEP 440."""
    text = str(release.key)
    return (text, text.removesuffix(".0") if text.count(".") == 2 else f"{text}.0")


def _prepare() -> None:
    os.nice(5)


def _facts_of(batch: list[tuple[str, str]]) -> list[_ENTRY | str]:
    """Runs in a worker process: the facts of some neighbouring releases, or why there are none."""
    reader = Reader()
    found: list[_ENTRY | str] = []
    for _, path in batch:
        kept = Path(path + f".facts{EXTRACTOR}.xz")
        with suppress(OSError, lzma.LZMAError, EOFError, msgspec.DecodeError):
            if kept.stat().st_mtime >= Path(path).stat().st_mtime:
                found.append(msgspec.json.decode(lzma.decompress(kept.read_bytes()), type=_ENTRY))
                continue
        try:
            facts = reader.facts(Path(path))
        except (ReleaseError, SyntaxError, ValueError) as error:
            found.append(f"{type(error).__name__}: {error}")
            continue
        plain: _ENTRY = {
            name: {key: (fact.value, fact.source) for key, fact in part.items()} for name, part in facts.items()
        }
        with side_effect("keep release facts"):
            files.write_atomic(kept, lzma.compress(msgspec.json.encode(plain), preset=1))
        found.append(plain)
    return found


def _decoded(entry: _ENTRY) -> Facts:
    return {name: {key: Fact(*pair) for key, pair in part.items()} for name, part in entry.items()}
