"""Evidence of real runs of a stub deployment: the how-to page, canaries, another machine, kill -9."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.app.evidence_facts import redacted_text
from liftlock.model.codec import from_json
from liftlock.model.evidence import Summary
from tests.support.deployment import Deployment
from tests.support.evidence import needs_ssh_keygen
from tests.support.registry import NEW as REGISTRY_HAS
from tests.support.registry import registry
from tests.support.stub_release import NEW, NEW_HEAD, OLD

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "file-the-evidence.md"


def commands(text: str) -> list[list[str]]:
    return [
        shlex.split(line.removeprefix("$ liftlock "))
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]


_SECTIONS = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
# What goes wrong comes after everything else here, because a bundle of what went well is looked at first.
WRONG = next(commands(each) for each in _SECTIONS if "If it goes wrong" in each)
COMMANDS = [words for words in commands(PAGE.read_text()) if words not in WRONG]
BIN = Path(sys.executable).parent
WITH_TOOLS = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
ADMIN, PASSPHRASE, HOOK = (f"canary-{what}-{uuid.uuid4().hex[:8]}" for what in ("admin", "passphrase", "hook"))
ANSWERS = ("GET /health", "GET /version", "POST /api/2.0/mlflow/experiments/search")
AROUND = f"""
[[tracking.checks]]
name = "the server is healthy"
command = ["liftlock", "status"]
timeout = 120

[[tracking.checks]]
name = "says too much"
command = ["python", "-c", "print('registered with {ADMIN}')"]
expect_output = "registered"

[watch]
settle = 0.0

[notify.owners]
dri = "Jane"

[[notify.receivers]]
kind = "apprise"
url = "json://127.0.0.1:9/{HOOK}"
events = ["window-closing"]
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    needs_ssh_keygen()
    directory = tmp_path_factory.mktemp("evidence") / "d"
    made = Deployment(
        directory, auth=f"sqlite:///{directory / 'auth.db'}", password=ADMIN,
        server_environment={"MLFLOW_CRYPTO_KEK_PASSPHRASE": PASSPHRASE},
    )  # fmt: skip
    try:
        made.make()
        with made.config.open("a") as file:
            file.write(AROUND)
        tests = directory / "tests"
        tests.mkdir()
        (tests / "test_it.py").write_text(f"def test_one(): print('{PASSPHRASE}')\ndef test_two(): pass\n")
        yield made
    finally:
        made.end()


def ran(made: Deployment, words: list[str], status: int = 0) -> str:
    done = made.liftlock(*words, env=WITH_TOOLS)
    assert done.returncode == status, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def story(deployment: Deployment) -> Deployment:
    """An upgrade that fails and is put back, then the page's commands in order."""
    failed = deployment.liftlock("upgrade", "--to", NEW, "--yes", env={"STUB_MIGRATE": f"fail:{NEW_HEAD}"})
    assert failed.returncode == 4
    repository(deployment.directory)
    assert (len(COMMANDS), len(WRONG)) == (11, 3)
    said = {}
    for words in COMMANDS:
        words = [word.replace("3.17.2", NEW) for word in words]
        if words[0] == "watch":
            words[words.index("--for") + 1] = "1s"  # the page's minute and day
        if words[0] == "pin":
            words.append("--offline")  # the index is another test's
        # the catalogue knows no release that only tests have, and `watch` says so
        said[" ".join(words[:2])] = ran(deployment, words, 1 if "watch" in words and "--baseline" not in words else 0)
    assert "2 passed" in said["evidence record"]
    assert "/health" not in said["watch --for"] and "ok    LLW001  health" in said["watch --for"]
    text = said["evidence show"]
    assert "| tests (before) | pass |" in text and "| tests (after) | pass |" in text
    assert "upgrade status: shipped" in said["releases watch"] and f"knows no MLflow {NEW}" in said["releases watch"]
    assert f"mlflow=={NEW}" in (deployment.directory / "requirements.txt").read_text()
    return deployment


def repository(directory: Path) -> None:
    """What a team keeps beside its deployment."""
    subprocess.run(["git", "init", "-q", directory], check=True)
    (directory / ".gitignore").write_text("*\n!/config\n!/config/*\n!/requirements.txt\n!/SECURITY.md\n!/Dockerfile\n")
    (directory / "config").mkdir()
    (directory / "config/mlflow_release.yaml").write_text(
        f"current_version: {OLD}\nverification_checklist:\n  - the server is healthy\n"
    )
    (directory / "requirements.txt").write_text(f"mlflow=={OLD}\n")


