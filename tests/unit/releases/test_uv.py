"""Where uv lies is asked by several threads at once when releases are fetched."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uv as uv_package

from liftlock.releases.uv import uv


def test_only_one_thread_asks_where_uv_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's sysconfig gave a half-made answer to the second of two first questions (TypeError in uv's own code)."""
    real, inside, most = uv_package.find_uv_bin, threading.Semaphore(0), []

    def slow() -> str:
        inside.release()
        most.append(inside._value)
        time.sleep(0.05)
        inside.acquire()
        return real()

    monkeypatch.setattr(uv_package, "find_uv_bin", slow)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: uv(["--version"]).stdout, range(4)))
    assert all(answer.startswith("uv ") for answer in answers)
    assert most == [1, 1, 1, 1]
