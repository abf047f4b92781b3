"""Real lock tools on a real index of tiny wheels: exactly the version, and nothing else moves that need not.

`other` is locked at 1.0 while 2.0 is there; MLflow 3.18.0 fits every range while 3.17.2 is asked for. The tools come
from the package index into environments of their own below `.build`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uv
from packaging.version import Version

from liftlock.pins.model import Target
from liftlock.pins.proposal import Proposal, propose
from liftlock.pins.relock import Tools
from liftlock.pins.survey import survey
from liftlock.pins.transaction import Transactions
from liftlock.pins.tree import Tree
from tests.support.pins_tree import write
from tests.support.pins_wheels import Index, index

BUILT = Path(__file__).parents[3] / ".build" / "lock-tools"
# PDM's newest release does not start with the newest of what it needs, so those of one day are taken.
PDM = ("pdm==2.26.6", "--exclude-newer", "2026-02-01")
# As it was before a test took the settings of the user's tools out of it.
ENVIRONMENT = dict(os.environ)
OLD = {"mlflow": "2.9.2", "mlflow-skinny": "2.9.2", "helper": "1.0", "other": "1.0"}
NEW = {"mlflow": "3.17.2", "mlflow-skinny": "3.17.2", "helper": "2.0", "other": "1.0"}


def tool(name: str, *wanted: str) -> Path:
    """The directory of a tool's programs, built once."""
    place = BUILT / re.sub(r"\W", "-", wanted[0])
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            program, python = uv.find_uv_bin(), str(place / "env" / "bin" / "python")
            for words in (
                ["venv", "-q", "--clear", "--no-project", "--python", sys.executable, str(place / "env")],
                ["pip", "install", "-q", "--python", python, *wanted],
            ):
                subprocess.run([program, *words], env=ENVIRONMENT, check=True, timeout=300)
            (place / "ready").touch()
    found = place / "env" / "bin"
    assert (found / name).exists()
    return found


