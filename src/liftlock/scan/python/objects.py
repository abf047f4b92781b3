"""What MLflow's functions return and its objects hold, as far as types matter to find a use.

The catalogue has no annotations, so this is by hand from the API reference; a class is written by the path under which
every release since 1.0 (or since it came) has it.
"""

from __future__ import annotations

import re

CLIENT = "mlflow.tracking.MlflowClient"
RUN = "mlflow.entities.Run"
INFO = "mlflow.entities.RunInfo"
_EVALUATION = "mlflow.models.EvaluationResult"
_MODEL_VERSION = "mlflow.entities.model_registry.ModelVersion"
_REGISTERED = "mlflow.entities.model_registry.RegisteredModel"
_EXPERIMENT = "mlflow.entities.Experiment"
_DEPLOY = "mlflow.deployments.BaseDeploymentClient"
_GATEWAY = "mlflow.gateway.MlflowGatewayClient"

# A leading `*` says: a sequence of these.
RETURNS = {
    "mlflow.start_run": RUN, "mlflow.active_run": RUN, "mlflow.last_active_run": RUN, "mlflow.get_run": RUN,
    "mlflow.get_parent_run": RUN, "mlflow.search_runs": "", "mlflow.get_experiment": _EXPERIMENT,
    "mlflow.get_experiment_by_name": _EXPERIMENT, "mlflow.set_experiment": _EXPERIMENT,
    "mlflow.list_experiments": f"*{_EXPERIMENT}", "mlflow.search_experiments": f"*{_EXPERIMENT}",
    "mlflow.list_run_infos": f"*{INFO}", "mlflow.register_model": _MODEL_VERSION, "mlflow.evaluate": _EVALUATION,
    "mlflow.models.evaluate": _EVALUATION, "mlflow.search_registered_models": f"*{_REGISTERED}",
    "mlflow.search_model_versions": f"*{_MODEL_VERSION}", "mlflow.run": "mlflow.projects.SubmittedRun",
    "mlflow.projects.run": "mlflow.projects.SubmittedRun", "mlflow.deployments.get_deploy_client": _DEPLOY,
    "mlflow.models.infer_signature": "mlflow.models.ModelSignature", "mlflow.load_prompt": "mlflow.entities.Prompt",
    f"{CLIENT}.get_run": RUN, f"{CLIENT}.create_run": RUN, f"{CLIENT}.search_runs": f"*{RUN}",
    f"{CLIENT}.get_parent_run": RUN, f"{CLIENT}.update_run": "",
    f"{CLIENT}.list_run_infos": f"*{INFO}", f"{CLIENT}.list_experiments": f"*{_EXPERIMENT}",
    f"{CLIENT}.search_experiments": f"*{_EXPERIMENT}", f"{CLIENT}.get_experiment": _EXPERIMENT,
    f"{CLIENT}.get_experiment_by_name": _EXPERIMENT, f"{CLIENT}.get_model_version": _MODEL_VERSION,
    f"{CLIENT}.create_model_version": _MODEL_VERSION, f"{CLIENT}.get_model_version_by_alias": _MODEL_VERSION,
    f"{CLIENT}.transition_model_version_stage": _MODEL_VERSION,
    f"{CLIENT}.get_latest_versions": f"*{_MODEL_VERSION}", f"{CLIENT}.search_model_versions": f"*{_MODEL_VERSION}",
    f"{CLIENT}.get_registered_model": _REGISTERED, f"{CLIENT}.create_registered_model": _REGISTERED,
    f"{CLIENT}.list_registered_models": f"*{_REGISTERED}", f"{CLIENT}.search_registered_models": f"*{_REGISTERED}",
    "mlflow.models.ModelSignature.from_dict": "mlflow.models.ModelSignature",
}  # fmt: skip

HOLDS = {
    f"{RUN}.info": INFO, f"{RUN}.data": "mlflow.entities.RunData",
    f"{_REGISTERED}.latest_versions": f"*{_MODEL_VERSION}",
    "mlflow.models.ModelSignature.inputs": "mlflow.types.Schema",
    "mlflow.models.ModelSignature.outputs": "mlflow.types.Schema",
}  # fmt: skip

# Objects that are no plain classes of MLflow but say which class they are when entered.
ENTERED = frozenset({RUN})

_MOVES = (
    (re.compile(r"mlflow(?:\.tracking\.client|\.client|\.tracking)?\.MlflowClient\b"), CLIENT),
    (re.compile(r"mlflow(?:\.tracking\.fluent|\.tracking)\.(?=[a-z_]+$)"), "mlflow."),
    (re.compile(r"mlflow(?:\.tracking\.fluent)?\.ActiveRun\b"), RUN),
    (re.compile(r"mlflow\.entities\.(?!model_registry)[a-z_]+\.(?=[A-Z])"), "mlflow.entities."),
    (re.compile(r"mlflow\.entities\.model_registry\.[a-z_]+\.(?=[A-Z])"), "mlflow.entities.model_registry."),
    (re.compile(r"mlflow\.models\.evaluation(?:\.base|\.validation)?\.(?=[A-Ze])"), "mlflow.models."),
    (re.compile(r"mlflow\.types\.schema\.(?=[A-Z])"), "mlflow.types."),
)


def plain(path: str) -> str:
    """The path under which this module knows what a typed path means."""
    for pattern, text in _MOVES:
        moved = pattern.sub(text, path)
        if moved != path:
            return moved
    return path


def returned(path: str) -> str:
    """The class (`*` for a sequence) a function returns; empty where it is not known."""
    return RETURNS.get(plain(path), "")


def held(owner: str, attribute: str) -> str:
    """The class an attribute of an object holds."""
    return HOLDS.get(f"{owner}.{attribute}", "")
