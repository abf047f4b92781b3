"""Runs, experiments, logged models and traces made on the server for the ids this spool gave out, each once.

What was sent with an unknown outcome is searched for by its tag before it is sent again.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Callable, Optional

from liftlock_tracking.files import SCHEME
from liftlock_tracking.wire import API, Lost, Refused, Reply, Unreachable

if TYPE_CHECKING:
    from liftlock_tracking.replay import Replay

SPOOL_TAG = "liftlock.spool_id"
SUSPECT_SECONDS = 600.0


def create_run(replay: Replay, call: dict[str, Any]) -> Optional[str]:
    """A run. This and its like return why the server refused, or None; they raise Unreachable."""
    prov = str(call["p"])
    if replay.state.bound(prov) is not None:
        return None
    body = dict(call["body"])
    try:
        experiment = replay.resolve(str(body["experiment_id"]), strict=True)
    except Lost as gone:
        return _unborn(replay, prov, "run", str(gone))
    if replay.state.sent(prov):
        found = _find_runs(replay, prov, experiment)
        if isinstance(found, Refused):
            return _unborn(replay, prov, "run", found.reason)
        replay.state.suspect(prov, experiment, SUSPECT_SECONDS)
        if found:
            _born(replay, prov, found[0])
            return None
    body["experiment_id"] = experiment
    tags = [dict(t, value=replay.resolve(t["value"])) for t in body.get("tags", []) if t["key"] != SPOOL_TAG]
    body["tags"] = [*tags, {"key": SPOOL_TAG, "value": prov}]
    answer = _create(replay, "runs/create", body, prov)
    if isinstance(answer, Refused):
        return _unborn(replay, prov, "run", answer.reason)
    _born(replay, prov, answer.body["run"])
    return None


def _create(replay: Replay, endpoint: str, body: dict[str, Any], prov: str) -> Any:
    """Send a creation, remembering that it was sent for as long as its outcome is unknown."""
    replay.state.sending(prov)
    try:
        return replay.send("POST", API + endpoint, body)
    except Unreachable as problem:
        if not problem.away.reached:
            replay.state.unsent(prov)
        raise


def _find_runs(replay: Replay, prov: str, experiment: str) -> Any:
    answer = replay.send(
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


def _born(replay: Replay, prov: str, run: dict[str, Any]) -> None:
    info = run["info"]
    extra = {"artifact_uri": info.get("artifact_uri", ""), "info": info}
    replay.state.bind(prov, str(info["run_id"]), "run", extra)
    replay.known[prov] = str(info["run_id"])


def _unborn(replay: Replay, prov: str, kind: str, reason: str) -> str:
    replay.state.bind(prov, None, kind)
    return reason


def create_experiment(replay: Replay, call: dict[str, Any]) -> Optional[str]:
    """An experiment: whoever made one of this name, it is that one."""
    prov, body = str(call["p"]), dict(call["body"])
    if replay.state.bound(prov) is not None:
        return None
    seen = replay.send("GET", API + "experiments/get-by-name", {"experiment_name": body["name"]})
    if isinstance(seen, Refused):
        made = replay.send("POST", API + "experiments/create", body)
        if isinstance(made, Refused) and made.code != "RESOURCE_ALREADY_EXISTS":
            return _unborn(replay, prov, "experiment", made.reason)
        seen = replay.send("GET", API + "experiments/get-by-name", {"experiment_name": body["name"]})
        if isinstance(seen, Refused):
            return _unborn(replay, prov, "experiment", seen.reason)
    real = str(seen.body["experiment"]["experiment_id"])
    replay.state.bind(prov, real, "experiment")
    replay.state.remember_experiment(seen.body["experiment"])
    replay.known[prov] = real
    return None


def _found_or_created(
    replay: Replay, call: dict[str, Any], prov: str, search: tuple[str, str, str], create: tuple[str, str]
) -> Any:
    """What an earlier sending made, found by its tag, else made now: a Reply under the creation's key, or Refused.

    `search` is verb, endpoint and key of the list it answers; `create` is endpoint and key of what it answers.
    """
    body = json.loads(replay.resolve(json.dumps(call["body"], ensure_ascii=False)))
    if replay.state.sent(prov):
        verb, endpoint, listed = search
        question = {"experiment_ids": [body["experiment_id"]], "filter": f"tags.`{SPOOL_TAG}` = '{prov}'"}
        found = replay.send(verb, API + endpoint, question)
        if isinstance(found, Reply) and found.body.get(listed):
            return Reply({create[1]: found.body[listed][0]})
    body["tags"] = [*body.get("tags", []), {"key": SPOOL_TAG, "value": prov}]
    return _create(replay, create[0], body, prov)


def create_model(replay: Replay, call: dict[str, Any]) -> Optional[str]:
    """A logged model (MLflow 3)."""
    prov = str(call["p"])
    if replay.state.bound(prov) is not None:
        return None
    answer = _found_or_created(
        replay, call, prov, ("POST", "logged-models/search", "models"), ("logged-models", "model")
    )
    if isinstance(answer, Refused):
        return _unborn(replay, prov, "model", answer.reason)
    model = answer.body["model"]
    info = model["info"]
    extra = {"artifact_uri": info.get("artifact_uri", ""), "model": model}
    replay.state.bind(prov, str(info["model_id"]), "model", extra)
    replay.known[prov] = str(info["model_id"])
    return None


def create_trace(replay: Replay, call: dict[str, Any]) -> Optional[str]:
    """A trace of the releases whose server makes its id when it begins."""
    prov = str(call["p"])
    if replay.state.bound(prov) is not None:
        return None
    answer = _found_or_created(replay, call, prov, ("GET", "traces", "traces"), ("traces", "trace_info"))
    if isinstance(answer, Refused):
        return _unborn(replay, prov, "trace", answer.reason)
    trace = answer.body["trace_info"]
    real = str(trace["request_id"])
    where = next((t["value"] for t in trace.get("tags", []) if t["key"] == "mlflow.artifactLocation"), "")
    replay.state.bind(prov, real, "trace")
    replay.state.bind(f"trace:{prov}", real, "trace", {"artifact_uri": where})
    replay.known[prov] = real
    return None


def create_version(replay: Replay, call: dict[str, Any]) -> Optional[str]:
    """A model version whose registration had to wait (LIFTLOCK_TRACKING_REGISTRY=later)."""
    prov = str(call["p"])
    if replay.state.bound(prov) is not None:
        return None
    body, source = call["body"], str(call["body"].get("source", ""))
    try:
        if source.startswith(SCHEME):
            about, rest = source_parts(source)
            replay.resolve(about, strict=True)
            source = replay.told(about).get("artifact_uri", "").rstrip("/") + rest
        tag = body["tags"][-1]
        body = json.loads(
            replay.resolve(json.dumps({**body, "source": source, "tags": body["tags"][:-1]}), strict=True)
        )
    except Lost as gone:
        return _unborn(replay, prov, "version", str(gone))
    body["tags"].append(tag)
    version = find_version(replay.send, body) if replay.state.sent(prov) else None
    if version is None:
        answer = _create(replay, "model-versions/create", body, prov)
        if isinstance(answer, Refused):
            return _unborn(replay, prov, "version", answer.reason)
        version = answer.body["model_version"]
    replay.state.bind(prov, f"{version['name']}/{version['version']}", "version")
    return None


def find_version(send: Callable[..., Any], body: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The version that carries the tag of this creation, its last one; None if there is none, or no answer."""
    mine = body["tags"][-1]["value"]
    question = {"filter": "name='" + str(body["name"]).replace("'", "''") + "'", "max_results": 50}
    answer = send("GET", API + "model-versions/search", question)
    for version in getattr(answer, "body", {}).get("model_versions", []):
        if any(t.get("key") == SPOOL_TAG and t.get("value") == mine for t in version.get("tags", [])):
            return dict(version)
    return None


