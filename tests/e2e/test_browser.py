"""Every page liftlock writes, in a real browser: quiet, alone, readable by day and by night, on any screen."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from liftlock.app.plan_report import compose
from liftlock.cli.main import main
from liftlock.evidence import document as evidence
from liftlock.knowledge.catalogue import load
from liftlock.report import document_html
from liftlock.report.plan_content import Used
from liftlock.report.plan_document import document
from tests.support import plans
from tests.support.browser import Browser, browser, chromium
from tests.support.evidence import summary

pytestmark = pytest.mark.xdist_group("browser")
WIDTHS = (1280, 390)
LONG = "a_name_without_any_place_to_break_it_that_goes_on_and_on_for_a_hundred_characters/and/then/a/path.py"


@pytest.fixture(scope="module")
def shown() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium on this machine; `apt-get install chromium` as root brings Debian's")
    with browser(program) as running:
        yield running


def plan_page() -> str:
    """A plan with every table in it, and with words that are too long for any screen."""
    rows = {"runs": 5000, "metrics": 10**6, "tags": 10**5, "trace_info": 2000, "spans": 9000}
    found = plans.deployment(rows, auth=True, name=LONG, environment={"MLFLOW_" + "X" * 90: "1"})
    used = Used(
        symbol=f"mlflow.{LONG}", verdict="breaks", changed_in="3.0.0", count=2, places=(f"{LONG}:1",),
        replacement=LONG, message="gone",
    )  # fmt: skip
    given = msgspec.structs.replace(plans.given(found), used=(used,), notes=(LONG,))
    return document_html.render(document(compose(given, load())))


def evidence_page() -> str:
    finding = {"code": "LLV001", "title": "head", "outcome": "pass", "message": LONG}
    return evidence.html(summary(issues=(LONG,), verification=(finding,), deployment=LONG))


def scan_page(place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    place.mkdir()
    (place / f"{LONG.partition('/')[0]}.py").write_text("import mlflow\nmlflow.list_experiments()\n")
    with pytest.raises(SystemExit):
        main(["scan", str(place), "--from", "2.9.2", "--to", "3.17.2", "--format", "html"])
    return capsys.readouterr().out


def check(shown: Browser, text: str, place: Path) -> None:
    page = place / "page.html"
    page.write_text(text, encoding="utf-8")
    pictures = []
    for width in WIDTHS:
        for dark in (False, True):
            seen = shown.show(page, width, dark=dark)
            where = f"at {width} pixels, {'dark' if dark else 'light'}"
            assert seen.said == (), where
            assert seen.loaded == (), where
            assert seen.needs <= width, f"{where}: it must be scrolled sideways"
            assert seen.contrast[0] >= 4.5, f"{where}: {seen.contrast[1]!r} cannot be read"
            pictures.append(base64.b64decode(seen.picture))
    assert len(set(pictures)) == len(pictures), "day and night, desk and phone look different"


def test_the_plan(shown: Browser, tmp_path: Path) -> None:
    check(shown, plan_page(), tmp_path)


def test_the_summary_of_a_run(shown: Browser, tmp_path: Path) -> None:
    check(shown, evidence_page(), tmp_path)


def test_the_result_of_a_scan(shown: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(shown, scan_page(tmp_path / "code", capsys), tmp_path)


def test_what_is_wrong_with_a_page_is_seen(shown: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><body style='color:#aaa;background:#fff'><p>pale</p><div style='width:2000px'>wide</div>"
        "<img src='http://127.0.0.1:9/x.png'><script>console.log('hello'); nowhere()</script>"
    )
    seen = shown.show(page, 390)
    assert any("hello" in each for each in seen.said)
    assert any("Uncaught" in each for each in seen.said)
    assert seen.loaded == ("http://127.0.0.1:9/x.png",)
    assert seen.needs >= 2000
    assert seen.contrast[0] < 3
