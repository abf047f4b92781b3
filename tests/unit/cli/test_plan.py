"""`liftlock plan` in every form, with a scan, and for a release the catalogue does not know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from liftlock.app.plan_report import compose, read_scan
from liftlock.app.workspace import Workspace
from liftlock.cli.main import main
from liftlock.errors import ReleaseError, UsageError
from liftlock.knowledge.catalogue import load
from liftlock.model.plan import Plan
from liftlock.report.plan_content import PlanReport
from tests.support import plans
from tests.support.pages import look

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
FINDING = {
    "code": "LL101", "verdict": "breaks", "confidence": "certain", "path": "a.py", "line": 3, "column": 1,
    "symbol": "mlflow.fastai", "changed_in": "3.0.0", "replacement": "pyfunc", "message": "gone",
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A liftlock.toml, and a plan and a report that need no server behind it."""
    path = tmp_path / "liftlock.toml"
    path.write_text(
        'format = 1\nname = "d"\n[server]\nrelease = "2.9.2"\npython = "p"\nworking_directory = "."\n'
        '[stores]\ntracking = "sqlite:///x.db"\n'
    )
    known = plans.given(plans.deployment({"runs": 3, "metrics": 10}, auth=True))

    def gathered(_: Workspace, plan: Plan, *, scan: Path | None = None, logs: Sequence[Path] = ()) -> PlanReport:
        if plan.deployment_name == "unknown":
            raise ReleaseError("the catalogue knows no MLflow 77", hint="Refresh it.")
        assert not logs
        used = read_scan(scan) if scan is not None else None
        return compose(msgspec.structs.replace(known, plan=plan, used=used), load())

    monkeypatch.setattr("liftlock.app.planning.make_plan", lambda *_, **__: known.plan)
    monkeypatch.setattr("liftlock.app.plan_report.gather", gathered)
    return path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_every_form(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ("--config", str(config), "plan", "--to", "3.17.2")
    assert run(*start) == 0
    shown = capsys.readouterr().out
    for title in ("Risks", "Database migrations", "Checks left to a person", "Not known"):
        assert f"\n{title}\n" in shown
    assert "more (--format markdown or html shows all)" in shown
    assert run(*start, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["id"].startswith("plan-")
    assert data["report_missing"] is None
    assert len(data["report"]["migrations"]) == 50
    assert "plan" not in data["report"]
    assert run(*start, "--format", "markdown") == 0
    assert "| 14 | record the new release in liftlock.toml | open | undone |" in capsys.readouterr().out
    for form in ("html", "json"):
        assert run(*start, "--format", form, "--output", str(tmp_path / form)) == 0
    assert json.loads((tmp_path / "json").read_text()) == data
    page = look((tmp_path / "html").read_text())
    assert (page.wrong, page.outside) == ([], [])
    assert "mlflow.fastai" in page.text, "all of a long table is on the page"


def test_the_example_in_the_docs() -> None:
    page = look((EXAMPLES / "plan.html").read_text("utf-8"))
    assert (page.wrong, page.outside) == ([], [])
    text = (EXAMPLES / "plan.md").read_text("utf-8")
    assert text.startswith("# Upgrade of demo: MLflow 2.9.2 to 3.17.2\n")
    assert "make plan-example" in (EXAMPLES.parent / "how-to" / "plan.md").read_text("utf-8")


def test_a_scan_says_what_is_used(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = tmp_path / "scan.json"
    quiet = {**FINDING, "verdict": "deprecated", "symbol": "mlflow.x"}
    scan.write_text(json.dumps([FINDING, {**FINDING, "line": 9}, quiet]))
    assert [(each.symbol, each.count, each.places) for each in read_scan(scan)] == [
        ("mlflow.fastai", 2, ("a.py:3", "a.py:9"))
    ]
    assert run("--config", str(config), "plan", "--scan", str(scan), "--format", "markdown") == 0
    shown = capsys.readouterr().out
    assert "1 names it uses break, in 2 places" in shown
    assert "| `mlflow.fastai` | breaks | 3.0.0 | 2 | `a.py:3`, `a.py:9` | pyfunc |" in shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "line 1"), ('{"a": 1}', "not the result of a scan"), ("[1]", "not the result"),
        ('[{"verdict": "breaks"}]', "symbol"), ("3", "not the result"),
    ],
)  # fmt: skip
def test_what_is_no_scan(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        read_scan(path)
    assert str(path) in caught.value.message
    with pytest.raises(UsageError, match="cannot be read"):
        read_scan(tmp_path / "none")


def test_a_release_the_catalogue_does_not_know(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = plans.given(plans.deployment({}, name="unknown")).plan
    monkeypatch.setattr("liftlock.app.planning.make_plan", lambda *_, **__: made)
    start = ("--config", str(config), "plan")
    assert run(*start) == 0
    shown = capsys.readouterr().out
    assert "point of no return" in shown
    assert "nothing more is known of this upgrade. Refresh it." in shown
    assert run(*start, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["report"], "MLflow 77" in data["report_missing"]) == (None, True)
    assert run(*start, "--format", "html") == 3