class Project:
    """A repository whose lock a tool made while the index still was old."""

    def __init__(self, place: Path, served: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.index = place / "r", served
        write(self.root, ())
        self._monkeypatch = monkeypatch
        for name in list(os.environ):
            if name.startswith(("UV_", "PIP_", "POETRY_", "PDM_", "PIPENV_", "VIRTUAL_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(place / "home"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "home"))
        for name in ("POETRY_VIRTUALENVS_IN_PROJECT", "PIPENV_VENV_IN_PROJECT", "PIP_CONFIG_FILE"):
            monkeypatch.setenv(name, os.devnull if name.endswith("FILE") else "1")

    def use(self, directory: Path) -> None:
        self._monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text.replace("INDEX", self.index.url))

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def run(self, *words: str, folder: str = ".") -> None:
        done = subprocess.run(words, cwd=self.root / folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    def old(self, *words: str, folder: str = ".") -> None:
        """Run a tool as if it were the day before."""
        self.index.old = True
        self.run(*words, folder=folder)
        self.index.old = False

    def pin(self) -> Proposal:
        tree = Tree.open(self.root)
        tools = Tools(environment=dict(os.environ), index={"PIP_INDEX_URL": self.index.url})
        made = propose(tree, survey(tree), Target(Version("3.17.2")), docs=False, tools=tools)
        Transactions(tree.top, tree.state).commit("pin", made.contents(tree))
        return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with index(tmp_path / "wheels") as served:
        yield Project(tmp_path, served, monkeypatch)


def of_toml(text: str) -> dict[str, str]:
    packages = {each["name"]: each["version"] for each in tomllib.loads(text)["package"]}
    return {name: version for name, version in packages.items() if name != "app"}


def of_pipfile(text: str) -> dict[str, str]:
    data = json.loads(text)
    return {name: each["version"][2:] for group in ("default", "develop") for name, each in data[group].items()}


def of_requirements(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([\d.]+)", text, re.MULTILINE))


_POETRY = (
    '[tool.poetry]\nname = "app"\nversion = "1"\ndescription = ""\nauthors = []\npackage-mode = false\n'
    '[tool.poetry.dependencies]\npython = "^3.11"\n%s\n'
    '[[tool.poetry.source]]\nname = "local"\nurl = "INDEX"\npriority = "primary"\n'
)
_PDM = (
    '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n%s\n'
    '[[tool.pdm.source]]\nname = "pypi"\nurl = "INDEX"\nverify_ssl = false\n'
)
_PIPFILE = '[[source]]\nurl = "INDEX"\nverify_ssl = false\nname = "local"\n%s'
# tool, its distribution, manifest, what stands in it, what it should say afterwards, lock, its reader, the tool's check
CASES = [
    pytest.param(
        "poetry", ("poetry==2.5.1",), "pyproject.toml", _POETRY % 'mlflow = ">=2.9,<3"\nother = "*"',
        'mlflow = ">=3.17.2,<4"', "poetry.lock", of_toml, ("check", "--lock"), id="poetry-range",
    ),
    pytest.param(
        "poetry", ("poetry==1.8.5",), "pyproject.toml",
        _POETRY % 'other = "*"\n[tool.poetry.group.dev.dependencies]\nmlflow = "^2.9"',
        'mlflow = "^3.17.2"', "poetry.lock", of_toml, ("check", "--lock"), id="poetry-1-group",
    ),
    pytest.param(
        "pdm", PDM, "pyproject.toml", _PDM % 'dependencies = ["mlflow>=2.9,<3", "other"]', '"mlflow>=3.17.2,<4"',
        "pdm.lock", of_toml, ("lock", "--check"), id="pdm-range",
    ),
    pytest.param(
        "pdm", PDM, "pyproject.toml",
        _PDM % 'dependencies = ["other"]\n[dependency-groups]\ntrack = ["mlflow==2.9.2"]', '"mlflow==3.17.2"',
        "pdm.lock", of_toml, ("lock", "--check"), id="pdm-group",
    ),
    pytest.param(
        "pipenv", ("pipenv==2026.10.3",), "Pipfile",
        _PIPFILE % '[packages]\nmlflow = ">=2.9,<3"\nother = "*"\n', 'mlflow = ">=3.17.2,<4"', "Pipfile.lock",
        of_pipfile, ("verify",), id="pipenv-range",
    ),
    pytest.param(
        "pipenv", ("pipenv==2026.10.3",), "Pipfile",
        _PIPFILE % '[packages]\nother = "*"\n[dev-packages]\nmlflow = "==2.9.2"\n', 'mlflow = "==3.17.2"',
        "Pipfile.lock", of_pipfile, ("verify",), id="pipenv-dev",
    ),
]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(("name", "wanted", "manifest", "before", "after", "lock", "read", "check"), CASES)
def test_a_tool_that_takes_no_version_locks_exactly_it(
    project: Project, name: str, wanted: tuple[str, ...], manifest: str, before: str, after: str, lock: str,
    read: Callable[[str], dict[str, str]], check: tuple[str, ...],
) -> None:  # fmt: skip
    directory = tool(name, *wanted)
    project.use(directory)
    project.put(f"service/{manifest}", before)
    project.old(name, "lock", folder="service")
    assert read(project.text(f"service/{lock}")) == OLD
    made = project.pin()
    assert made.complete, made.stale
    assert [each.path for each in made.changes] == sorted([f"service/{manifest}", f"service/{lock}"])
    assert after in project.text(f"service/{manifest}")
    assert read(project.text(f"service/{lock}")) == NEW
    project.run(name, *check, folder="service")


def test_pip_compile_moves_mlflow_alone_and_layers_in_their_order(project: Project) -> None:
    """`dev-requirements.in` is bound to the compiled `requirements.txt`, which comes later in the alphabet."""
    project.use(tool("pip-compile", "pip-tools==7.6.2"))
    project.put("requirements.in", "mlflow>=2.9,<3\nother\n")
    project.put("dev-requirements.in", "-c requirements.txt\nmlflow\n")
    command = ("pip-compile", "--quiet", "--strip-extras", "--no-emit-index-url", "--index-url", project.index.url)
    project.old(*command, "--generate-hashes", "requirements.in")
    project.old(*command, "dev-requirements.in")
    assert of_requirements(project.text("requirements.txt")) == OLD
    header = project.text("requirements.txt").splitlines()[:6]
    made = project.pin()
    assert made.complete, made.stale
    assert of_requirements(project.text("requirements.txt")) == NEW
    assert of_requirements(project.text("dev-requirements.txt")) == {k: v for k, v in NEW.items() if k != "other"}
    assert project.text("requirements.txt").splitlines()[:6] == header
    assert "mlflow>=3.17.2,<4" in project.text("requirements.in")


def test_uv_export_follows_its_lock(project: Project) -> None:
    project.put(
        "pyproject.toml",
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["mlflow>=2.9,<3", "other"]\n[[tool.uv.index]]\nurl = "INDEX"\ndefault = true\n',
    )
    program = uv.find_uv_bin()
    project.old(program, "lock", "-q")
    words = ("export", "-q", "--no-hashes", "--no-emit-project", "--format", "requirements-txt", "-o")
    project.old(program, *words, "deploy.requirements.txt")
    header = project.text("deploy.requirements.txt").splitlines()[:2]
    made = project.pin()
    assert made.complete, made.stale
    assert of_toml(project.text("uv.lock")) == of_requirements(project.text("deploy.requirements.txt")) == NEW
    assert project.text("deploy.requirements.txt").splitlines()[:2] == header


def test_what_no_tool_can_be_told_is_stale(project: Project) -> None:
    header = "# This file is @generated by PDM.\n# Please do not edit it manually.\n\n"
    project.put("requirements.txt", f"{header}mlflow==2.9.2\n")
    project.put("pixi.lock", "packages:\n- name: mlflow\n  version: 2.9.2\n")
    project.put("conda-lock.yml", "package:\n- name: mlflow\n  version: 2.9.2\n")
    assert {each.path: each.reason for each in project.pin().stale} == {
        "requirements.txt": "the command that made it is not in its header",
        "pixi.lock": "liftlock knows no command that rewrites pixi.lock",
        "conda-lock.yml": "liftlock knows no command that rewrites conda-lock.yml",
    }
