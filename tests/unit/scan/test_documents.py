"""Real documents (their code, inline code and tables): what is dead or never was is found, what lives is not."""

from pathlib import Path

from tests.support.scan import findings

_PLACE = Path(__file__).parents[2] / "support" / "scan_documents"


def _symbols(name: str, old: str, new: str) -> dict[str, int]:
    text = (_PLACE / name).read_text(encoding="utf-8")
    found: dict[str, int] = {}
    for each in findings(text, name, old, new):
        found[each.symbol] = found.get(each.symbol, 0) + 1
    return found


def test_chart_guide() -> None:
    assert _symbols("chart-guide.txt", "2.7.0", "2.9.2") == {
        "mlflow experiments search --max-results": 3,
        "mlflow models list": 1,
        "mlflow db upgrade --verbose": 1,
    }


def test_chart_guide_for_a_release_that_has_the_option() -> None:
    text = (_PLACE / "chart-guide.txt").read_text(encoding="utf-8")
    found = [each for each in findings(text, "guide.txt", "3.8.0", "3.17.2") if "max-results" in each.symbol]
    assert found == []


def test_upgrade_summary_is_all_false_friends() -> None:
    assert _symbols("upgrade-summary.txt", "2.9.2", "3.4.0") == {}


def test_official_page() -> None:
    assert _symbols("official-page.txt", "2.9.2", "3.17.2") == {}


def test_playbook() -> None:
    assert _symbols("playbook.txt", "3.6.0", "3.7.0") == {
        "mlflow experiments export": 1,
        "/api/2.0/mlflow/experiments/list": 1,
        "MLFLOW_DB_URI": 1,
    }


def test_app_guide() -> None:
    found = _symbols("app-guide.txt", "2.14.3", "2.22.5")
    assert set(found) == {
        "MLFLOW_ENABLE_TRACKING", "MLFLOW_ENABLE_TRACING", "MLFLOW_BACKEND_STORE", "MLFLOW_ARTIFACT_ROOT",
    }  # fmt: skip
