"""What a server's own REST API says about a sample of its content, taken before and after, and compared.

Fingerprints prove the database; this proves that the new release *serves* the same experiments, runs, models
and artifact bytes to an ordinary caller.
"""

from __future__ import annotations

import hashlib
from typing import Any

from liftlock.errors import ServerError
from liftlock.model.codec import Value, to_json
from liftlock.model.finding import Finding, Outcome
from liftlock.verify.http import Client

_EXPERIMENTS = 200
_RUNS = 50
_MODELS = 100
_FILES = 5
_LARGEST = 8 << 20
_AT = " updated "
_GOING_ON = frozenset({"RUNNING", "SCHEDULED"})


class RestSample(Value, frozen=True):
    """Each item: a name and a digest (or value) of what the API says. Sizes are bounded, so big servers are sampled."""

    experiments: dict[str, str]
    runs: dict[str, str]
    models: dict[str, str]
    artifacts: dict[str, str]


def take_sample(client: Client) -> RestSample:
    """Ask a running server. Raises ServerError when an endpoint does not answer as it should."""
    found = client.json(
        "POST", "/api/2.0/mlflow/experiments/search", {"max_results": _EXPERIMENTS, "order_by": ["experiment_id ASC"]}
    ).get("experiments", [])
    experiments = {str(each["experiment_id"]): f"{each['name']} ({each['lifecycle_stage']})" for each in found}
    listed: list[dict[str, Any]] = []
    if experiments:
        listed = client.json(
            "POST",
            "/api/2.0/mlflow/runs/search",
            {"experiment_ids": list(experiments), "max_results": _RUNS, "order_by": ["attributes.start_time ASC"]},
        ).get("runs", [])
    # Clients go on with their running runs as soon as they can: what is compared is what has come to its end.
    listed = [run for run in listed if run["info"].get("status") not in _GOING_ON]
    models = client.json("GET", "/api/2.0/mlflow/registered-models/search", {"max_results": _MODELS})
    return RestSample(
        experiments=experiments,
        runs={run["info"]["run_id"]: _run_digest(run) for run in listed},
        models={model["name"]: _model_text(model) for model in models.get("registered_models", [])},
        artifacts=_artifacts(client, [run["info"]["run_id"] for run in listed]),
    )


def compare_samples(before: RestSample, after: RestSample) -> tuple[Finding, ...]:
    """One finding per kind: everything seen before must be seen after, and alike. What is new does not matter. Pure."""
    kinds = (
        ("LLV022", "experiments over REST", before.experiments, after.experiments),
        ("LLV023", "runs over REST", before.runs, after.runs),
        ("LLV024", "registered models over REST", before.models, after.models),
        ("LLV025", "artifacts over REST", before.artifacts, after.artifacts),
    )
    findings = []
    for code, title, old, new in kinds:
        lost = [name for name in old if name not in new]
        changed = [name for name in old if name in new and old[name] != new[name] and not _edited(old[name], new[name])]
        if lost or changed:
            message = f"{len(lost)} missing, {len(changed)} different, such as {(lost + changed)[0]}"
            findings.append(Finding(code=code, title=title, outcome=Outcome.FAIL, message=message))
        elif not old:
            message = "there were none to compare"
            findings.append(Finding(code=code, title=title, outcome=Outcome.SKIPPED, message=message))
        else:
            findings.append(Finding(code=code, title=title, outcome=Outcome.PASS, message=f"{len(old)} alike"))
    return tuple(findings)


def _run_digest(run: dict[str, Any]) -> str:
    data = run.get("data", {})
    content = {
        "status": run["info"].get("status"),
        "stage": run["info"].get("lifecycle_stage"),
        "params": sorted((each["key"], each["value"]) for each in data.get("params", [])),
        "metrics": sorted(
            (each["key"], str(each["value"]), str(each.get("step", 0))) for each in data.get("metrics", [])
        ),
        "tags": sorted((each["key"], each["value"]) for each in data.get("tags", [])),
    }
    return hashlib.sha256(to_json(content).encode()).hexdigest()


def _model_text(model: dict[str, Any]) -> str:
    versions = sorted(str(each["version"]) for each in model.get("latest_versions", []))
    aliases = sorted(f"{each['alias']}={each['version']}" for each in model.get("aliases", []))
    return f"latest {','.join(versions)} aliases {','.join(aliases)}{_AT}{model.get('last_updated_timestamp')}"


def _edited(old: str, new: str) -> bool:
    """Whether somebody worked on a model in between: MLflow stamps it with every new version and alias."""
    return _AT in old and _AT in new and old.rpartition(_AT)[2] != new.rpartition(_AT)[2]


def _artifacts(client: Client, runs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for run in runs:
        if len(found) >= _FILES:
            break
        for file in _list(client, run, ""):
            if len(found) >= _FILES:
                break
            status, body = client.get("/get-artifact", {"run_id": run, "path": file})
            if status != 200:
                raise ServerError(f"artifact {file} of run {run} answered {status}")
            found[f"{run}/{file}"] = hashlib.sha256(body).hexdigest()
    return found


def _list(client: Client, run: str, path: str, depth: int = 0) -> list[str]:
    body = {"run_id": run, **({"path": path} if path else {})}
    files = []
    for each in client.json("GET", "/api/2.0/mlflow/artifacts/list", body).get("files", []):
        if each.get("is_dir"):
            files += _list(client, run, each["path"], depth + 1) if depth < 2 else []
        elif int(each.get("file_size") or 0) <= _LARGEST:
            files.append(each["path"])
    return files
