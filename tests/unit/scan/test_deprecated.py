"""Deprecations executed: what the scan calls deprecated in a release is called, and the release really warns."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.knowledge.catalogue_api import documented
from liftlock.model.release import Release
from liftlock.releases.children import clean_environment
from liftlock.scan import facts
from liftlock.scan.judge import Judge
from liftlock.scan.model import Verdict
from tests.support.releases import OLD, environment, newest

# A wrapper that warns does so before it calls, so no arguments are needed. What has no wrapper warns in its log.
_RUNNER = """
import contextlib, importlib, inspect, json, logging, os, sys, warnings
import mlflow

said = []
class Kept(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("mlflow").addHandler(Kept())

def resolve(path):
    parts = path.split(".")
    for number in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:number]))
            break
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("mlflow"):
                raise
    for name in parts[number:]:
        found = getattr(found, name)
    return found

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
        try:
            found(**given)
        except BaseException:
            pass
    words = [str(each.message) for each in caught] + said
    outcomes.append("warns" if any("deprecated" in each.lower() for each in words) else "silent")
print(json.dumps(outcomes))
"""
_SHIM = re.compile(r"deprecated_parameter\('(\w+)'|(request_id)_backward_compatible")
# Deprecated by what it does inside rather than by a wrapper: called here with what it takes to get there.
_CALLS: list[tuple[str, dict[str, object]]] = [("mlflow.models.Model.log", {"artifact_path": "m", "flavor": None})]


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
    note = facts.of_parameter("mlflow.models.Model.log", "artifact_path")
    assert note is not None
    return found + (_CALLS if Release(version=note.deprecated) <= release else [])


def _check(version: str, least: int) -> None:
    asked = _deprecations(version)
    done = subprocess.run(
        [str(environment(version).python), "-c", _RUNNER], input=json.dumps(asked), capture_output=True, text=True,
        timeout=300, env=clean_environment({"GIT_PYTHON_REFRESH": "quiet"}), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    silent = [each for each, outcome in zip(asked, outcomes, strict=True) if outcome == "silent"]
    needs = [(each, outcome) for each, outcome in zip(asked, outcomes, strict=True) if outcome.startswith("needs")]
    print(f"{version}: {outcomes.count('warns')} of {len(asked)} warn; not importable: {needs}")
    assert silent == []
    assert outcomes.count("warns") >= least


@pytest.mark.release
def test_the_newest_release_warns() -> None:
    _check(newest(), 45)


@pytest.mark.soak
@pytest.mark.release
@pytest.mark.parametrize(("version", "least"), [(OLD, 5), ("2.22.5", 5), ("3.4.0", 20)])
def test_releases_in_between_warn(version: str, least: int) -> None:
    _check(version, least)
