"""The command: outputs, exit statuses, settings, baseline, fixes."""

import json
from pathlib import Path
from typing import Any

import pytest

from liftlock.cli.main import main
from tests.support.sarif import problems

_USE = "import mlflow\nmlflow.list_experiments()\nmlflow.sklearn.log_model(1, 'm')\n"


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["scan", *words])
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text(_USE)
    (tmp_path / "requirements.txt").write_text("mlflow>=2.9.2\n")
    return tmp_path


def test_text_with_frame(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, str(tree), "--to", "3.17.2")
    assert status == 1 and "requirements.txt pins mlflow 2.9.2" in err
    assert "a.py:2:8: LL101 broken already" in out and "       ^^^^^^^^^^^^^^^^" in out
    assert "MLflow 2.9.2 to 3.17.2: 1 broken already, 1 changes behaviour, 1 deprecated" in out


def test_json_is_the_list_that_is_promised(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, str(tree), "--from", "2.9.2", "--json")
    found = json.loads(out)
    assert status == 1 and [each["code"] for each in found] == ["LL101", "LL807", "LL203"]
    assert set(found[0]) >= {
        "code", "verdict", "confidence", "path", "line", "column", "end_line", "end_column", "symbol", "surface",
        "changed_in", "replacement", "fixable", "message",
    }  # fmt: skip


