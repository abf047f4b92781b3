"""Rules executed: what the scan says of every curated row is what real releases do.

All rows of one release run in one process of its environment. A call is bound to the real signature instead of run
where running it would need a model or a server. Releases beyond the oldest and the newest are for `make soak`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from liftlock.knowledge import breaks
from liftlock.knowledge.breaks import Break, Effect, Kind
from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.releases.children import clean_environment
from liftlock.scan.model import Verdict
from tests.support.releases import OLD, environment, environments, newest
from tests.support.scan import findings
from tests.support.scan_rows import RESOLVE, written

_RUNNER = (
    f"""
import contextlib, importlib, inspect, json, sys, warnings
import mlflow
{RESOLVE}"""
    + """

def bind(path, name):
    function = resolve(path)
    above = "" if inspect.isclass(function) else inspect.getsource(function).split("def ")[0]
    if f'deprecated_parameter("{name}"' in above or ("request_id_backward" in above and name == "request_id"):
        return
    function = inspect.unwrap(function.__init__ if inspect.isclass(function) else function)
    signature = inspect.signature(function)
    bound = signature.bind_partial(**{name: 1})
    for each in signature.parameters.values():
        if each.kind is each.VAR_KEYWORD and bound.arguments.get(each.name):
            raise TypeError("swallowed")

def command(words):
    import click
    from mlflow.cli import cli
    found, context = cli, click.Context(cli)
    for word in words.split():
        if word.startswith("-"):
            assert any(word in [*each.opts, *each.secondary_opts] for each in found.params), word
        else:
            found = found.get_command(context, word)
            assert found is not None, word

def endpoint(line):
    from mlflow.server.handlers import get_endpoints
    method, path = line.split(" ")
    if "/permissions/" in path:  # of the basic-auth application
        assert path in vars(importlib.import_module("mlflow.server.auth.routes")).values(), path
        return
    assert any(each[0].replace("<", "{") == path and method in each[2] for each in get_endpoints()), line

def one(kind, path, name):
    if kind in ("cli", "option"):
        command(path)
    elif kind == "rest":
        endpoint(path)
    elif kind == "environment":
        assert hasattr(importlib.import_module("mlflow.environment_variables"), path), path
    elif kind == "module":
        importlib.import_module(path)
    elif name:
        bind(path, name)
    else:
        resolve(path)

outcomes = []
for kind, path, name in json.load(sys.stdin):
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        try:
            one(kind, path, name)
            outcome = "works"
        except ModuleNotFoundError as error:
            outcome = "fails" if (error.name or "").startswith("mlflow") else "needs " + str(error.name)
        except Exception as error:
            missing = "pip install" in str(error) or isinstance(error, ImportError)
            outcome = "needs more" if missing and not isinstance(error, (AttributeError, TypeError)) else "fails"
    outcomes.append(outcome)
print(json.dumps(outcomes))
"""
)
_ROWS = [
    (row, name) for row in breaks.load() if row.effect is not Effect.DEPRECATED for name in row.parameters or ("",)
]
_WRONG = (Verdict.BREAKS, Verdict.BROKEN, Verdict.BEHAVIOUR)
# What a plain environment cannot import: the flavor's own package is not there.
_FLAVORS = ("keras", "keras_core", "tensorflow", "spark", "johnsnowlabs", "pytorch", "transformers", "langchain",
            "sentence_transformers", "llama_index", "openai", "dspy", "gateway", "promptflow", "sagemaker", "azureml",
            "pipelines", "recipes", "gluon", "fastai", "mleap", "diviner", "llm", "promptlab")  # fmt: skip
MIDDLE = ["1.30.1", "2.22.5", "3.4.0"]


def _python(version: str) -> Path:
    if version.startswith("1."):  # too old for the proof that its server starts; nothing here needs one
        return environments().build(Release.parse(version), start=False).python
    return environment(version).python


def _outcomes(version: str) -> list[str]:
    asked = json.dumps([(row.kind.value, row.path, name) for row, name in _ROWS])
    done = subprocess.run(
        [str(_python(version)), "-c", _RUNNER], input=asked, capture_output=True, text=True, timeout=300,
        env=clean_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes: list[str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def _says(row: Break, name: str, version: str) -> str:
    """What the scan says of a row on the way to a release: from its last release with it, or from the same."""
    releases = load().releases
    before = releases[load().number(row.release) - 1]
    source = min(before, Release(version=version))
    file, text = written(row, name)
    found = findings(text, file, source.version, version)
    return "fails" if any(each.verdict in _WRONG for each in found) else "works"


def _check(version: str) -> None:
    release = Release(version=version)
    wrong, unavailable, seen = [], set(), 0
    for (row, name), outcome in zip(_ROWS, _outcomes(version), strict=True):
        if outcome.startswith("needs"):
            unavailable.add(row.path.split(".")[1])
            continue
        if outcome == "fails" and release < row.release:
            # Not there yet in a release as old as this one; the scan says so only of what is older.
            number = load().number(release)
            section = {Kind.CLI: "cli", Kind.OPTION: "cli", Kind.REST: "rest", Kind.ENVIRONMENT: "environment"}
            known = load().coded(section.get(row.kind, "api")).events
            if row.path not in known or known[row.path][0] > number or name:
                continue
        seen += 1
        if _says(row, name, version) != outcome:
            wrong.append((row.path, name, outcome))
    print(f"{version}: {seen} of {len(_ROWS)} rows agree; not importable here: {sorted(unavailable)}")
    assert wrong == []
    assert unavailable <= set(_FLAVORS)
    assert seen > 70


@pytest.mark.release
def test_rows_in_the_oldest_release() -> None:
    _check(OLD)


@pytest.mark.release
def test_rows_in_the_newest_release() -> None:
    _check(newest())


@pytest.mark.soak
@pytest.mark.release
@pytest.mark.parametrize("version", MIDDLE)
def test_rows_in_between(version: str) -> None:
    _check(version)
