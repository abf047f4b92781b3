"""The gate's log, read on from look to look while the gate writes and rotates it (with the gate's own writer)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from liftlock.app.watch_log import LogReader, Place
from liftlock.gate.log import AccessLog, Line
from liftlock.knowledge.catalogue import load
from liftlock.knowledge.fates import endpoints_of

ENDPOINTS = endpoints_of(load())
SEARCH = "/api/2.0/mlflow/runs/search"


def line(at: int, *, verb: str = "POST", path: str = SEARCH, agent: str = "mlflow-python-client/3.4.0") -> Line:
    return Line(at=at, peer="10.0.0.1", verb=verb, path=path, agent=agent, client="", read=True, status=200, us=900)


class Log:
    """A log of very small files, so that it is rotated all the time."""

    def __init__(self, directory: Path, *, size: int = 2000, files: int = 3) -> None:
        self.directory = directory
        self._log = AccessLog(directory / "access.log", max_bytes=size, files=files)

    def write(self, *lines: Line) -> None:
        for each in lines:
            self._log.add([each])
        asyncio.run(self._log.flush())

    def read(self, place: Place | None = None) -> tuple[list[int], LogReader]:
        reader = LogReader(self.directory, ENDPOINTS, place)
        return [each.at for _, each in reader.read()], reader


def test_every_request_is_counted_once_over_rotations_and_looks(tmp_path: Path) -> None:
    log, seen, place = Log(tmp_path, files=50), [], None
    for first in range(0, 200, 7):
        log.write(*(line(each) for each in range(first, first + 7)))
        if first % 3 == 0:
            found, reader = log.read(place)
            seen += found
            place = reader.place
            assert not reader.gap
    found, _ = log.read(place)
    assert seen + found == list(range(203))
    assert len(list(tmp_path.glob("access.log.*"))) > 10


def test_lines_that_were_rotated_out_of_existence_are_missed_openly(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(*(line(each) for each in range(5)))
    _, reader = log.read()
    for first in range(5, 100, 5):
        log.write(*(line(each) for each in range(first, first + 5)))
    found, again = log.read(reader.place)
    assert again.gap and found and found[-1] == 99 and found[0] > 5
    assert not log.read(again.place)[0]


def test_only_calls_of_the_api_by_others_count(tmp_path: Path) -> None:
    log = Log(tmp_path, size=1 << 20)
    log.write(
        line(1), line(2, verb="GET", path="/health"), line(3, agent="liftlock"), line(4, verb="", path=""),
        line(5, path="/static-files/main.js"), line(6, path="/prefix" + SEARCH),
        line(7, verb="DELETE", path="/api/2.0/mlflow/logged-models/m-123"),
    )  # fmt: skip
    with (tmp_path / "access.log").open("ab") as file:
        file.write(b'{"at": 8, "cut off\n{"at": 9, "bei')
    reader = LogReader(tmp_path, ENDPOINTS)
    assert [(endpoint, each.at) for endpoint, each in reader.read()] == [
        (f"POST {SEARCH}", 1), (f"POST {SEARCH}", 6),
        ("DELETE /api/2.0/mlflow/logged-models/{model_id}", 7),
    ]  # fmt: skip
    assert reader.place.offset == (tmp_path / "access.log").stat().st_size - len(b'{"at": 9, "bei')


def test_a_baseline_reads_the_newest_files_only(tmp_path: Path) -> None:
    log = Log(tmp_path, files=50)
    log.write(*(line(each) for each in range(3)))
    assert [each.at for _, each in LogReader(tmp_path, ENDPOINTS).newest(100)] == [0, 1, 2]
    for first in range(3, 300, 3):
        log.write(*(line(each) for each in range(first, first + 3)))
    newest = [each.at for _, each in LogReader(tmp_path, ENDPOINTS).newest(40)]
    assert 40 <= len(newest) < 80 and set(newest) == set(range(300 - len(newest), 300))
    assert not list(LogReader(tmp_path / "none", ENDPOINTS).newest(1))