def test_sarif_markdown_html(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = [str(tree), "--from", "2.9.2", "--to", "3.17.2", "--format"]
    document = json.loads(_run(capsys, *base, "sarif")[1])
    result = document["runs"][0]["results"][0]
    assert problems(document) == []
    assert document["version"] == "2.1.0" and result["ruleId"] == "LL101" and result["level"] == "error"
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert rules[result["ruleIndex"]]["id"] == "LL101"
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
    assert "| `mlflow.list_experiments` | yes, broken already | 2.0.1 | `a.py:2`" in _run(capsys, *base, "markdown")[1]
    page = _run(capsys, *base, "html")[1]
    assert "a.py:2:8" in page and "http" not in page.replace("http-equiv", "")


def test_files_seen_in_part_are_in_every_output(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "old ü.py").write_text("import mlflow\nmlflow.list_experiments()\nprint 'x'\n")
    base = [str(tree), "--from", "2.9.2", "--to", "3.17.2"]
    entries = json.loads(_run(capsys, *base, "--json")[1])
    partial = [each for each in entries if each["verdict"] == "partial"]
    assert [(each["code"], each["path"]) for each in partial] == [("LL901", "old ü.py")]
    assert set(partial[0]) == set(entries[0]) and "in part" in partial[0]["message"]
    document = json.loads(_run(capsys, *base, "--format", "sarif")[1])
    assert problems(document) == []
    assert document["runs"][0]["results"][-1]["level"] == "note"
    assert "LL901" not in _run(capsys, *base, "--json", "--ignore", "LL9")[1]
    assert "LL901" not in _run(capsys, *base, "--json", "--select", "LL1")[1]
    for form in ("text", "markdown", "html"):
        out = _run(capsys, *base, "--format", form)[1]
        assert "old ü.py" in out and "LL901" not in out


def test_a_damaged_sarif_document_is_seen() -> None:
    driver = {"tool": {"driver": {"name": "x"}}}
    assert problems({"version": "2.1.0", "runs": [driver]}) == []
    damaged: list[dict[str, Any]] = [
        {},
        {"tool": {"driver": {}}},
        driver | {"result": []},
        driver | {"results": [{"ruleId": "x"}]},
    ]
    for run in damaged:
        assert problems({"version": "2.1.0", "runs": [run]})


def test_markdown_says_what_is_not_used_and_what_only_looks_like_it(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "b.py").write_text("import mlflow\nbaseline_model = f(custom_metrics=1)\nmlflow.gateway.query('x')\n")
    (tree / "c.py").write_text("baseline_model = 1\n")
    out = _run(capsys, str(tree), "--from", "2.9.2", "--to", "3.4.0", "--format", "markdown")[1]
    assert "| `mlflow.evaluate(custom_metrics=)` | no | 3.0.0 |" in out
    assert "| `mlflow.gateway.query` | yes, breaks | 3.0.0 |" in out and "| `mlflow.gateway.query` | no" not in out
    assert "- `baseline_model`: 1 line, first `b.py:2`" in out and "c.py" not in out
    assert "mlflow.diviner" not in out, "it goes in 3.7.0"


@pytest.mark.parametrize(("words", "status"), [
    (["--fail-on", "never"], 0), (["--fail-on", "deprecated"], 1), (["--ignore", "LL101"], 0),
    (["--select", "LL2"], 0), (["--select", "LL2", "--fail-on", "deprecated"], 1), (["--select", "LL101,LL203"], 1),
    (["--fail-on", "sometimes"], 2), (["--to", "2.0.1"], 2), (["--from", "nonsense"], 2), (["--from", "2.9.99"], 3),
])  # fmt: skip
def test_statuses(tree: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int) -> None:
    start = [] if "--from" in words else ["--from", "2.9.2"]
    assert _run(capsys, str(tree), *start, *words)[0] == status


def test_no_release_can_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text(_USE)
    status, _, err = _run(capsys, str(tmp_path))
    assert status == 2 and "--from 2.9.2" in err
    assert _run(capsys, str(tmp_path / "nothing"), "--from", "2.9.2")[0] == 2


def test_settings_of_pyproject(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tree / "pyproject.toml"
    settings.write_text('[tool.liftlock.scan]\nfrom = "2.9.2"\nto = "3.17.2"\nignore = ["LL101"]\n')
    assert _run(capsys, str(tree))[0] == 0
    assert _run(capsys, str(tree), "--ignore", "LL2")[0] == 1
    settings.write_text("[tool.liftlock.scan]\nform = 1\n")
    assert "form" in _run(capsys, str(tree))[2]


def test_baseline(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = tree / "known.json"
    base = [str(tree), "--from", "2.9.2"]
    assert _run(capsys, *base, "--write-baseline", str(known))[0] == 0
    (tree / "a.py").write_text("\n\n" + _USE)
    assert _run(capsys, *base, "--baseline", str(known))[0] == 0
    (tree / "b.py").write_text(_USE)
    status, out, _ = _run(capsys, *base, "--baseline", str(known), "--json")
    assert status == 1 and {each["path"] for each in json.loads(out)} == {"b.py"}
    assert _run(capsys, *base, "--baseline", str(tree / "none"))[0] == 2
    known.write_text("[]")
    assert _run(capsys, *base, "--baseline", str(known))[0] == 2


def test_diff_then_fix(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = [str(tree), "--from", "2.9.2"]
    status, out, _ = _run(capsys, *base, "--diff")
    assert status == 1 and "+mlflow.search_experiments()" in out and (tree / "a.py").read_text() == _USE
    assert _run(capsys, *base, "--fix")[0] == 3, "nobody is there to confirm"
    assert _run(capsys, *base, "--fix", "--yes")[0] == 0
    assert "search_experiments" in (tree / "a.py").read_text()
    assert _run(capsys, *base, "--fail-on", "any", "--ignore", "LL8")[0] == 0


def test_output_file(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tree / "out.sarif"
    _run(capsys, str(tree), "--from", "2.9.2", "--format", "sarif", "--output", str(target))
    assert json.loads(target.read_text())["version"] == "2.1.0"


def test_every_code_is_described() -> None:
    import re

    from liftlock.app import scan as app
    from liftlock.scan.codes import CODES, page

    source = Path(__file__).parents[3] / "src" / "liftlock" / "scan"
    given = set(re.findall(r'"(LL\d{3})"', "".join(path.read_text() for path in source.rglob("*.py"))))
    given |= {app.PARTIAL}
    assert given == {each.code for each in CODES}
    assert (source.parents[2] / "docs" / "reference" / "scan-codes.md").read_text(encoding="utf-8") == page()
