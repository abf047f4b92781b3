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

from liftlock_tracking import files
from liftlock_tracking.quiet import warn
from liftlock_tracking.records import Record
from liftlock_tracking.state import State
from liftlock_tracking.wire import API, Away, Refused, Reply, Unreachable, Wire, number

SPOOL_TAG = "liftlock.spool_id"
PROVISIONAL = re.compile(r"l[tx][0-9a-f]{30}")
MOST_METRICS, MOST_PARAMS, MOST_TAGS, MOST_ITEMS = 1000, 100, 100, 1000
BATCH_BYTES = 900_000
SUSPECT_SECONDS = 600.0
STOPPED = "stopped"


class Unbound(Exception):
    """A provisional id whose creation has not been shipped yet (it lies in another process's file)."""


class Replay:
    """Ships calls of one spool. `alive` is asked between requests: False ends the window early."""

    def __init__(self, wire: Wire, state: State, alive: Callable[[], bool]) -> None:
        self._wire = wire
        self._state = state
        self._alive = alive
        self._known: dict[str, Optional[str]] = {}
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
        answer = self._send("POST", API + "runs/log-batch", batch.body(run, self.resolve))
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
        self._state.reject(record_id, run, call, reason)
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

    def _create_run(self, call: dict[str, Any]) -> Optional[str]:
        prov = str(call["p"])
        if self._state.bound(prov) is not None:
            return None
        body = dict(call["body"])
        try:
            experiment = self.resolve(str(body["experiment_id"]), strict=True)
        except Lost as gone:
            return self._unborn(prov, "run", str(gone))
        if self._state.sent(prov):
            found = self._find_runs(prov, experiment)
            if isinstance(found, Refused):
                return self._unborn(prov, "run", found.reason)
            self._state.suspect(prov, experiment, SUSPECT_SECONDS)
            if found:
                self._born(prov, found[0])
                return None
        body["experiment_id"] = experiment
        tags = [dict(t, value=self.resolve(t["value"])) for t in body.get("tags", []) if t["key"] != SPOOL_TAG]
        body["tags"] = [*tags, {"key": SPOOL_TAG, "value": prov}]
        answer = self._create("runs/create", body, prov)
        if isinstance(answer, Refused):
            return self._unborn(prov, "run", answer.reason)
        self._born(prov, answer.body["run"])
        return None

    def _create(self, endpoint: str, body: dict[str, Any], prov: str) -> Any:
        """Send a creation, remembering that it was sent for as long as its outcome is unknown."""
        self._state.sending(prov)
        try:
            return self._send("POST", API + endpoint, body)
        except Unreachable as problem:
            if not problem.away.reached:
                self._state.unsent(prov)
            raise

    def _find_runs(self, prov: str, experiment: str) -> Any:
        answer = self._send(
            "POST",
            API + "runs/search",
            {
                "experiment_ids": [experiment],
                "filter": f"tags.`{SPOOL_TAG}` = '{prov}'",
                "run_view_type": "ALL",
                "max_results": 50,
            },
        )
        if isinstance(answer, Refused):
            return answer
        return sorted(answer.body.get("runs", []), key=lambda run: str(run["info"]["run_id"]))

    def _born(self, prov: str, run: dict[str, Any]) -> None:
        info = run["info"]
        extra = {"artifact_uri": info.get("artifact_uri", ""), "info": info}
        self._state.bind(prov, str(info["run_id"]), "run", extra)
        self._known[prov] = str(info["run_id"])

    def _unborn(self, prov: str, kind: str, reason: str) -> str:
        self._state.bind(prov, None, kind)
        return reason

    def reconcile(self) -> None:
        """Look once more for second runs of creations that were sent twice; delete them, note the deed.

        Raises Unreachable.
        """
        import time

        for prov, experiment, until in self._state.suspects():
            bound = self._state.bound(prov)
            found = self._find_runs(prov, experiment) if bound and bound[0] else []
            if isinstance(found, list):
                for run in found:
                    run_id = str(run["info"]["run_id"])
                    if bound and run_id != bound[0] and run["info"].get("lifecycle_stage") == "active":
                        self._send("POST", API + "runs/delete", {"run_id": run_id})
                        self._state.add("second runs deleted", 1)
            if time.time() > until:
                self._state.cleared(prov)

    def _create_experiment(self, call: dict[str, Any]) -> Optional[str]:
        prov, body = str(call["p"]), dict(call["body"])
        if self._state.bound(prov) is not None:
            return None
        seen = self._send("GET", API + "experiments/get-by-name", {"experiment_name": body["name"]})
        if isinstance(seen, Refused):
            made = self._send("POST", API + "experiments/create", body)
            if isinstance(made, Refused) and made.code != "RESOURCE_ALREADY_EXISTS":
                return self._unborn(prov, "experiment", made.reason)
            seen = self._send("GET", API + "experiments/get-by-name", {"experiment_name": body["name"]})
            if isinstance(seen, Refused):
                return self._unborn(prov, "experiment", seen.reason)
        real = str(seen.body["experiment"]["experiment_id"])
        self._state.bind(prov, real, "experiment")
        self._state.remember_experiment(seen.body["experiment"])
        self._known[prov] = real
        return None

    def _found_or_created(
        self, call: dict[str, Any], prov: str, search: tuple[str, str, str], create: tuple[str, str]
    ) -> Any:
        """What an earlier sending made, found by its tag, else made now: a Reply under the creation's key, or Refused.

        `search` is verb, endpoint and key of the list it answers; `create` is endpoint and key of what it answers.
        """
        body = json.loads(self.resolve(json.dumps(call["body"], ensure_ascii=False)))
        if self._state.sent(prov):
            verb, endpoint, listed = search
            question = {"experiment_ids": [body["experiment_id"]], "filter": f"tags.`{SPOOL_TAG}` = '{prov}'"}
            found = self._send(verb, API + endpoint, question)
            if isinstance(found, Reply) and found.body.get(listed):
                return Reply({create[1]: found.body[listed][0]})
        body["tags"] = [*body.get("tags", []), {"key": SPOOL_TAG, "value": prov}]
        return self._create(create[0], body, prov)

    def _create_model(self, call: dict[str, Any]) -> Optional[str]:
        prov = str(call["p"])
        if self._state.bound(prov) is not None:
            return None
        answer = self._found_or_created(
            call, prov, ("POST", "logged-models/search", "models"), ("logged-models", "model")
        )
        if isinstance(answer, Refused):
            return self._unborn(prov, "model", answer.reason)
        model = answer.body["model"]
        info = model["info"]
        extra = {"artifact_uri": info.get("artifact_uri", ""), "model": model}
        self._state.bind(prov, str(info["model_id"]), "model", extra)
        self._known[prov] = str(info["model_id"])
        return None

    def _create_trace(self, call: dict[str, Any]) -> Optional[str]:
        """A trace of the releases whose server makes its id when it begins."""
        prov = str(call["p"])
        if self._state.bound(prov) is not None:
            return None
        answer = self._found_or_created(call, prov, ("GET", "traces", "traces"), ("traces", "trace_info"))
        if isinstance(answer, Refused):
            return self._unborn(prov, "trace", answer.reason)
        trace = answer.body["trace_info"]
        real = str(trace["request_id"])
        where = next((t["value"] for t in trace.get("tags", []) if t["key"] == "mlflow.artifactLocation"), "")
        self._state.bind(prov, real, "trace")
        self._state.bind(f"trace:{prov}", real, "trace", {"artifact_uri": where})
        self._known[prov] = real
        return None

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
        answer = self._send(call["m"], endpoint, body)
        if isinstance(answer, Reply):
            if call.get("trace"):
                self._trace_born(str(call["trace"]), answer.body)
            return None
        if call.get("api") in _HARMLESS_AGAIN and (self.repeated or answer.status == 404):
            return None
        return str(answer.reason)

    def _trace_born(self, trace: str, body: dict[str, Any]) -> None:
        tags = body.get("trace", {}).get("trace_info", {}).get("tags", {})
        where = {
            "artifact_uri": tags.get("mlflow.artifactLocation", ""),
            "spans": tags.get("mlflow.trace.spansLocation"),
        }
        self._state.bind(f"trace:{trace}", trace, "trace", where)

    def _has_model(self, call: dict[str, Any]) -> bool:
        """Whether the run's model history (a list the server appends to) already holds this model."""
        answer = self._send("GET", API + "runs/get", {"run_id": self.resolve(call["r"])})
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
        answer = self._send("POST", call["e"], None, data=base64.b64decode(call["data"]), extra_headers=headers)
        return None if isinstance(answer, Reply) else str(answer.reason)

    def _artifact(self, call: dict[str, Any]) -> Optional[str]:
        try:
            return files.ship(self, self._wire, call)
        except Lost as gone:
            return str(gone)

    # --- helpers ---------------------------------------------------------------------------------------

    def _send(self, method: str, endpoint: str, body: Optional[dict[str, Any]], **extra: Any) -> Any:
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
        if run not in self._known:
            bound = self._state.bound(run)
            if bound is None:
                raise Unbound(run)
            self._known[run] = bound[0]
            if len(self._known) > 10_000:
                self._known.pop(next(iter(self._known)))
        return self._known[run]

    def told(self, prov: str) -> dict[str, Any]:
        """What the server said about something created under a provisional id."""
        bound = self._state.bound(prov)
        return bound[1] if bound else {}

    def resolve(self, text: str, *, strict: bool = False) -> str:
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
        self._known[prov] = None


