from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from liftlock.errors import StoreError
from liftlock.stores.sink import Sink, settle, sha256


def _content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _through(source: Path, target: Path, *, largest: int, piece: int, keep: bool = True) -> str:
    target.touch()
    size = source.stat().st_size
    with source.open("rb") as file, Sink(target, largest, keep=keep) as into:
        while into.bytes < size:
            into.take(file.fileno(), min(piece, size - into.bytes))
        return into.finish()


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 40960, 123457])
@pytest.mark.parametrize("piece", [512, 4096, 8192, 10000])
def test_the_file_is_the_source_and_the_digest_its_own(tmp_path: Path, size: int, piece: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(_content(size))
    digest = _through(source, target, largest=12288, piece=piece)
    assert target.read_bytes() == source.read_bytes()
    assert digest == hashlib.sha256(_content(size)).hexdigest() == sha256(target) == settle(target)


def test_a_passing_file_is_only_written(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(_content(5000))
    assert _through(tmp_path / "source", tmp_path / "target", largest=4096, piece=1000, keep=False) == ""
    assert (tmp_path / "target").read_bytes() == _content(5000)


def test_a_file_system_without_direct_writing_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    refused: list[int] = []

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if not refused:
            refused.append(offset)
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(file, data, offset)

    monkeypatch.setattr("os.pwrite", pwrite)
    (tmp_path / "source").write_bytes(_content(50001))
    digest = _through(tmp_path / "source", tmp_path / "target", largest=8192, piece=8192)
    assert refused
    assert (tmp_path / "target").read_bytes() == _content(50001)
    assert digest == hashlib.sha256(_content(50001)).hexdigest()


def test_starting_again_forgets_everything(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(_content(9000))
    target.touch()
    with source.open("rb") as file, Sink(target, 4096) as into:
        into.take(file.fileno(), 4096)
        into.take(file.fileno(), 4096)
        into.restart()
        into.take(file.fileno(), 100)
        digest = into.finish()
    assert target.read_bytes() == _content(9000)[:100]
    assert digest == hashlib.sha256(_content(9000)[:100]).hexdigest()


def test_errors_reach_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(b"short")
    (tmp_path / "target").touch()
    with (
        (tmp_path / "source").open("rb") as file,
        Sink(tmp_path / "target", 4096) as into,
        pytest.raises(StoreError) as caught,
    ):
        into.take(file.fileno(), 6)
    assert caught.value.retryable

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        _through(tmp_path / "source", tmp_path / "target", largest=4096, piece=5)
