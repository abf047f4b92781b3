"""The spool's files: whole records, damage, adoption, full disks, forks."""

from __future__ import annotations

import os
import random
import resource
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftlock_tracking import records
from liftlock_tracking.segments import adopt, read_window, segment_files
from liftlock_tracking.settings import Settings, SettingsError, Switches, load, parse_env, place
from liftlock_tracking.spool import Spool


def spool(folder: Path, **more: Any) -> Spool:
    return Spool(Settings(uri="http://x", spool=folder / "deep" / "x", **more))


def call(number: int) -> dict[str, Any]:
    return {"k": "b", "r": "run", "m": [["m", number / 3, 1, number]]}


def everything(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """All calls in all files, and how many damaged stretches there are."""
    calls: list[dict[str, Any]] = []
    damaged = 0
    for path in segment_files(folder):
        data = path.read_bytes()
        for item in records.scan(data, complete=True):
            if isinstance(item, records.Record):
                calls.append(item.call)
            else:
                damaged += 1
    return calls, damaged


def test_what_is_appended_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    one = spool(tmp_path)
    for number in range(5):
        assert one.append(call(number)) == one.written
    calls, damaged = everything(one.folder)
    assert [c["m"][0][3] for c in calls] == [0, 1, 2, 3, 4] and damaged == 0
    for path in [one.folder, *one.folder.iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@given(st.lists(st.binary(max_size=60)), st.data())
def test_damage_costs_only_the_record_it_hits(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [records.encode(records.dump({"n": i, "x": p.hex()})) for i, p in enumerate(payloads)]
    whole = b"".join(frames)
    if not whole:
        return
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    spoiled = bytearray(whole)
    spoiled[at] ^= 1 << bit
    hit, offset = 0, 0
    for hit, frame in enumerate(frames):
        if offset + len(frame) > at:
            break
        offset += len(frame)
    items = list(records.scan(bytes(spoiled), complete=True))
    good = [i.call["n"] for i in items if isinstance(i, records.Record)]
    assert good == [n for n in range(len(frames)) if n != hit]
    covered = sum(i.end - i.start for i in items)
    assert covered == len(whole)


@given(st.lists(st.binary(max_size=40), min_size=1), st.data())
def test_a_file_cut_anywhere_gives_every_whole_record(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [records.encode(records.dump({"x": p.hex()})) for p in payloads]
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    want = 0
    while want < len(frames) and sum(map(len, frames[: want + 1])) <= cut:
        want += 1
    items = list(records.scan(whole[:cut], complete=False))
    assert len([i for i in items if isinstance(i, records.Record)]) == want
    assert [i for i in items if isinstance(i, records.Damage)] == []


@pytest.mark.parametrize("window", [64, 1000, 5000])
def test_windows_join_up_to_the_whole_file_also_around_damage(
    tmp_path: Path, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liftlock_tracking.segments.WINDOW_BYTES", window)
    rng = random.Random(window)
    parts = [records.encode(records.dump({"n": n, "x": "y" * rng.randint(0, 400)})) for n in range(200)]
    parts[50] = b"garbage that is no record LLT1" * 9
    path = tmp_path / "a.seg"
    path.write_bytes(b"".join(parts))
    descriptor = os.open(path, os.O_RDONLY)
    offset, size, seen, bad = 0, path.stat().st_size, [], 0
    while offset < size:
        good, damage, end = read_window(descriptor, offset, size, complete=True)
        assert end > offset
        seen += [r.call["n"] for r in good]
        bad += sum(d.end - d.start for d in damage)
        offset = end
    assert seen == [n for n in range(200) if n != 50] and bad == len(parts[50])


def test_a_window_is_no_longer_than_can_be_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "a.seg"
    calls = [call(n) for n in range(3000)] + [{"k": "run", "p": str(n)} for n in range(300)]
    path.write_bytes(b"".join(records.encode(records.dump(c)) for c in calls))
    descriptor = os.open(path, os.O_RDONLY)
    offset, sizes = 0, []
    while offset < path.stat().st_size:
        good, _, offset = read_window(descriptor, offset, path.stat().st_size, complete=True)
        sizes.append(len(good))
    os.close(descriptor)
    assert sizes == [2000, 1050, 100, 100, 50]


def test_a_file_is_adopted_only_when_its_writer_is_gone(tmp_path: Path) -> None:
    one = spool(tmp_path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        one.append(call(1))
        os.write(write, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(read, 1)
    (path,) = segment_files(one.folder)
    assert adopt(path) is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    descriptor = adopt(path)
    assert descriptor is not None
    os.close(descriptor)


def test_a_full_disk_costs_the_call_but_not_the_application_nor_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        one = spool(tmp_path)
        kept = [one.append(call(n)) is not None for n in range(30)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        os.write(write, f"{sum(kept)} {one.lost}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    kept, lost = map(int, os.read(read, 100).split())
    assert kept + lost == 30 and kept > 5 and lost > 5
    calls, damaged = everything(tmp_path / "deep" / "x")
    assert len(calls) == kept and damaged == 0


def test_a_forked_child_writes_a_file_of_its_own(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.append(call(1))
    child = os.fork()
    if child == 0:
        one.after_fork()
        one.append(call(2))
        os._exit(0)
    os.waitpid(child, 0)
    one.append(call(3))
    assert len(segment_files(one.folder)) == 2
    assert one.pending() == one.written
    orphans = [path for path, _ in one.orphans()]
    assert len(orphans) == 1 and orphans[0] not in [s.path for s in one.segments]


def test_threads_do_not_mix_their_records(tmp_path: Path) -> None:
    one = spool(tmp_path)
    threads = [
        threading.Thread(target=lambda k=k: [one.append(call(k * 1000 + n)) for n in range(200)]) for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls, damaged = everything(one.folder)
    assert damaged == 0 and len(calls) == 1600


def test_nan_and_surrogates_survive() -> None:
    strange = {"m": [["k", float("nan"), 1, 2], ["k", float("-inf"), 1, 2]], "t": [["a", "\ud800 ü"]]}
    (item,) = records.scan(records.encode(records.dump(strange)), complete=True)
    assert isinstance(item, records.Record)
    assert str(item.call) == str(strange)


def test_settings_say_which_variable_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFTLOCK_TRACKING_CALL_BOUND", "soon")
    with pytest.raises(SettingsError, match="LIFTLOCK_TRACKING_CALL_BOUND"):
        load("liftlock+http://a")
    monkeypatch.setenv("LIFTLOCK_TRACKING_CALL_BOUND", "0.1")
    monkeypatch.setenv("LIFTLOCK_TRACKING_FULL", "explode")
    with pytest.raises(SettingsError, match="LIFTLOCK_TRACKING_FULL"):
        load("liftlock+http://a")


def test_a_folder_name_holds_no_password() -> None:
    name = place("http://user:secret@host:5000/x")
    assert "secret" not in name and "user" not in name and name.startswith("host-5000" if "-" in name else "host")


@pytest.mark.parametrize(
    ("text", "on"),
    [("MLFLOW_ENABLE_TRACKING=false", False), ("export MLFLOW_ENABLE_TRACKING='False' # off", False),
     ("# MLFLOW_ENABLE_TRACKING=false", True), ("MLFLOW_ENABLE_TRACKING=1", True), ("nonsense", True)],
)  # fmt: skip
def test_env_files(text: str, on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ENABLE_TRACKING", raising=False)
    (tmp_path / ".env").write_text(text)
    monkeypatch.setenv("LIFTLOCK_TRACKING_ENV_FILE", str(tmp_path / ".env"))
    assert Switches().tracking() is on
    assert Switches().tracing() is on
    assert parse_env("") == {}
