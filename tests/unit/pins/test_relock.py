"""Lock files and compiled requirements rewritten by the real uv, offline from a directory of tiny wheels."""

from __future__ import annotations

import os
import subprocess
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
import uv
from packaging.version import Version

from liftlock.errors import Refused
from liftlock.pins.model import Target
from liftlock.pins.proposal import Proposal, propose
from liftlock.pins.relock import Tools
from liftlock.pins.survey import survey
from liftlock.pins.transaction import Transactions
from liftlock.pins.tree import Tree
from tests.support.pins_tree import contents, write
from tests.support.pins_wheels import make

PROJECT = (
    '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["mlflow>=2.9,<3"]\n'
    "[tool.uv]\nno-index = true\nfind-links = [%r]\n"
)


class Repository:
    def __init__(self, place: Path) -> None:
        self.root = place / "r"
        self.wheels = make(place / "wheels")
        write(self.root, ())
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "VIRTUAL_"))},
            "UV_FIND_LINKS": str(self.wheels), "UV_OFFLINE": "1", "UV_CACHE_DIR": str(place / "cache"),
        }  # fmt: skip

    def uv(self, *words: str) -> None:
        run = subprocess.run(
            [uv.find_uv_bin(), *words], cwd=self.root, env=self.environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(exist_ok=True, parents=True)
        (self.root / path).write_text(text)

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def pin(self, *, tools: bool = True) -> Proposal:
        tree = Tree.open(self.root)
        target = Target(Version("3.17.2"))
        given = Tools(environment=self.environment, index={}) if tools else None
        proposal = propose(tree, survey(tree), target, docs=False, tools=given)
        Transactions(tree.top, tree.state).commit("pin", proposal.contents(tree))
        return proposal


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_uv_lock_names_exactly_the_version_though_a_newer_one_fits(repository: Repository) -> None:
    repository.put("pyproject.toml", PROJECT % str(repository.wheels))
    repository.uv("lock")
    proposal = repository.pin()
    locked = {each["name"]: each["version"] for each in tomllib.loads(repository.text("uv.lock"))["package"]}
    assert locked == {"app": "1", "mlflow": "3.17.2", "mlflow-skinny": "3.17.2", "helper": "2.0"}
    assert '"mlflow>=3.17.2,<4"' in repository.text("pyproject.toml")
    assert proposal.complete and [each.path for each in proposal.changes] == ["pyproject.toml", "uv.lock"]
    repository.uv("lock", "--check")


@pytest.mark.parametrize("folder", [".", "requirements", "service/deploy"])
def test_compiled_requirements_get_the_hashes_of_the_new_version(repository: Repository, folder: str) -> None:
    repository.put(f"{folder}/requirements.in", "mlflow==2.9.2\n")
    path = os.path.normpath(f"{folder}/requirements.txt")
    source = os.path.normpath(f"{folder}/requirements.in")
    repository.uv("pip", "compile", source, "-o", path, "--generate-hashes")
    before = repository.text(path)
    proposal = repository.pin()
    after = repository.text(path)
    assert (
        proposal.complete and "mlflow==3.17.2" in after and "mlflow-skinny==3.17.2" in after and "helper==2.0" in after
    )
    assert before.splitlines()[:2] == after.splitlines()[:2], "the header still tells the original command"
    hashes = {word for word in after.split() if word.startswith("--hash")}
    assert len(hashes) == 3 and hashes.isdisjoint(before.split())
    repository.uv("pip", "install", "--dry-run", "--target", "x", "--require-hashes", "-r", path)


def test_a_conflict_is_told_in_words_and_nothing_changes(repository: Repository) -> None:
    repository.put("requirements.in", "mlflow==2.9.2\nhelper==1.0\n")
    repository.uv("pip", "compile", "requirements.in", "-o", "requirements.txt")
    before = contents(repository.root)
    with pytest.raises(
        Refused, match=r"requirements.txt:1: uv could not lock MLflow 3.17.2: Because .*helper"
    ) as caught:
        repository.pin()
    assert "--no-relock" in caught.value.hint
    assert contents(repository.root) == before


def test_without_tools_a_lock_is_stale_and_the_rest_changes(repository: Repository) -> None:
    repository.put("requirements.in", "mlflow==2.9.2\n")
    repository.uv("pip", "compile", "requirements.in", "-o", "requirements.txt", "--generate-hashes")
    before = repository.text("requirements.txt")
    proposal = repository.pin(tools=False)
    assert [(each.path, each.version) for each in proposal.stale] == [("requirements.txt", "==2.9.2")]
    assert not proposal.complete
    assert repository.text("requirements.in") == "mlflow==3.17.2\n" and repository.text("requirements.txt") == before


def test_a_header_never_makes_us_run_or_write_elsewhere(repository: Repository, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    repository.put("requirements.in", "mlflow==2.9.2\n")
    repository.put(
        "requirements.txt",
        "# This file was autogenerated by uv via the following command:\n"
        f"#    uv pip compile requirements.in -o {outside} --output-file={outside} ; touch {outside}\nmlflow==2.9.2\n",
    )
    with suppress(Refused):  # uv does not know the words after the semicolon
        repository.pin()
    assert not outside.exists()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("# This file was autogenerated by uv via the following command:\n#    make lock\n", "not in its header"),
        ("# This file is autogenerated by pip-compile with Python 3.11\n# by the following command:\n#\n"
         "#    pip-compile gone.in\n", "gone.in|pip-compile is not installed"),
    ],
)  # fmt: skip
def test_a_lock_that_nobody_can_make_again_is_stale(repository: Repository, header: str, reason: str) -> None:
    repository.put("requirements.txt", f"{header}mlflow==2.9.2\n")
    (stale,) = repository.pin().stale
    assert stale.line == header.count("\n") + 1
    assert any(part in stale.reason for part in reason.split("|"))


def test_a_newer_version_chosen_by_a_tool_is_no_success(repository: Repository, tmp_path: Path) -> None:
    """A lock tool that cannot be told an exact version, here a stand-in for poetry, is watched."""
    fake = tmp_path / "bin" / "poetry"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nsed -i s/2.9.2/3.18.0/ poetry.lock\n")
    fake.chmod(0o755)
    repository.put("pyproject.toml", '[tool.poetry.dependencies]\nmlflow = ">=2.9,<3"\n')
    repository.put("poetry.lock", '[[package]]\nname = "mlflow"\nversion = "2.9.2"\n')
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{fake.parent}:{path}"
    try:
        (stale,) = repository.pin().stale
    finally:
        os.environ["PATH"] = path
    assert "poetry chose 3.18.0 rather than 3.17.2" in stale.reason
    assert "2.9.2" in repository.text("poetry.lock")