@pytest.fixture
def bundle(story: Deployment) -> Path:
    return story.directory / "evidence" / f"mlflow-{NEW}"


def summary(directory: Path) -> Summary:
    return from_json((directory / "summary.json").read_bytes(), Summary)


def test_the_bundle_holds_what_the_page_says(bundle: Path) -> None:
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    table = re.findall(r"`([a-z/.*-]+\.(?:json|jsonl|lock|xml|md|html))`", PAGE.read_text())
    assert len(table) > 12
    # the stub is in no table of advisories, and no registry was asked: said in the summary
    for name in set(table) - {"advisories.json", "images.json"}:
        assert any(Path(each).match(name) for each in there), name
    found = summary(bundle)
    assert {each.what for each in found.missing} == {"advisories.json", "image of the server", "image digests"}
    assert (found.source, found.target, found.outcome) == (OLD, NEW, "done")
    assert found.write_hold_seconds is not None and found.ended_at is not None
    assert [each.name for each in found.packages] == ["mlflow"]
    assert {each.role for each in found.databases} == {"tracking", "auth"}
    assert {(each.name, each.when, each.outcome.value) for each in found.proofs} == {
        (name, when, "pass")
        for name in ("tests", "the server is healthy", "says too much", *ANSWERS)
        for when in ("before", "after")
    }
    assert found.watch is not None and found.watch.run == found.run and found.watch.requests > 0
    assert "too few requests" in next(each.message for each in found.watch.findings if each.code == "LLW003")
    said = {each.when: each.output for each in found.proofs if each.name == "GET /version"}
    assert said == {"before": OLD, "after": NEW}
    assert found.way_back == "open: liftlock rollback"
    answers = json.loads((bundle / "responses/now.json").read_text())
    assert [(each["path"], each["status"]) for each in answers][:2] == [("/health", 200), ("/version", 200)]
    assert answers[1]["body"] == NEW


def test_no_canary_is_in_it(bundle: Path, story: Deployment) -> None:
    places = [*bundle.rglob("*"), *(story.state / "proofs").iterdir()]
    for path in places:
        if path.is_file() and not path.name.endswith(".xml"):
            data = path.read_bytes()
            assert not any(canary.encode() in data for canary in (ADMIN, PASSPHRASE, HOOK)), path
    assert b"***" in (bundle / "configuration/now.toml").read_bytes()
    for path in bundle.rglob("*.xml"):
        assert PASSPHRASE.encode() not in path.read_bytes()


def test_another_machine_needs_nothing_but_the_bundle_and_the_key(
    bundle: Path, story: Deployment, tmp_path: Path
) -> None:
    shutil.copytree(bundle, tmp_path / "bundle")
    shutil.copy(story.state / "evidence-key.pub", tmp_path / "key.pub")
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "nobody")}

    def verify(*words: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [BIN / "liftlock", "evidence", "verify", "bundle", *words]
        return subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True, timeout=60)

    good = verify("--key", "key.pub")
    assert good.returncode == 0, good.stdout + good.stderr
    assert verify().returncode == 1
    (tmp_path / "bundle/plan.json").write_text("{}")
    changed = verify("--key", "key.pub", "--json")
    assert changed.returncode == 1 and "plan.json was changed" in changed.stdout


def test_images_that_files_name_have_their_digests_in_it(story: Deployment, tmp_path: Path) -> None:
    with registry() as fake:
        name = f"127.0.0.1:{fake.port}/team/mlflow:v3.17.2"
        (story.directory / "Dockerfile").write_text(f"FROM {name}\n")
        ran(story, ["evidence", "create", "--offline", "--registry", "--output", str(tmp_path / "made")])
    (story.directory / "Dockerfile").unlink()
    found = summary(tmp_path / "made")
    assert [(each.image, each.file, each.digest) for each in found.images] == [(name, "Dockerfile", REGISTRY_HAS)]
    assert "image digests" not in {each.what for each in found.missing}
    assert REGISTRY_HAS in (tmp_path / "made/images.json").read_text()
    assert REGISTRY_HAS in (tmp_path / "made/summary.md").read_text()


