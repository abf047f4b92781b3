"""The computed changelog against breaks that were checked by hand, most of them by running the release."""

from __future__ import annotations

import functools

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.knowledge.catalogue_api import Surface, documented
from liftlock.knowledge.catalogue_diff import Change, Diff, What, diff
from liftlock.model.release import Release


@functools.cache
def between(old: str, new: str) -> Diff:
    return diff(load(), Release.parse(old), Release.parse(new))


def change(old: str, new: str, key: str, section: str = "api") -> Change:
    return next(each for each in between(old, new).of(section) if each.key == key)


@functools.cache
def surface(version: str) -> Surface:
    return Surface(load().section("api", Release.parse(version)))


@pytest.mark.parametrize(
    ("path", "last", "first"),
    [
        ("mlflow.list_experiments", "1.30.1", "2.0.1"), ("mlflow.list_run_infos", "1.30.1", "2.0.1"),
        ("mlflow.tracking.MlflowClient.list_experiments", "1.30.1", "2.0.1"), ("mlflow.azureml", "1.30.1", "2.0.1"),
        ("mlflow.sagemaker.deploy", "1.30.1", "2.0.1"), ("mlflow.pipelines", "1.30.1", "2.0.1"),
        ("mlflow.sklearn.eval_and_log_metrics", "1.30.1", "2.0.1"), ("mlflow.llm.log_predictions", "2.9.2", "2.10.0"),
        ("mlflow.keras_core", "2.10.2", "2.11.0"), ("mlflow.types.ColSpec.optional", "2.17.2", "2.18.0"),
        ("mlflow.models.EvaluationResult.baseline_model_metrics", "2.17.2", "2.18.0"),
        ("mlflow.types.DataType.is_binary", "2.18.0", "2.19.0"), ("mlflow.gluon", "2.19.0", "2.20.0"),
        ("mlflow.fastai", "2.22.5", "3.0.0"), ("mlflow.mleap", "2.22.5", "3.0.0"),
        ("mlflow.recipes", "2.22.5", "3.0.0"),
        ("mlflow.gateway.create_route", "2.22.5", "3.0.0"), ("mlflow.entities.RunInfo.run_uuid", "2.22.5", "3.0.0"),
        ("mlflow.models.MetricThreshold.higher_is_better", "2.22.5", "3.0.0"),
        ("mlflow.get_last_active_trace", "2.22.5", "3.0.0"), ("mlflow.update_feedback", "2.22.5", "3.0.0"),
        ("mlflow.openai.get_default_pip_requirements", "2.22.5", "3.0.0"),
        ("mlflow.types.responses.Annotation", "2.22.5", "3.0.0"), ("mlflow.delete_prompt", "3.0.1", "3.1.0"),
        ("mlflow.MlflowClient.log_assessment", "3.1.4", "3.2.0"), ("mlflow.diviner", "3.6.0", "3.7.0"),
        ("mlflow.promptflow", "3.6.0", "3.7.0"), ("mlflow.llm", "2.9.2", "2.10.0"),
    ],
)  # fmt: skip
def test_removed(path: str, last: str, first: str) -> None:
    assert surface(last).definition(path) is not None
    assert surface(first).definition(path) is None
    removed = [each.key for each in between(last, first).of("api") if each.what is What.REMOVED and each.breaks]
    assert any(path == key or path.startswith(f"{key}.") for key in removed) or path.startswith("mlflow.tracking.")


@pytest.mark.parametrize(
    "path",
    ["mlflow.evaluate", "mlflow.log_metric", "mlflow.MlflowClient.transition_model_version_stage",
     "mlflow.MlflowClient.get_latest_versions", "mlflow.models.evaluate", "mlflow.pyfunc.PythonModel",
     "mlflow.sklearn.log_model", "mlflow.keras.log_model", "mlflow.entities.Run", "mlflow.gateway.set_gateway_uri"],
)  # fmt: skip
def test_still_there_in_the_newest(path: str) -> None:
    assert surface(str(load().newest)).definition(path) is not None


