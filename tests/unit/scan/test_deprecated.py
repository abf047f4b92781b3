"""Deprecations executed: what the scan calls deprecated in a release is called, and the release really warns."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from liftlock.knowledge import breaks
from liftlock.knowledge.breaks import Effect
from liftlock.knowledge.catalogue import load
from liftlock.knowledge.catalogue_api import documented
from liftlock.model.release import Release
from liftlock.releases.children import clean_environment
from liftlock.scan.judge import Judge
from liftlock.scan.model import Verdict
from tests.support.releases import OLD, environment, newest
from tests.support.scan_rows import RESOLVE

# A wrapper that warns does so before it calls, so no arguments are needed. What has no wrapper warns in its log.
_RUNNER = (
    f"""
import contextlib, importlib, inspect, json, logging, os, sys, warnings
import mlflow

said = []
class Kept(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("mlflow").addHandler(Kept())

{RESOLVE}"""
    + """
outcomes = []
for path, given in json.load(sys.stdin):
    said.clear()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        try:
            found = resolve(path)
        except (ImportError, mlflow.MlflowException) as error:
            outcomes.append("needs " + str(getattr(error, "name", "") or "more"))
            continue
        if inspect.isabstract(found):
            found = type("Own", (found,), dict.fromkeys(found.__abstractmethods__, lambda *given: None))
        # In the first releases of 3.x mlflow.evaluate warns nobody but those who run it there.
        os.environ["MLFLOW_TRACKING_URI"] = "databricks" if path == "mlflow.evaluate" else "sqlite://"
        if given.pop("self", None) is not None:
            given["self"] = client = mlflow.MlflowClient("sqlite:///x.db", "sqlite:///x.db")
            client.create_registered_model("m")
            client.create_model_version("m", "s3://bucket/m")
        try:
            found(**given)
        except ModuleNotFoundError as error:
            outcomes.append(f"needs {error.name}")
            continue
        except BaseException:
            pass
    words = [str(each.message) for each in caught] + said
    outcomes.append("warns" if any("deprecated" in each.lower() for each in words) else "silent")
print(json.dumps(outcomes))
"""
)
_SHIM = re.compile(r"deprecated_parameter\('(\w+)'|(request_id)_backward_compatible")
# What warns inside rather than in a wrapper is called with what it takes to get there.
_GIVEN: dict[str, dict[str, object]] = {
    "mlflow.models.Model.log": {"flavor": None},
    "mlflow.MlflowClient.set_model_version_tag": {"name": "m", "key": "k", "value": "v", "stage": "None", "self": 0},
    "mlflow.pytorch.save_model": {"pytorch_model": None, "path": "p"},
    "mlflow.models.set_retriever_schema": {"primary_key": "a", "text_column": "b"},
}


def _deprecations(version: str) -> list[tuple[str, dict[str, object]]]:
    """What the scan calls deprecated in a release: names, and names with one keyword."""
    release = Release(version=version)
    judge = Judge(load(), release, release)
    surface = judge.history.surface(judge.history.new)
    paths = [key for key in load().coded("api").events if documented(key, surface.table)]
    paths += [f"mlflow.MlflowClient.{name}" for name in surface.members("mlflow.MlflowClient")]
    found: list[tuple[str, dict[str, object]]] = []
    for path in sorted(paths):
        judgement = judge.name(path)
        if judgement is not None and judgement.verdict is Verdict.DEPRECATED:
            found.append((path, {}))
        definition = surface.definition(path)
        for mark in definition.marks if definition is not None else ():
            for words in _SHIM.findall(mark):
                found.append((path, {next(filter(None, words)): "x"}))
    known = {(path, name) for path, given in found for name in given or ("",)}
    for row in breaks.load():
        if row.effect is Effect.DEPRECATED and row.release <= release:
            path = "mlflow.models.Model.log" if row.path == "mlflow.sklearn.log_model" else row.path  # what warns
            for name in row.parameters or ("",):
                if (path, name) not in known:
                    found.append((path, {name: "Production"} if name else {}))
    return [(path, given | _GIVEN.get(path, {})) for path, given in found]


def _check(version: str, least: int, directory: Path) -> None:
    asked = _deprecations(version)
    done = subprocess.run(
        [str(environment(version).python), "-c", _RUNNER], input=json.dumps(asked), capture_output=True, text=True,
        timeout=300, env=clean_environment({"GIT_PYTHON_REFRESH": "quiet"}), check=False, cwd=directory,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    silent = [each for each, outcome in zip(asked, outcomes, strict=True) if outcome == "silent"]
    needs = [(each, outcome) for each, outcome in zip(asked, outcomes, strict=True) if outcome.startswith("needs")]
    print(f"{version}: {outcomes.count('warns')} of {len(asked)} warn; not importable: {needs}")
    assert silent == [], silent
    assert outcomes.count("warns") >= least


@pytest.mark.soak
@pytest.mark.release
def test_the_newest_release_warns(tmp_path: Path) -> None:
    _check(newest(), 55, tmp_path)


@pytest.mark.soak
@pytest.mark.release
@pytest.mark.parametrize(("version", "least"), [(OLD, 5), ("2.22.5", 5), ("3.4.0", 20)])
def test_releases_in_between_warn(version: str, least: int, tmp_path: Path) -> None:
    _check(version, least, tmp_path)
