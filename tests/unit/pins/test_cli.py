"""The command over a whole tree: change, check, undo, leftovers, kill -9 of the real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from liftlock.cli.pin import command
from liftlock.errors import LiftlockError
from tests.support.pins_tree import BY_PATH, NEW, OLD, SAMPLES, contents, write


def pin(*words: str | Path) -> Result:
    result = CliRunner().invoke(command, [*map(str, words)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def as_json(*words: str | Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(pin(*words, "--json").stdout)
    return value


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write(tmp_path / "r")
    return tmp_path / "r"


def test_the_whole_tree_changes_in_its_pins_and_comes_back(repository: Path) -> None:
    before = contents(repository)
    result = pin(NEW, repository, "--offline", "--docs", "--yes")
    assert contents(repository) == {each.path: each.after.encode() for each in SAMPLES}
    assert "docker-compose.yml:" in result.stdout and "+  image: mlflow" not in result.stdout
    assert pin(NEW, repository, "--offline", "--docs", "--yes").stdout.startswith("all ")
    assert pin("--undo", repository).return_value == 0
    assert contents(repository) == before


def test_documentation_is_listed_and_left_alone(repository: Path) -> None:
    found = as_json(NEW, repository, "--offline", "--yes")
    assert contents(repository)["docs/install.md"] == BY_PATH["docs/install.md"].before.encode()
    assert {left["path"] for left in found["leftovers"] if left["kind"] == "documentation"} >= {"docs/install.md"}


def test_check_and_diff_change_nothing(repository: Path) -> None:
    before = contents(repository)
    assert pin(NEW, repository, "--offline", "--check").return_value == 1
    pin(NEW, repository, "--offline", "--diff")
    assert contents(repository) == before
    pin(NEW, repository, "--offline", "--yes")
    assert pin(NEW, repository, "--offline", "--check").return_value in (0, 1)


def test_check_is_0_when_every_place_names_the_version(tmp_path: Path) -> None:
    write(tmp_path, (BY_PATH["Dockerfile"], BY_PATH["Pipfile"]), after=True)
    assert pin(NEW, tmp_path, "--offline", "--check").return_value == 0
    (tmp_path / "Dockerfile").write_text("FROM ghcr.io/mlflow/mlflow:v2.9.2\n")
    assert pin(NEW, tmp_path, "--offline", "--check").return_value == 1


def test_a_leftover_in_an_unknown_format_is_reported(tmp_path: Path) -> None:
    write(tmp_path, (BY_PATH["Dockerfile"],))
    (tmp_path / "deploy.pkl").write_text('mlflow {\n  version = "2.9.2"\n}\n')
    result = pin(NEW, tmp_path, "--offline", "--yes")
    assert result.return_value == 1
    assert 'left over: deploy.pkl:2 names 2.9.2: version = "2.9.2"' in result.stdout
    assert pin(NEW, tmp_path, "--offline", "--check").return_value == 0, "nothing here says that 2.9.2 was MLflow's"
    assert pin(NEW, tmp_path, "--offline", "--check", "--old", "2.9.2").return_value == 1


def test_nobody_confirms(repository: Path) -> None:
    before = contents(repository)
    with pytest.raises(LiftlockError, match="nobody is there to confirm"):
        pin(NEW, repository, "--offline")
    assert contents(repository) == before


def test_secrets_beside_a_pin_are_not_shown(tmp_path: Path) -> None:
    write(tmp_path, ())
    (tmp_path / ".env").write_text("A_PASSWORD=canary-1\nMLFLOW_VERSION=2.9.2\nB_TOKEN=canary-2\n")
    result = pin(NEW, tmp_path, "--offline", "--yes")
    assert "canary" not in result.output and "MLFLOW_VERSION=3.17.2" in result.output


def test_a_digest_by_option(tmp_path: Path) -> None:
    write(tmp_path, ())
    (tmp_path / "Dockerfile").write_text(f"FROM ghcr.io/mlflow/mlflow:v2.9.2@sha256:{'a' * 64}\n")
    digest = f"ghcr.io/mlflow/mlflow=sha256:{'b' * 64}"
    pin(NEW, tmp_path, "--offline", "--yes", "--image-digest", digest)
    assert (tmp_path / "Dockerfile").read_text() == f"FROM ghcr.io/mlflow/mlflow:v3.17.2@sha256:{'b' * 64}\n"
    with pytest.raises(LiftlockError) as caught:
        pin(NEW, tmp_path, "--image-digest", "x=sha256:12")
    assert caught.value.exit_status == 2


def test_locks_without_their_tool_are_stale(tmp_path: Path) -> None:
    write(tmp_path, (BY_PATH["poetry/pyproject.toml"],))
    (tmp_path / "poetry" / "poetry.lock").write_text('[[package]]\nname = "mlflow"\nversion = "2.9.2"\n')
    found = as_json(NEW, tmp_path, "--offline", "--yes")
    assert [(each["path"], each["line"], each["version"]) for each in found["stale"]] == [
        ("poetry/poetry.lock", 3, "2.9.2")
    ]
    assert found["complete"] is False and found["applied"] is True


def test_the_tracking_file_takes_every_option_of_the_script_it_replaces(tmp_path: Path) -> None:
    write(tmp_path, (BY_PATH["config/mlflow_release.yaml"], BY_PATH["SECURITY.md"], BY_PATH["Dockerfile"]))
    before = contents(tmp_path)
    words: list[str | Path] = [
        NEW, tmp_path, "--offline", "--yes", "--image-tag", "registry.example.org/mlflow:3.17.2", "--release-notes",
        "https://example.org/notes", "--status", "watched", "--cve", "CVE-2026-10001", "--upgrade-status", "shipped",
    ]  # fmt: skip
    for _ in range(2):  # a registry of one's own is no reason never to run again
        assert pin(*words).return_value == 0
    text = (tmp_path / "config/mlflow_release.yaml").read_text()
    assert "registry.example.org/mlflow:3.17.2  # registry" in text and "upgrade_status: shipped" in text
    assert "- CVE-2026-10001" in text and "https://example.org/notes" in text and 'current_version: "3.17.2"' in text
    assert "| `mlflow`  | 3.17.2 | CVE-2026-10001 | watched |" in (tmp_path / "SECURITY.md").read_text()
    pin("--undo", tmp_path)
    assert contents(tmp_path) == before


def test_a_freeze_keeps_every_later_version_out_until_it_is_thawed(tmp_path: Path) -> None:
    write(tmp_path, (BY_PATH["config/mlflow_release.yaml"], BY_PATH["Dockerfile"]))
    words: list[str | Path] = [OLD, tmp_path, "--offline", "--yes", "--owner", "dri=Jane Doe", "--owner", "backup=Joe"]
    words += ["--freeze", "rolled back, see OPS-7", "--mitigation", "read only", "--checklist", "curl /health"]
    assert pin(*words, "--watched", NEW).return_value == 0
    text = (tmp_path / "config/mlflow_release.yaml").read_text()
    for line in ("owners: {dri: Jane Doe, backup: Joe}", "mitigations: [read only]", f"watched: [{NEW}]",
                 'freeze: "rolled back, see OPS-7"', "verification_checklist: [curl /health]"):  # fmt: skip
        assert line in text
    before = contents(tmp_path)
    with pytest.raises(LiftlockError, match=r"mlflow_release\.yaml is frozen: rolled back, see OPS-7") as caught:
        pin(NEW, tmp_path, "--offline", "--yes", "--drop-digests")
    assert caught.value.exit_status == 3 and "--thaw" in caught.value.hint and contents(tmp_path) == before
    assert pin(NEW, tmp_path, "--offline", "--diff").return_value == 0, "looking is free"
    assert pin(OLD, tmp_path, "--offline", "--check").return_value == 0
    assert pin(NEW, tmp_path, "--offline", "--yes", "--thaw").return_value == 0
    assert f'current_version: "{NEW}"' in (tmp_path / "config/mlflow_release.yaml").read_text()
    for bad in (
        ["--freeze", "x", "--thaw"],
        ["--owner", "Jane"],
        ["--freeze", " "],
        ["--mitigation", "a", "--no-mitigation"],
    ):
        with pytest.raises(LiftlockError) as usage:
            pin(NEW, tmp_path, "--offline", *bad)
        assert usage.value.exit_status == 2


def test_a_tracking_file_that_is_wrong_or_missing_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, (BY_PATH["Dockerfile"],))
    with pytest.raises(LiftlockError, match="no file tracks the release"):
        pin(NEW, tmp_path, "--offline", "--yes", "--cve", "CVE-2026-10001")
    (tmp_path / "mlflow_release.yaml").write_text("current_version: 2.9.2\nupgrade_status: someday\n")
    for words in (["--no-cve"], ["--cve", "everything"], ["--last-verified", "today"]):
        with pytest.raises(LiftlockError, match=r"mlflow_release\.yaml:\d"):
            pin(NEW, tmp_path, "--offline", "--yes", *words)
        (tmp_path / "mlflow_release.yaml").write_text("current_version: 2.9.2\n")
    assert contents(tmp_path)["Dockerfile"] == BY_PATH["Dockerfile"].before.encode()


def test_kill_9_of_the_program_at_every_effect(tmp_path: Path) -> None:
    samples = (BY_PATH["Dockerfile"], BY_PATH["requirements/dev.in"], BY_PATH["chart/values.yaml"])
    log = tmp_path / "effects"
    write(tmp_path / "probe", samples)
    words = [sys.executable, "-c", "from liftlock.cli.main import main; main()", "pin", NEW]
    options = ["--offline", "--yes", "--drop-digests"]
    run = {**os.environ, "LIFTLOCK_EFFECTS_LOG": str(log)}
    subprocess.run([*words, str(tmp_path / "probe"), *options], env=run, check=False, capture_output=True)
    effects = [name for name in log.read_text().splitlines() if name != "forget old pins"]
    assert [name for name in effects if name.startswith("write pin ")] == [
        "write pin Dockerfile", "write pin chart/values.yaml", "write pin requirements/dev.in",
    ]  # fmt: skip
    old = {each.path: each.before.encode() for each in samples}
    new = {each.path: each.after.encode() for each in samples}
    for point in [f"{side}:{name}" for name in effects for side in ("before", "after")]:
        root = tmp_path / point.replace("/", "_").replace(" ", "_").replace(":", "_")
        write(root, samples)
        died = subprocess.run(
            [*words, str(root), *options], env={**os.environ, "LIFTLOCK_CRASH_AT": point}, capture_output=True
        )
        assert died.returncode == -9, point
        now = contents(root)
        assert all(now[path] in (old[path], new[path]) for path in old)
        looked = pin(NEW, root, "--offline", "--check", "--drop-digests")
        assert contents(root) in (old, new), point
        half = now not in (old, new)
        assert not half or "an interrupted change was taken back first" in looked.stdout
        pin(NEW, root, "--offline", "--yes", "--drop-digests")
        assert contents(root) == new, point
