"""Writing a copied file, hashed and flushed, while the next piece is read.

Reading (under somebody's lock), hashing and writing each have a thread; all three leave the interpreter while they
work. Where the file system takes O_DIRECT, pieces go to the disk at once instead of through the page cache: that saves
copying them once more and leaves nothing for the flush at the end to wait for.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from liftlock.errors import StoreError
from liftlock.files import sync_file

# What O_DIRECT asks offsets and lengths to be a multiple of, on every disk in use.
ALIGNMENT = 4096
_BUFFERS = 3


class Sink:
    """One file that is written from its start, in pieces of at most `largest` bytes.

    Without `keep` the file is a passing one: neither hashed nor flushed, and written into the page cache, whence it
    will be read. Use it as a context manager.
    """

    def __init__(self, target: Path, largest: int, *, keep: bool = True) -> None:
        self._file = os.open(target, os.O_WRONLY)
        self._keep = keep
        if keep:
            self._ask_for_direct()
        self._free = deque(mmap.mmap(-1, largest) for _ in range(_BUFFERS))
        self._busy: deque[tuple[mmap.mmap, list[Future[Any]]]] = deque()
        self._hashing = ThreadPoolExecutor(1)
        self._writing = ThreadPoolExecutor(1)
        self._digest = hashlib.sha256()
        self.bytes = 0

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._hashing.shutdown(cancel_futures=True)
        self._writing.shutdown(cancel_futures=True)
        os.close(self._file)

    def wait(self) -> None:
        """Wait until the next `take` needs no waiting. Raises OSError of an earlier write."""
        while not self._free:
            self._reclaim()

    def take(self, source: int, count: int) -> None:
        """Read the next `count` bytes of a file; when this returns, the file may change.

        Raises StoreError (retryable) when it is shorter, OSError when it cannot be read.
        """
        self.wait()
        buffer = self._free.popleft()
        piece = memoryview(buffer)
        read = 0
        while read < count:
            got = os.preadv(source, [piece[read:count]], self.bytes + read)
            if not got:
                raise StoreError(
                    "the database file became shorter while it was read", hint="Try again.", retryable=True
                )
            read += got
        work = [self._writing.submit(self._write, piece, count, self.bytes)]
        if self._keep:
            work.append(self._hashing.submit(self._digest.update, piece[:count]))
        self._busy.append((buffer, work))
        self.bytes += count

    def restart(self) -> None:
        """Forget everything that was taken."""
        self._drain()
        os.ftruncate(self._file, 0)
        self._digest = hashlib.sha256()
        self.bytes = 0

    def finish(self) -> str:
        """Wait for the last byte, on disk; the SHA-256 ("" without `keep`)."""
        self._drain()
        os.ftruncate(self._file, self.bytes)  # the last piece was padded
        if not self._keep:
            return ""
        os.fsync(self._file)
        return self._digest.hexdigest()

    def _reclaim(self) -> None:
        buffer, work = self._busy.popleft()
        for each in work:
            each.result()
        self._free.append(buffer)

    def _drain(self) -> None:
        while self._busy:
            self._reclaim()

    def _write(self, piece: memoryview, count: int, offset: int) -> None:
        end = -(-count // ALIGNMENT) * ALIGNMENT if self._keep else count
        done = 0
        while done < count:
            try:
                done += os.pwrite(self._file, piece[done:end], offset + done)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct():
                    raise
                # The file system accepted the flag and refuses it now, or a part was written up to an odd place.
                fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) & ~os.O_DIRECT)

    def _direct(self) -> bool:
        return bool(fcntl.fcntl(self._file, fcntl.F_GETFL) & os.O_DIRECT)

    def _ask_for_direct(self) -> None:
        try:
            fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_DIRECT)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise


def settle(target: Path) -> str:
    """Flush a file that is there already; its SHA-256."""
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(sync_file, target)
        digest = sha256(target)
        flushing.result()
    return digest


def sha256(target: Path) -> str:
    """SHA-256 of a file in one call, which leaves the interpreter to other threads all the while."""
    if not target.stat().st_size:
        return hashlib.sha256().hexdigest()  # an empty file cannot be mapped
    with target.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()
