"""Clients that read all the time beside a measurement, processes of their own, and how long they waited when."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Python's own HTTP client on kept connections: what MLflow's clients use, without the second their import takes.
_CLIENT = """
import http.client, json, sys, time
host, port, experiment = sys.argv[1], int(sys.argv[2]), sys.argv[3]
search = json.dumps({"experiment_ids": [experiment], "max_results": 5})
connection = http.client.HTTPConnection(host, port, timeout=60)
print("began", flush=True)
while True:
    for verb, path, body in (
        ("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}", None),
        ("POST", "/api/2.0/mlflow/runs/search", search),
    ):
        started = time.monotonic()
        status = 0
        try:
            connection.request(verb, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except OSError:
            connection.close()
        print(f"{started} {time.monotonic() - started} {status}", flush=True)
        time.sleep(0.01)
"""


@dataclass(frozen=True)
class Read:
    """One read: when it began (monotonic, s), how long it took (s), its status (0: no answer)."""

    began: float
    took: float
    status: int


class Reads:
    """What the clients did so far."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._logs = logs

    def so_far(self) -> list[Read]:
        """All of it."""
        lines = [line.split() for log in self._logs for line in log.read_text().splitlines()[1:]]
        return [Read(float(began), float(took), int(status)) for began, took, status in lines]


@contextmanager
def reading(host: str, port: int, place: Path, *, clients: int = 4, experiment: str = "0") -> Iterator[Reads]:
    """Some clients for the duration of the block; their logs lie in `place`."""
    children = []
    logs = [place / f"reads-{number}" for number in range(clients)]
    try:
        for log in logs:
            with log.open("wb") as output:
                words = [sys.executable, "-c", _CLIENT, host, str(port), experiment]
                children.append(subprocess.Popen(words, stdout=output))
        yield Reads(logs)
    finally:
        for child in children:
            child.kill()
            child.wait()


def split(reads: Sequence[Read], spans: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Seconds of the reads that met none of the spans (from, to; monotonic), and of those that met one."""
    without: list[float] = []
    within: list[float] = []
    for read in reads:
        met = any(read.began < end and read.began + read.took > start for start, end in spans)
        (within if met else without).append(read.took)
    return without, within


def quantile(values: Sequence[float], share: float) -> float:
    """Of one value it is that value."""
    return statistics.quantiles(values, n=1000)[round(share * 1000) - 1] if len(values) > 1 else values[0]
