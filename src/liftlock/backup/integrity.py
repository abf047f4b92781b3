"""Compare every file of a set with its manifest: none missing, none different, none too many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from liftlock.backup.inventory import read_inventory, stored_name
from liftlock.backup.layout import MANIFEST
from liftlock.errors import BackupError
from liftlock.files import sha256
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.snapshot import BackupSet, FileEntry

_THREADS = min(8, 2 * (os.cpu_count() or 1))


def damages(directory: Path, manifest: BackupSet, *, observer: Observer = silent) -> tuple[str, ...]:
    """What is wrong with the files of the set in `directory`, one line each, in order of path; empty when sound."""
    entries = {entry.path: entry for entry in manifest.files}
    found: list[str] = []
    for root in manifest.artifacts:
        own = entries.get(root.inventory)
        # An inventory is only believed after its own digest was.
        if own is None or _differs(directory, own):
            continue
        try:
            artifacts = read_inventory(directory, root)
        except BackupError as error:
            found.append(error.message)
            continue
        for artifact in artifacts:
            path = f"{root.directory}/{stored_name(artifact.path, encrypted=manifest.encrypted)}"
            entries[path] = FileEntry(path=path, bytes=artifact.stored_bytes, sha256=artifact.stored_sha256)
        if len(artifacts) != root.files:
            found.append(f"{root.inventory}: {len(artifacts)} files instead of {root.files}")
    present = set(_files(directory))
    found += [f"{path}: not in the manifest" for path in present - entries.keys() - {MANIFEST}]
    wanted = list(entries.values())
    done = 0
    total = sum(entry.bytes for entry in wanted)
    with ThreadPoolExecutor(_THREADS) as pool:
        for entry, line in zip(wanted, pool.map(lambda entry: _differs(directory, entry), wanted), strict=True):
            if line:
                found.append(line)
            done += entry.bytes
            observer(Progress(work="checking files", done=done, total=total, unit="bytes"))
    return tuple(sorted(found))


def _differs(directory: Path, entry: FileEntry) -> str:
    path = directory / entry.path
    try:
        if path.is_symlink() or not path.is_file():
            return f"{entry.path}: missing" if not path.exists() else f"{entry.path}: not a regular file"
        if (size := path.stat().st_size) != entry.bytes:
            return f"{entry.path}: {size} bytes instead of {entry.bytes}"
        return "" if sha256(path) == entry.sha256 else f"{entry.path}: content differs"
    except OSError as error:
        return f"{entry.path}: cannot be read ({error.strerror})"


def _files(directory: Path) -> Iterator[str]:
    """Everything below the set that is no directory, links included, relative to it."""
    pending = [directory]
    while pending:
        for entry in os.scandir(pending.pop()):
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            else:
                yield Path(entry.path).relative_to(directory).as_posix()
