from __future__ import annotations

import threading
import time
from itertools import islice
from pathlib import Path

from liftlock.model.secret import remember
from liftlock.runtimes import process_log
from liftlock.runtimes.process_health import diagnose


def test_rotation_keeps_so_many_and_the_open_file_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as server:
        for number in range(4):
            server.write(b"%d" % number * 20)
            assert process_log.rotate(log, max_bytes=10, keep=2)
            assert log.read_bytes() == b""
        server.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "server.log.1").read_bytes() == b"3" * 20
    assert (tmp_path / "server.log.2").read_bytes() == b"2" * 20
    assert not (tmp_path / "server.log.3").exists()
    assert (tmp_path / "server.log.1").stat().st_mode & 0o777 == 0o600
    assert not process_log.rotate(log, max_bytes=10)
    assert not process_log.rotate(tmp_path / "none")


def test_tail_reads_the_end_and_redacts(tmp_path: Path) -> None:
    remember("log-canary")
    log = tmp_path / "server.log"
    assert process_log.tail(log, 5) == ()
    log.write_text("".join(f"line {number}\n" for number in range(50_000)) + "uri u:log-canary@h\nunfinished")
    assert process_log.tail(log, 3) == ("line 49999", "uri u:***@h", "unfinished")
    assert process_log.tail(log, 0) == ()
    assert len(process_log.tail(log, 60_000)) == 50_002
    start = log.stat().st_size - len("unfinished")
    assert process_log.tail(log, 5, since=start) == ("unfinished",)


def test_follow_sees_new_lines_and_a_truncated_file(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("old\nlast\n")

    def write() -> None:
        time.sleep(0.2)
        with log.open("a") as file:
            file.write("new ")
            file.flush()
            time.sleep(0.1)
            file.write("line\n")
        time.sleep(0.3)
        log.write_text("again\n")

    writer = threading.Thread(target=write)
    writer.start()
    assert list(islice(process_log.follow(log, 1, interval=0.02), 3)) == ["last", "new line", "again"]
    writer.join()


def test_diagnoses_name_what_was_found() -> None:
    old = ["Detected out-of-date database schema (found version f4a9b2c7d1e6, but expected dc11669786a5)."]
    assert "f4a9b2c7d1e6" in diagnose(old)
    assert "mlflow[auth]" in diagnose(["ImportError: requires the Flask-WTF package to perform CSRF validation"])
    assert "--shiny" in diagnose(["Error: No such option: --shiny"])
    assert diagnose(["all is well"]) == ""
