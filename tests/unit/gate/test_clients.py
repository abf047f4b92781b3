"""The report about clients."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from liftlock.errors import UsageError
from liftlock.gate.clients import identify, report
from liftlock.gate.log import AccessLog, Line


def line(at: int = 1000, **fields: object) -> Line:
    given = {"peer": "1.1.1.1", "verb": "POST", "path": "/p", "agent": "", "client": "", "read": False, "status": 200}
    return msgspec.convert({"at": at, "us": 1, **given, **fields}, Line)


@pytest.mark.parametrize(
    ("agent", "version", "expected"),
    [
        ("mlflow-python-client/2.9.2", "", ("mlflow-python-client", "2.9.2")),
        ("mlflow-python-client/3.4.0", "3.4.0", ("mlflow-python-client", "3.4.0")),
        ("custom", "3.5.0", ("mlflow-python-client", "3.5.0")),
        ("Mozilla/5.0 (X11)", "", ("browser", "")),
        ("mlflow-java-client/2.1", "", ("mlflow-java-client", "")),
        ("", "", ("unknown", "")),
    ],
)
def test_identify(agent: str, version: str, expected: tuple[str, str]) -> None:
    assert identify(agent, version) == expected


def test_report_reads_rotated_files_and_skips_what_a_crash_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    encode = msgspec.json.encode
    log.with_name("access.log.1").write_bytes(encode(line(1000, agent="mlflow-python-client/2.9.2")) + b'\n{"at": 1')
    run = "/api/2.0/mlflow/traces/0123456789abcdef0123456789abcdef/tags"
    log.write_bytes(
        encode(line(9000, agent="mlflow-python-client/2.9.2", peer="2.2.2.2", path=run, status=499)) + b"\n"
    )
    (use,) = report(log)
    assert (use.requests, use.writes, use.failed, use.peers, use.first, use.last) == (2, 2, 1, 2, 1.0, 9.0)
    assert use.paths == (("POST /api/2.0/mlflow/traces/*/tags", 1), ("POST /p", 1))
    assert report(log, since=5)[0].requests == 1
    with pytest.raises(UsageError):
        report(tmp_path / "other.log")


def test_a_log_that_cannot_be_written_costs_lines_only(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "missing" / "access.log", max_bytes=10, files=2)
    log.add([line()])
    log.close()
    assert log.lost == 1


def test_rotation_keeps_the_number_of_files(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "a.log", max_bytes=1, files=3)
    for number in range(6):
        log.add([line(number)])
        log.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.log.1", "a.log.2"]
