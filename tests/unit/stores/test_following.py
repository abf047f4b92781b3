"""Files are hashed while another process writes them; what is said of them is what lies there in the end."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from liftlock.stores import following
from liftlock.stores.following import Following

_WRITER = """
import random, sys, time
from pathlib import Path
random.seed(4)
place = Path(sys.argv[1])
with (place / "large.dat").open("wb") as large, (place / "other.dat").open("wb") as other:
    for turn in range(60):
        large.write(random.randbytes(random.randrange(1, 90_000)))
        if turn % 7 == 0:
            large.flush()
            time.sleep(0.01)
    other.write(b"x" * 70_000)
(place / "toc.dat").write_bytes(b"first")
(place / "toc.dat").write_bytes(b"then another")
(place / "empty.dat").write_bytes(b"")
(place / "more").mkdir()
"""


def test_hashes_what_another_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_FLUSH", 100_000)
    monkeypatch.setattr(following, "_PIECE", 1 << 14)
    with Following(tmp_path, without={"toc.dat"}) as followed:
        subprocess.run([sys.executable, "-c", _WRITER, str(tmp_path)], check=True)
        found = followed.finish()
    assert sorted(found) == ["empty.dat", "large.dat", "other.dat"]
    for name, (size, digest) in found.items():
        raw = (tmp_path / name).read_bytes()
        assert (size, digest) == (len(raw), hashlib.sha256(raw).hexdigest()), name


def test_a_writer_that_failed_leaves_no_thread_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Following(tmp_path, without=()) as followed:
        (tmp_path / "part").write_bytes(b"part")
        raise RuntimeError("pg_dump failed")
    assert followed._work.done()
