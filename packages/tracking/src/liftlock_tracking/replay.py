"""Turn spooled calls into requests: in order per run, in the release's own batches, each exactly once in effect.

A window of calls is sent and only then marked as arrived, so after a crash or a lost answer its calls are
sent again. Why that does no harm, per kind:

- metrics: a point's whole row (key, value, time, step) is its primary key on the server; the server drops a repeat;
- parameters: an equal value again is accepted; tags and the end of a run: the same order leads to the same last value;
- a new run carries the tag `liftlock.spool_id`; before it is sent again the tag is searched for, and after it was
  sent twice a late second run is looked for and deleted;
- a new experiment, model version or trace is looked up by name, by tag, or by its own id before it is sent again.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Optional

from liftlock_tracking import creations, files
from liftlock_tracking.batch import Batch, pieces
from liftlock_tracking.quiet import warn
from liftlock_tracking.records import Record
from liftlock_tracking.state import State
from liftlock_tracking.wire import API, Away, Lost, Reply, Unreachable, Wire

PROVISIONAL = re.compile(r"l[tx][0-9a-f]{30}")
STOPPED = "stopped"


class Unbound(Exception):
    """A provisional id whose creation has not been shipped yet (it lies in another process's file)."""


class Replay:
    """Ships calls of one spool. `alive` is asked between requests: False ends the window early."""

    def __init__(self, wire: Wire, state: State, alive: Callable[[], bool]) -> None:
        self._wire = wire
        self.state = state
        self._alive = alive
        self.known: dict[str, Optional[str]] = {}
        self.repeated = False

    def ship(self, segment: str, window: list[Record], *, before: int) -> None:
        """Send a window; `before` is how often it was tried. Raises Unreachable or Unbound: nothing is marked."""
        self.repeated = before > 0
        batches: dict[str, Batch] = {}
        for record in window:
            call = record.call
            run = call.get("r", "")
            # The application may use both ids of one run: their calls must stay in one order.
            run = (self._real(run) or run) if run else run
            record_id = f"{segment}:{record.start}"
            if call["k"] == "b":
                batch = batches.get(run)
                if batch is None:
                    batch = batches[run] = Batch(run)
                parts = pieces(call)
                size = (record.end - record.start) // len(parts)
                for part in parts:
                    if not batch.fits(part, size):
                        self._flush(batch)
                        batch = batches[run] = Batch(run)
                    batch.add(part, record_id, size)
                continue
            if run in batches:
                self._flush(batches.pop(run))
            self._single(call, record_id)
        for batch in batches.values():
            self._flush(batch)

    # --- batches ---------------------------------------------------------------------------------------

    def _flush(self, batch: Batch) -> None:
        if not batch.ids:
            return
        run = self._real(batch.run)
        if run is None:
            self._reject_all(batch, "the run it belongs to was refused by the server")
            return
        answer = self.send("POST", API + "runs/log-batch", batch.body(run, self.resolve))
        if isinstance(answer, Reply):
            return
        if len(batch.parts) == 1:
            self._reject_all(batch, answer.reason)
            return
        # One bad item spoils a whole batch: find it by halves, so that only it is refused.
        for half in batch.halves():
            self._flush(half)

    def _reject_all(self, batch: Batch, reason: str) -> None:
        for part, record_id in zip(batch.parts, batch.ids):
            self._reject(record_id, batch.run, part, reason)

    def _reject(self, record_id: str, run: str, call: dict[str, Any], reason: str) -> None:
        self.state.reject(record_id, run, call, reason)
        warn("rejected", "liftlock-tracking: the server refused a call for run %s: %s", run or "-", reason)

    # --- single calls ----------------------------------------------------------------------------------

    def _single(self, call: dict[str, Any], record_id: str) -> None:
        handler = _KINDS.get(call["k"])
        if handler is None:
            self._reject(record_id, call.get("r", ""), call, f"unknown kind of call {call['k']!r}")
            return
        refused = handler(self, call)
        if refused is not None:
            self._reject(record_id, call.get("r", ""), call, refused)

    def _plain(self, call: dict[str, Any]) -> Optional[str]:
        """Any other mutating call, sent as the release's own client would have sent it."""
        if self.repeated and call.get("api") == "LogModel" and self._has_model(call):
            return None
        try:
            endpoint = self.resolve(call["e"], strict=True)
            if call.get("r"):
                self.resolve(call["r"], strict=True)
            body = json.loads(self.resolve(json.dumps(call["body"], ensure_ascii=False)))
        except Lost as gone:
            return str(gone)
        answer = self.send(call["m"], endpoint, body)
        if isinstance(answer, Reply):
            if call.get("trace"):
                creations.trace_born(self, str(call["trace"]), answer.body)
            return None
        if call.get("api") in _HARMLESS_AGAIN and (self.repeated or answer.status == 404):
            return None
        if call.get("api") == "CreateRegisteredModel" and answer.code == "RESOURCE_ALREADY_EXISTS":
            return None
        return str(answer.reason)

    def _has_model(self, call: dict[str, Any]) -> bool:
        """Whether the run's model history (a list the server appends to) already holds this model."""
        answer = self.send("GET", API + "runs/get", {"run_id": self.resolve(call["r"])})
        try:
            model = json.loads(call["body"]["model_json"])
            tags = answer.body["run"]["data"]["tags"]
            history = next(t["value"] for t in tags if t["key"] == "mlflow.log-model.history")
            return any(m.get("model_uuid") == model.get("model_uuid") for m in json.loads(history))
        except (AttributeError, KeyError, StopIteration, ValueError):
            return False

    def _otlp(self, call: dict[str, Any]) -> Optional[str]:
        """Spans, as the bytes the release's own exporter made (spans are keyed by trace and span id)."""
        import base64

        headers = {k: self.resolve(v) for k, v in call["headers"].items()}
        answer = self.send("POST", call["e"], None, data=base64.b64decode(call["data"]), extra_headers=headers)
        return None if isinstance(answer, Reply) else str(answer.reason)

    def _artifact(self, call: dict[str, Any]) -> Optional[str]:
        try:
            return files.ship(self, self._wire, call)
        except Lost as gone:
            return str(gone)

    # --- helpers ---------------------------------------------------------------------------------------

    def send(self, method: str, endpoint: str, body: Optional[dict[str, Any]], **extra: Any) -> Any:
        """Send once: Reply or Refused. Raises Unreachable."""
        if not self._alive():
            raise Unreachable(Away(STOPPED, reached=False))
        answer = self._wire.call(method, endpoint, body, **extra)
        if isinstance(answer, Away):
            raise Unreachable(answer)
        return answer

    def _real(self, run: str) -> Optional[str]:
        """A run's real id; None if its creation was refused; raises Unbound while it is not known."""
        if not PROVISIONAL.fullmatch(run):
            return run
        if run not in self.known:
            bound = self.state.bound(run)
            if bound is None:
                raise Unbound(run)
            self.known[run] = bound[0]
            if len(self.known) > 10_000:
                self.known.pop(next(iter(self.known)))
        return self.known[run]

    def told(self, prov: str) -> dict[str, Any]:
        """What the server said about something created under a provisional id."""
        bound = self.state.bound(prov)
        return bound[1] if bound else {}

    def resolve(self, text: Any, *, strict: bool = False) -> Any:
        """Replace every provisional id in a text by the real one.

        Raises Unbound for one that is still to come. One that was refused, or that this spool never made, is
        left as it stands in a value; with `strict` (a call that is *about* it) it raises Lost.
        """

        def real(match: re.Match[str]) -> str:
            known = self._real(match.group())
            if known is None:
                if strict:
                    raise Lost(f"{match.group()} was refused by the server when it was created")
                return match.group()
            return known

        return PROVISIONAL.sub(real, text) if isinstance(text, str) and ("lt" in text or "lx" in text) else text

    def foreign(self, prov: str) -> None:
        """This id was made by no process of this spool: never wait for it again."""
        self.known[prov] = None


_HARMLESS_AGAIN = frozenset({"DeleteTag", "DeleteExperimentTag", "DeleteRun", "RestoreRun", "DeleteTraceTag"})
_KINDS: dict[str, Callable[[Replay, dict[str, Any]], Optional[str]]] = {
    "run": creations.create_run,
    "experiment": creations.create_experiment,
    "model": creations.create_model,
    "trace": creations.create_trace,
    "version": creations.create_version,
    "call": Replay._plain,
    "otlp": Replay._otlp,
    "file": Replay._artifact,
}