@pytest.mark.parametrize(
    ("old", "new", "path", "says"),
    [
        ("1.30.1", "2.0.1", "mlflow.run", "use_conda= removed"), ("1.30.1", "2.0.1", "mlflow.run", "skip_image_build="),
        ("1.30.1", "2.0.1", "mlflow.keras.log_model", "keras_module="),
        ("2.22.5", "3.0.0", "mlflow.evaluate", "custom_metrics= removed"),
        ("2.22.5", "3.0.0", "mlflow.evaluate", "baseline_model= removed"),
        ("2.22.5", "3.0.0", "mlflow.pyfunc.log_model", "code_path= removed"),
        ("2.22.5", "3.0.0", "mlflow.pyfunc.save_model", "code_path= now falls into **kwargs"),
        ("2.22.5", "3.0.0", "mlflow.tensorflow.autolog", "every_n_iter= removed"),
        ("2.22.5", "3.0.0", "mlflow.MlflowClient.delete_traces", "request_ids= removed"),
        ("3.12.0", "3.13.0", "mlflow.models.build_docker", "enable_mlserver= removed"),
    ],
)  # fmt: skip
def test_parameters(old: str, new: str, path: str, says: str) -> None:
    found = change(old, new, path)
    assert says in found.detail and found.breaks


def test_a_shim_keeps_a_renamed_parameter_from_being_a_break() -> None:
    found = change("2.22.5", "3.0.0", "mlflow.MlflowClient.get_trace")
    assert "request_id= kept by a shim" in found.detail
    assert not found.breaks and not found.certain


def test_a_patch_release_changes_no_documented_name() -> None:
    assert between("2.22.0", "2.22.5").of("api") == ()


def test_same_release_same_facts() -> None:
    assert between("3.4.0", "3.4.0").changes == ()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [("1.30.1", "2.0.1", "experiments list"), ("1.30.1", "2.0.1", "run --no-conda"),
     ("1.30.1", "2.0.1", "pipelines run"), ("2.22.5", "3.0.0", "deployments start-server"),
     ("3.12.0", "3.13.0", "models serve --enable-mlserver")],
)  # fmt: skip
def test_commands_that_went(old: str, new: str, key: str) -> None:
    assert change(old, new, key, "cli").what is What.REMOVED


def test_ui_was_not_removed_in_2_0_although_its_function_was() -> None:
    assert not [each for each in between("1.30.1", "2.0.1").of("cli") if each.key == "ui" and each.breaks]
    assert not [
        each for each in between("1.30.1", "2.0.1").of("cli")
        if each.key.endswith("--env-manager") and each.what is What.REMOVED
    ]  # fmt: skip


def test_the_rest_paths_that_went_in_2_0() -> None:
    removed = {each.key for each in between("1.30.1", "2.0.1").of("rest") if each.what is What.REMOVED}
    assert {"GET /api/2.0/mlflow/experiments/list", "GET /api/2.0/mlflow/registered-models/list"} <= removed
    others = {key for key in removed if "/preview/" not in key}
    assert others == {
        f"GET /{api}/2.0/mlflow/{what}/list"
        for api in ("api", "ajax-api")
        for what in ("experiments", "registered-models")
    }


@pytest.mark.parametrize(
    ("key", "first"),
    [("server --uvicorn-opts", "3.3.0"), ("server --allowed-hosts", "3.5.0"),
     ("server --read-replica-backend-store-uri", "3.13.0"), ("db prepopulate-trace-analytics", "3.17.0"),
     ("db move-resources", "3.12.0"), ("migrate-filestore", "3.10.0"), ("crypto rotate-kek", "3.8.0"),
     ("experiments search --max-results", "3.8.0"), ("server --artifacts-presigned-only", "3.18.0")],
)  # fmt: skip
def test_commands_first_seen(key: str, first: str) -> None:
    number, fact = load().coded("cli").history(key)[0]
    assert fact is not None and load().releases[number] == Release.parse(first)


def test_only_the_api_reference_is_documented() -> None:
    table = load().section("api", Release.parse("3.17.2"))
    assert documented("mlflow.log_metric", table)
    assert documented("mlflow.sklearn.log_model", table)
    assert not documented("mlflow.sklearn.utils", table)
    assert not documented("mlflow.tracing.export.inference_table", table)
    assert not documented("mlflow._doctor", table)
    everything = diff(load(), Release.parse("3.0.0"), Release.parse("3.17.2"), everything=True)
    assert len(everything.of("api")) > 2 * len(between("3.0.0", "3.17.2").of("api"))
