"""`releases watch`: the file judged line by line, news told once, history kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.app.releases_watch import Options, Watched, history, watch
from liftlock.app.workspace import Workspace
from liftlock.cli.main import cli
from liftlock.errors import UsageError
from liftlock.model.finding import Outcome, Severity
from liftlock.pins.model import BadFile
from tests.support.receivers import hook

FILE = """# kept by the platform team
current_version: "3.4.0"
container_image: ghcr.io/mlflow/mlflow:v3.4.0
last_verified: 2026-01-05
safety_cves:
  - CVE-2099-0001
release_notes_url: https://github.com/mlflow/mlflow/releases/tag/v3.4.0
upgrade_status: monitoring
mitigations:
  - no public address
verification_checklist:
  - the server is healthy
"""
AROUND = """[tracking]
watched = ["3.16.0"]
[[tracking.checks]]
name = "the server is healthy"
command = ["true"]
[notify.owners]
dri = "Jane"
backup = "Joe"
"""


@pytest.fixture
def osv(tmp_path: Path) -> Path:
    """An advisory that 3.5.0 fixes and one that nothing does."""
    path = tmp_path / "osv.json"
    entries = [
        {
            "id": "GHSA-test", "aliases": ["CVE-2099-0001"], "summary": "bad things",
            "affected": [{"package": {"name": "mlflow", "ecosystem": "PyPI"}, "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "2.0.0"}, {"fixed": "3.5.0"}]}]}],
        },
        {
            "id": "CVE-2099-0002", "summary": "for ever",
            "affected": [{"package": {"name": "mlflow"}, "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "3.4.0"}]}]}],
        },
    ]  # fmt: skip
    path.write_text(json.dumps(entries))
    return path


def workspace(directory: Path, more: str = AROUND, release: str = "3.4.0") -> Workspace:
    (directory / "liftlock.toml").write_text(
        f'format = 1\nname = "d"\n[server]\nrelease = "{release}"\npython = "p"\nworking_directory = "."\n'
        f'[stores]\ntracking = "sqlite:///m.db"\n{more}'
    )
    return Workspace.open(directory / "liftlock.toml")


def looked(directory: Path, osv: Path, text: str = FILE, *, notify: bool = False, more: str = AROUND) -> Watched:
    (directory / "config").mkdir(exist_ok=True)
    (directory / "config/mlflow_release.yaml").write_text(text)
    return watch(workspace(directory, more), Options(osv=(osv,), notify=notify))


def bad(found: Watched) -> dict[str, str]:
    return {
        each.code: each.message
        for each in found.findings
        if each.outcome is not Outcome.PASS and each.code not in ("LLT005",)
    }


def test_a_true_file_has_no_findings_but_there_is_news(tmp_path: Path, osv: Path) -> None:
    found = looked(tmp_path, osv)
    assert bad(found) == {}
    assert [(each.code, each.title, each.message) for each in found.news] == [
        ("LLT020", "CVE-2099-0001", "MLflow 3.5.0 fixes it: bad things"),
        ("LLT021", "MLflow 3.16.0", "it is there"),
    ]
    assert all(each.needs_attention for each in found.news)


def test_owners_watched_and_freeze_may_stand_in_the_file_for_a_repository_without_a_deployment(
    tmp_path: Path, osv: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(FILE + "owners: {dri: Jane}\nwatched: [3.16.0]\nfreeze: end of quarter\n")
    found = watch(None, Options(file=file, osv=(osv,)))
    assert bad(found)["LLT010"] == "nobody is named as backup" and bad(found)["LLT011"] == "end of quarter"
    assert [each.title for each in found.news] == ["CVE-2099-0001", "MLflow 3.16.0"]


@pytest.mark.parametrize(
    ("before", "after", "code", "said"),
    [
        ('"3.4.0"', '"3.4.99"', "LLT001", "knows no MLflow 3.4.99"),
        ('"3.4.0"', '""', "LLT001", "names none"),
        ('"3.4.0"', '"3.3.2"', "LLT002", "liftlock.toml says MLflow 3.4.0"),
        ("mlflow:v3.4.0", "mlflow:v3.3.2", "LLT003", "is not MLflow 3.4.0"),
        ("mlflow:v3.4.0", "mlflow", "LLT003", "has no tag"),
        ("mlflow:v3.4.0", "mlflow:latest", "LLT003", "names no version"),
        ("CVE-2099-0001", "CVE-2001-9999", "LLT004", "does not know it"),
        ("CVE-2099-0001", "CVE-2023-43472", "LLT004", "does not have it any more"),
        ("tag/v3.4.0", "tag/v3.3.2", "LLT006", "is about 3.3.2"),
        ("2026-01-05", "2999-01-01", "LLT007", "lies ahead"),
        ("2026-01-05", "", "LLT007", "never"),
        ("monitoring", "", "LLT008", "says none"),
        ("monitoring\nmitigations:\n  - no public address", "shipped", "LLT008", "shipped with CVE-2099-0001 open"),
        ("- the server is healthy", "- the server is happy", "LLT009", "no command proves: the server is happy"),
    ],
)
def test_what_is_not_true_is_said(tmp_path: Path, osv: Path, before: str, after: str, code: str, said: str) -> None:
    assert before in FILE
    assert said in bad(looked(tmp_path, osv, FILE.replace(before, after)))[code]


def test_a_cve_is_found_by_any_of_its_names(tmp_path: Path, osv: Path) -> None:
    lower = looked(tmp_path, osv, FILE.replace("CVE-2099-0001", "cve-2099-0001"))
    assert bad(lower) == {} and lower.news[0].code == "LLT020"


def test_what_nothing_fixes_is_no_alarm(tmp_path: Path, osv: Path) -> None:
    found = looked(tmp_path, osv)
    other = next(each for each in found.findings if each.code == "LLT005")
    assert "CVE-2099-0002" in other.message  # and real ones of 3.4.0, which later releases fix
    newest = looked(tmp_path, osv, FILE.replace("3.4.0", "3.18.0").replace("CVE-2099-0001", "CVE-2099-0002"))
    assert newest.news == ()
    last = next(each for each in newest.findings if each.code == "LLT005")
    assert last.outcome is Outcome.PASS or last.severity is Severity.INFO


def test_owners(tmp_path: Path, osv: Path) -> None:
    assert "backup" in bad(looked(tmp_path, osv, more=AROUND.replace('backup = "Joe"', "")))["LLT010"]
    assert "dri and backup" in bad(looked(tmp_path, osv, more=""))["LLT010"]


def test_news_is_told_once_and_again_only_when_nobody_heard(tmp_path: Path, osv: Path) -> None:
    with hook(status=500) as server:
        more = f'{AROUND}[[notify.receivers]]\nkind = "webhook"\nurl = "{server.url()}"\n'
        assert looked(tmp_path, osv, notify=True, more=more).told[0].problem == "it answered 500"
        server.status = 200
        assert looked(tmp_path, osv, more=more).told == ()
        assert not looked(tmp_path, osv, notify=True, more=more).told[0].problem
        assert looked(tmp_path, osv, notify=True, more=more).told == ()
        more = more.replace("3.16.0", "3.15.0")
        assert len(looked(tmp_path, osv, notify=True, more=more).told) == 1
    texts = [each["text"] for each in server.bodies()]
    assert [each["event"] for each in server.bodies()] == ["release"] * 3
    assert "CVE-2099-0001: MLflow 3.5.0 fixes it" in texts[1] and texts[2] == "MLflow 3.15.0: it is there"


def test_history_grows_only_when_the_file_says_something_else(tmp_path: Path, osv: Path) -> None:
    for status in ("queued", "queued", "shipped"):
        found = looked(tmp_path, osv, FILE.replace("monitoring", status) + "# a comment\n")
    assert found.tracking.upgrade_status == "shipped"
    seen = history(workspace(tmp_path))
    assert [each.upgrade_status for each in seen] == ["queued", "shipped"] and seen[0].by
    (tmp_path / ".liftlock/tracking.jsonl").write_text("{\n")
    with pytest.raises(UsageError, match="is damaged"):
        history(workspace(tmp_path))


def test_a_repository_without_a_deployment(tmp_path: Path, osv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIFTLOCK_CONFIG", raising=False)
    (tmp_path / "it.yaml").write_text(FILE)
    words = ["releases", "watch", "--osv", str(osv), "--json"]
    done = CliRunner().invoke(cli, [*words, "--file", "it.yaml"], standalone_mode=False)
    assert done.return_value == 1 and {each["code"] for each in json.loads(done.stdout)["news"]} == {"LLT020"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.yaml", "osv.json"]
    for more in (["--notify"], ["--history"], []):
        failed = CliRunner().invoke(cli, [*words, *more], standalone_mode=False)
        assert isinstance(failed.exception, UsageError), more


def test_bad_files_are_named_with_their_line(tmp_path: Path, osv: Path) -> None:
    for text, line in (
        (FILE.replace("2026-01-05", "soon"), 4), ("<<<<<<< a\n=======\n>>>>>>> b\n", 1), ("a: [\n", 2),
    ):  # fmt: skip
        with pytest.raises(BadFile) as caught:
            looked(tmp_path, osv, text)
        assert f"mlflow_release.yaml:{line}" in caught.value.message
    (tmp_path / "config/mlflow_release.yaml").write_bytes(b"\0")
    with pytest.raises(BadFile):
        watch(workspace(tmp_path), Options())