def test_a_failed_upgrade_has_evidence_too(story: Deployment, tmp_path: Path) -> None:
    first = story.journal().runs()[0]
    ran(story, ["evidence", "create", first.id, "--offline", "--output", str(tmp_path / "failed")])
    found = summary(tmp_path / "failed")
    assert found.outcome == "put-back" and any("failed" in each for each in found.issues)
    assert found.way_back.startswith("not needed")
    assert {"fingerprints/after.json", "environments/outdated.json"} <= {each.what for each in found.missing}


@pytest.mark.parametrize("point", ["after:write evidence", "after:publish evidence"])
def test_killed_it_leaves_a_whole_bundle_or_none(story: Deployment, tmp_path: Path, point: str) -> None:
    target = tmp_path / "killed"
    words = ["evidence", "create", "--offline", "--output", str(target)]
    died = story.liftlock(*words, env={"LIFTLOCK_CRASH_AT": point})
    assert died.returncode == -9
    assert target.exists() == (point == "after:publish evidence")
    if not target.exists():
        ran(story, words)
    ran(story, ["evidence", "verify", str(target), "--key", str(story.state / "evidence-key.pub")])
    assert [path.name for path in tmp_path.iterdir()] == ["killed"]


def test_what_is_refused(story: Deployment, tmp_path: Path) -> None:
    (tmp_path / "scan.txt").write_text(f"found {ADMIN}")
    attach = ["evidence", "create", "--offline", "--attach", str(tmp_path / "scan.txt")]
    assert "holds a secret" in ran(story, attach, 3)
    assert "knows no run" in ran(story, ["evidence", "create", "nonsense"], 3)
    assert "is no evidence" in ran(story, ["evidence", "verify", str(tmp_path)], 2)
    assert "what is to be run" in ran(story, ["evidence", "record"], 2)
    assert "cannot be read as a key" in ran(story, ["evidence", "create", "--key", str(tmp_path / "no")], 2)
    assert not (story.directory / "liftlock-evidence").exists() or not list(
        (story.directory / "liftlock-evidence").iterdir()
    )


def test_when_it_goes_wrong_everything_is_as_it_was_and_says_so(story: Deployment) -> None:
    for words in WRONG:
        words = [word.replace("2.9.2", OLD) for word in words]
        ran(story, [*words, "--offline"] if words[0] == "pin" else words)
    tracking = (story.directory / "config/mlflow_release.yaml").read_text()
    assert f"current_version: {OLD}" in tracking and "upgrade_status: blocked" in tracking and "OPS-7" in tracking
    assert "owners: {dri: ML Lead, backup: Platform Lead}" in tracking and story.version() == OLD
    assert "is frozen: regression" in ran(story, ["pin", NEW, "--offline", "--yes"], 3)
    found = summary(story.directory / "evidence/rolled-back")
    assert (found.outcome, found.way_back.split(":")[0]) == ("rolled-back", "taken")
    assert any(each.when == "after" for each in found.proofs)  # judged by when the upgrade ended, not its rollback


def test_a_configuration_is_redacted_by_type(tmp_path: Path) -> None:
    text = """format = 1
name = "d"
[server]
release = "2.9.2"
python = "p"
working_directory = "/"
arguments = ["--registry-store-uri", "postgresql://u:test@h/db", "--x", "s3://key:word@b"]
[server.environment]
AWS_SECRET_ACCESS_KEY = "test"
OTHER = "mysql+pymysql://u:admin@h/db"
KEPT = "plain"
MLFLOW_TOKEN = "${TOKEN}"
[stores]
tracking = "postgresql://u:password@h/db?sslpassword=user"
[credentials]
username = "admin"
password = "admin"
[[notify.receivers]]
kind = "webhook"
url = "https://hooks/test"
header = "Bearer test"
[[notify.receivers]]
kind = "apprise"
url = "${MAIL}"
"""
    hidden = redacted_text(text, tmp_path / "liftlock.toml")
    for word in ("u:test", "key:word", '"test"', "u:admin", "u:password", "sslpassword=user", "hooks", "Bearer"):
        assert word not in hidden, word
    for word in ('KEPT = "plain"', '"${TOKEN}"', '"${MAIL}"', 'username = "admin"', "@h/db"):
        assert word in hidden, word
