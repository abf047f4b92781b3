"""What the gate counts about requests, and its Prometheus text."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from liftlock.gate.log import Line
from liftlock.gate.model import Counts, Phase

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_KINDS = ("write", "read")


class Metrics:
    """Counters since the process began."""

    def __init__(self) -> None:
        self._statuses: Counter[tuple[bool, int]] = Counter()
        self._within = [[0] * len(_BUCKETS) for _ in _KINDS]
        self._numbers = [0, 0]
        self._sums = [0, 0]  # microseconds
        self.overflowed = 0
        self.left = 0
        self.expired = 0
        self.unsettled = 0
        self.rejected = 0
        self.timed_out = 0
        self.longest_held = 0.0

    def add(self, lines: Sequence[Line]) -> None:
        """Count finished requests, many at once: that costs less than one by one. Refused heads are no requests."""
        for read in (False, True):
            some = [line for line in lines if line.read is read and line.verb]
            if not some:
                continue
            self._statuses.update((read, line.status) for line in some)
            took = sorted([line.us for line in some])
            self._numbers[read] += len(took)
            self._sums[read] += sum(took)
            within = self._within[read]
            for index, bound in enumerate(_BUCKETS):
                within[index] += bisect_right(took, bound * 1e6)

    def text(self, counts: Counts, *, log_lost: int) -> str:
        """Everything in Prometheus' text format 0.0.4."""
        lines = ["# HELP liftlock_gate_requests_total Requests answered or given up.",
                 "# TYPE liftlock_gate_requests_total counter"]  # fmt: skip
        for (read, status), number in sorted(self._statuses.items()):
            lines.append(f'liftlock_gate_requests_total{{kind="{_KINDS[read]}",status="{status}"}} {number}')
        lines += ["# HELP liftlock_gate_request_seconds Time from a request's head to the end of its answer.",
                  "# TYPE liftlock_gate_request_seconds histogram"]  # fmt: skip
        for index, kind in enumerate(_KINDS):
            total = self._numbers[index]
            for bound, number in zip((*_BUCKETS, "+Inf"), (*self._within[index], total), strict=True):
                lines.append(f'liftlock_gate_request_seconds_bucket{{kind="{kind}",le="{bound}"}} {number}')
            lines.append(f'liftlock_gate_request_seconds_sum{{kind="{kind}"}} {self._sums[index] / 1e6:.6f}')
            lines.append(f'liftlock_gate_request_seconds_count{{kind="{kind}"}} {total}')
        lines += ["# HELP liftlock_gate_in_flight Requests at an upstream now.",
                  "# TYPE liftlock_gate_in_flight gauge"]  # fmt: skip
        for side in counts.sides:
            lines.append(f'liftlock_gate_in_flight{{upstream="{side.address}",kind="read"}} {side.reads}')
            lines.append(f'liftlock_gate_in_flight{{upstream="{side.address}",kind="write"}} {side.writes}')
        for phase in Phase:
            lines.append(f'liftlock_gate_phase{{phase="{phase}"}} {int(counts.phase is phase)}')
        for name, kind, value, words in (
            ("generation", "gauge", counts.generation, "Generation of the gate's state."),
            ("held", "gauge", counts.held, "Writes waiting in a hold."),
            ("held_bytes", "gauge", counts.held_bytes, "Bytes buffered for writes waiting in a hold."),
            ("longest_held_seconds", "gauge", round(self.longest_held, 6), "Longest wait of a held write."),
            ("clients", "gauge", counts.clients, "Client connections."),
            ("overflowed_total", "counter", counts.overflowed, "Writes refused because the queue was full."),
            ("left_total", "counter", counts.left, "Requests that waited, dropped because their client left."),
            ("expired_total", "counter", counts.expired, "Holds that ended because nobody renewed them."),
            ("unsettled_total", "counter", counts.unsettled, "Writes whose upstream broke off before the answer."),
            ("rejected_total", "counter", self.rejected, "Requests answered and not forwarded: malformed."),
            ("timed_out_total", "counter", self.timed_out, "Clients cut off for being too slow."),
            ("log_lost_total", "counter", log_lost, "Access log lines that could not be written."),
        ):
            lines += [f"# HELP liftlock_gate_{name} {words}", f"# TYPE liftlock_gate_{name} {kind}",
                      f"liftlock_gate_{name} {value}"]  # fmt: skip
        return "\n".join(lines) + "\n"