class Lost(Exception):
    """A call refers to something whose creation the server refused."""


_HARMLESS_AGAIN = frozenset({"DeleteTag", "DeleteExperimentTag", "DeleteRun", "RestoreRun", "DeleteTraceTag"})
_KINDS: dict[str, Callable[[Replay, dict[str, Any]], Optional[str]]] = {
    "run": Replay._create_run,
    "experiment": Replay._create_experiment,
    "model": Replay._create_model,
    "trace": Replay._create_trace,
    "call": Replay._plain,
    "otlp": Replay._otlp,
    "file": Replay._artifact,
}


def pieces(call: dict[str, Any]) -> list[dict[str, Any]]:
    """A call's items cut so that each piece fits a batch of its own."""
    metrics, params, tags = call.get("m", ()), call.get("p", ()), call.get("t", ())
    if len(metrics) + len(params) + len(tags) <= 100:
        return [call]
    cut: list[dict[str, Any]] = []
    for name, items in (("m", metrics), ("p", params), ("t", tags)):
        cut.extend({"k": "b", "r": call["r"], name: items[i : i + 100]} for i in range(0, len(items), 100))
    return cut


class Batch:
    """Consecutive metrics, parameters and tags of one run, up to what one log-batch request may hold."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.parts: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self._sizes: list[int] = []
        self._metrics = 0
        self._params: dict[str, str] = {}
        self._tags: set[str] = set()
        self._bytes = 0

    def fits(self, part: dict[str, Any], size: int) -> bool:
        """Whether the piece may join: limits of the server, and no parameter with two values in one request."""
        if not self.parts:
            return True
        metrics = self._metrics + len(part.get("m", ()))
        params, tags = len(self._params), len(self._tags)
        for key, value in part.get("p", ()):
            if key not in self._params:
                params += 1
            elif self._params[key] != value:
                return False
        for key, _ in part.get("t", ()):
            tags += key not in self._tags
        return (
            metrics <= MOST_METRICS
            and params <= MOST_PARAMS
            and tags <= MOST_TAGS
            and metrics + params + tags <= MOST_ITEMS
            and self._bytes + _wire_bytes(part, size) <= BATCH_BYTES
        )

    def add(self, part: dict[str, Any], record_id: str, size: int) -> None:
        """Join a piece that takes `size` bytes in the spool."""
        self.parts.append(part)
        self.ids.append(record_id)
        self._sizes.append(size)
        self._metrics += len(part.get("m", ()))
        self._params.update(part.get("p", ()))
        self._tags.update(t[0] for t in part.get("t", ()))
        self._bytes += _wire_bytes(part, size)

    def halves(self) -> list[Batch]:
        """The batch as two, in order."""
        middle = len(self.parts) // 2
        out = []
        for start, stop in ((0, middle), (middle, len(self.parts))):
            half = Batch(self.run)
            for at in range(start, stop):
                half.add(self.parts[at], self.ids[at], self._sizes[at])
            out.append(half)
        return out

    def body(self, run: str, resolve: Callable[[str], str]) -> dict[str, Any]:
        """The request; of several values for one tag the last one counts, as it would have one by one."""
        metrics, params, tags = [], {}, {}
        for part in self.parts:
            for item in part.get("m", ()):
                point: dict[str, Any] = {
                    "key": item[0],
                    "value": number(item[1]),
                    "timestamp": item[2],
                    "step": item[3],
                }
                if len(item) > 4:
                    point.update({k: resolve(v) for k, v in item[4].items()})
                metrics.append(point)
            for key, value in part.get("p", ()):
                params[key] = value
            for key, value in part.get("t", ()):
                tags[key] = value
        return {
            "run_id": run,
            "metrics": metrics,
            "params": [{"key": k, "value": resolve(v)} for k, v in params.items()],
            "tags": [{"key": k, "value": resolve(v)} for k, v in tags.items()],
        }


def _wire_bytes(part: dict[str, Any], size: int) -> int:
    """Bytes in the request: the spool's own plus the field names it leaves out."""
    return size + 64 * (len(part.get("m", ())) + len(part.get("p", ())) + len(part.get("t", ())))
