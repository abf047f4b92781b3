"""Supporting pins against a resolver that is real: uv, offline, over a directory of tiny wheels."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import uv

from liftlock.errors import ReleaseError
from liftlock.pins.document import Document
from liftlock.pins.relock import explained
from liftlock.pins.supporting import Proposed, Support, supports
from tests.support.pins_wheels import make

Check = Callable[[dict[str, str]], dict[str, Support]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    wheels = make(tmp_path / "wheels")

    def resolve(requirements: Sequence[str], bounds: Sequence[str]) -> Mapping[str, str]:
        (tmp_path / "bounds.txt").write_text("\n".join(bounds))
        run = subprocess.run(
            [
                uv.find_uv_bin(), "pip", "compile", "--no-annotate", "--no-header",
                "-c", str(tmp_path / "bounds.txt"), "-",
            ],
            input="\n".join(requirements), text=True, capture_output=True,
            env={**os.environ, "UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": str(tmp_path / "c")},
        )  # fmt: skip
        if run.returncode:
            raise ReleaseError(explained(run.stderr))
        return dict(line.split("==") for line in run.stdout.split())

    def run(files: dict[str, str]) -> dict[str, Support]:
        decoded = (Document.decode(path, text.encode()) for path, text in files.items())
        documents = {each.path: each for each in decoded if each is not None}
        return {each.path: each for each in supports(documents, list(files), resolve)}

    return run


def test_what_resolves_is_no_conflict(check: Check) -> None:
    (found,) = check({"requirements.txt": "mlflow==3.17.2\nhelper>=1 # any\n-e .\n"}).values()
    assert found == Support("requirements.txt", ("mlflow==3.17.2", "helper>=1"))


def test_a_pin_in_the_way_is_named_with_what_would_do(check: Check) -> None:
    (found,) = check({"requirements.txt": "mlflow==3.17.2\nhelper==1.0\n"}).values()
    assert "mlflow==3.17.2 depends on helper>=2" in found.conflict
    assert found.proposals == (Proposed("helper", "==1.0", "2.0"),)


def test_constraints_and_included_files_count(check: Check) -> None:
    files = {
        "requirements.txt": "-c c/limits.txt\n-r base.in\n",
        "base.in": "mlflow==3.17.2\n",
        "c/limits.txt": "helper<2\n",
    }
    (found,) = check(files).values()
    assert found.path == "requirements.txt" and found.proposals == (Proposed("helper", "<2", "2.0"),)


def test_a_version_that_cannot_be_installed_at_all_has_no_proposal(check: Check) -> None:
    (found,) = check({"requirements.txt": "mlflow==9.9\n"}).values()
    assert found.conflict and found.proposals == ()


def test_pyproject_is_resolved(check: Check) -> None:
    (found,) = check({"a/pyproject.toml": '[project]\ndependencies = ["mlflow==3.17.2", "helper==1.0"]\n'}).values()
    assert found.path == "a/pyproject.toml" and found.conflict