def source_parts(source: str) -> tuple[str, str]:
    """Whose artifacts a place of ours in the spool is, and the path inside: ("lt...", "/model")."""
    name = source[len(SCHEME) + 2 :].partition("/")[2]
    prov, slash, rest = name.partition("/")
    return prov, slash + rest


def trace_born(replay: Replay, trace: str, body: dict[str, Any]) -> None:
    """Remember what the server said about a trace whose id its client made."""
    tags = body.get("trace", {}).get("trace_info", {}).get("tags", {})
    where = {
        "artifact_uri": tags.get("mlflow.artifactLocation", ""),
        "spans": tags.get("mlflow.trace.spansLocation"),
    }
    replay.state.bind(f"trace:{trace}", trace, "trace", where)


def reconcile(replay: Replay) -> None:
    """Look once more for second runs of creations that were sent twice; delete them, note the deed.

    Raises Unreachable.
    """
    for prov, experiment, until in replay.state.suspects():
        bound = replay.state.bound(prov)
        found = _find_runs(replay, prov, experiment) if bound and bound[0] else []
        if isinstance(found, list):
            for run in found:
                run_id = str(run["info"]["run_id"])
                if bound and run_id != bound[0] and run["info"].get("lifecycle_stage") == "active":
                    replay.send("POST", API + "runs/delete", {"run_id": run_id})
                    replay.state.add("second runs deleted", 1)
        if time.time() > until:
            replay.state.cleared(prov)
