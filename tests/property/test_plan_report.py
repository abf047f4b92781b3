"""A plan report is a pure function of its facts, and every form of it says the same, whatever the names in it are."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftlock.app.plan_report import Given, compose
from liftlock.knowledge.catalogue import load
from liftlock.knowledge.compatibility import State
from liftlock.knowledge.fates import Seen
from liftlock.model.codec import from_json, to_json
from liftlock.model.plan import Origin
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.report import document_html, document_markdown, document_text
from liftlock.report.document import Bullets, Document, Section, Table
from liftlock.report.plan_content import PlanReport, Room, Used
from liftlock.report.plan_document import document
from tests.support import plans
from tests.support.pages import look

SOURCES = ("1.30.1", "2.9.2", "2.22.5", "3.4.0", "3.16.1", "3.17.1")
hostile = st.text(alphabet=st.sampled_from("ab<>&\"'`|\\*_[]#\n é"), min_size=1, max_size=12)
counts = st.integers(0, 10**8)
slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def facts(draw: st.DrawFn) -> Given:
    tables = ("runs", "metrics", "trace_info", "trace_tags", "model_versions", "spans", "jobs", "tags")
    found = plans.deployment(
        {table: draw(counts) for table in draw(st.lists(st.sampled_from(tables), unique=True))},
        auth=draw(st.booleans()), source=draw(st.sampled_from(SOURCES)),
        engine=draw(st.sampled_from([Engine.SQLITE, Engine.POSTGRESQL])),
        arguments=draw(st.sampled_from([(), ("--serve-artifacts",), ("--gone-option", "x"), ("--allowed-hosts=a",)])),
        environment=draw(st.dictionaries(st.sampled_from(["MLFLOW_RECIPES_PROFILE", "MLFLOW_MINE"]), hostile)),
        host=draw(st.sampled_from(["127.0.0.1", "0.0.0.0"])), name=draw(hostile),
    )  # fmt: skip
    used = st.builds(
        Used, symbol=hostile, verdict=st.sampled_from(["breaks", "broken", "behaviour"]), changed_in=st.just("3.0.0"),
        count=st.integers(1, 99), places=st.tuples(hostile), replacement=hostile, message=hostile,
    )  # fmt: skip
    seen = st.builds(
        Seen, kind=hostile, version=st.sampled_from(["", "1.30.1", "2.9.2", "3.17.2", "x y"]), requests=counts,
        writes=counts, failed=counts, peers=counts, first=st.just(0.0), last=st.floats(0, 4e9),
        endpoints=st.dictionaries(
            st.sampled_from(["POST /api/2.0/mlflow/runs/create", "POST /api/2.0/preview/mlflow/runs/create"]), counts
        ),
    )  # fmt: skip
    return msgspec.structs.replace(
        plans.given(found),
        used=draw(st.none() | st.lists(used, max_size=3).map(tuple)),
        seen=draw(st.none() | st.lists(seen, max_size=4).map(tuple)),
        python=draw(st.sampled_from(["", "3.9.2", "3.11.7"])),
        room=(Room(path=draw(hostile), needed=draw(counts), free=draw(counts)),),
    )


@slow
@given(facts())
def test_same_facts_same_report_and_no_number_without_origin(known: Given) -> None:
    report = compose(known, load())
    assert compose(known, load()) == report
    assert from_json(to_json(report), PlanReport) == report
    jump = known.plan.jump
    for stop in report.stops:
        assert stop.reason
        assert jump.source < stop.release < jump.target
    assert report.why_stops
    expected = sum(len(jump.auth if each.role.value == "auth" else jump.tracking) for each in known.deployment.stores)
    assert len(report.migrations) == expected
    for each in report.migrations:
        assert each.seconds.origin is not Origin.UNKNOWN
        assert each.seconds.low is not None
        assert each.seconds.high is not None
        assert 0 <= each.seconds.low <= each.seconds.high
        assert all(count > 0 for count in each.rows.values())
    weights = [risk.weight for risk in report.risks]
    assert weights == sorted(weights, reverse=True)
    assert all(1 <= weight <= 9 for weight in weights)
    assert all(risk.because and risk.answer for risk in report.risks)
    assert (report.fates is None) == (known.seen is None)
    assert sum(fate.seen.requests for fate in report.fates or ()) == sum(each.requests for each in known.seen or ())
    assert all(fate.evidence for fate in report.fates or ())
    assert all(fate.gone or fate.broken for fate in report.fates or () if fate.state is State.BREAKS)
    unknown = " ".join(report.unknown)
    assert ("no scan was given" in unknown) == (known.used is None)
    assert ("no access log" in unknown) == (known.seen is None)


@slow
@given(facts())
def test_every_form_says_the_same_and_survives_any_name(known: Given) -> None:
    report = compose(known, load())
    whole = document(report)
    page = look(document_html.render(whole))
    assert page.wrong == []
    assert page.outside == [], "the page needs nothing from outside"
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert page.headings[0] == 1
    assert set(page.headings[1:]) == {2}
    assert page.attributes["html"]["lang"] == "en"
    tables = [block for section in whole.sections for block in section.blocks if isinstance(block, Table)]
    assert page.tags["caption"] == page.tags["table"] == len(tables) + 1
    for shown, table in zip(page.tables[1:], tables, strict=True):
        assert len(shown) == len(table.rows) + 1
        assert all(len(row) == len(table.headers) for row in shown)
        assert [_words(cell) for row in shown[1:] for cell in row] == [_words(c) for row in table.rows for c in row]
    markdown = document_markdown.render(whole)
    for line in markdown.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")
    rows = sum(line.startswith("| ") for line in markdown.splitlines())
    assert rows == sum(len(table.rows) + 2 for table in [*tables, *[b for b in whole.lead if isinstance(b, Table)]])
    text = document_text.render(whole)
    for section in whole.sections:
        assert section.title in text
    _assert_columns(tables)


words = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
tables = st.lists(st.tuples(words, words), max_size=4).map(lambda rows: Table(("one", "two"), tuple(rows)))
blocks: Any = words | tables | st.builds(Bullets, st.lists(words, max_size=3).map(tuple), st.booleans())
sections = st.builds(Section, words, st.lists(blocks, max_size=3).map(tuple))


@settings(max_examples=60, deadline=None)
@given(
    st.builds(Document, words.filter(str.strip), st.tuples(blocks), st.lists(sections, max_size=3).map(tuple), words)
)
def test_any_text_is_shown_as_text(whole: Document) -> None:
    page = look(document_html.render(whole))
    assert page.wrong == []
    assert page.outside == []
    assert len(page.ids) == len(set(page.ids))
    for section in whole.sections:
        assert _words(section.title) in _words(page.text)
    for line in document_markdown.render(whole).splitlines():
        assert "<" not in re.sub(r"`[^`]*`|\\<", "", line)
    assert document_text.render(whole).startswith(whole.title)


def test_what_the_report_of_a_real_jump_says() -> None:
    found = plans.deployment(
        {"runs": 20, "metrics": 6000, "model_versions": 2}, auth=True, host="0.0.0.0",
        arguments=("--serve-artifacts", "--no-such-option", "x"), environment={"MLFLOW_RECIPES_PROFILE": "p"},
    )  # fmt: skip
    report = compose(plans.given(found), load())
    assert [len([m for m in report.migrations if m.role.value == role]) for role in ("tracking", "auth")] == [44, 6]
    index = next(each for each in report.migrations if each.revision == "a5b4c3d2e1f0")
    assert (index.release, index.rows) == ("3.12.0", {"metrics": 6000})
    states = {each.word: each.state.value for each in report.line}
    assert states["--serve-artifacts"] == "kept"
    assert states["--no-such-option"] == "not MLflow's"
    assert states["MLFLOW_RECIPES_PROFILE"] == "gone"
    assert "--allowed-hosts" in report.new_options
    assert any(each.word == "MLFLOW_HTTP_REQUEST_MAX_RETRIES" for each in report.defaults)
    worst = {risk.what for risk in report.risks if risk.weight >= 6}
    assert "requests through a public name are refused with status 403" in worst
    fixed = [row for row in report.advisories.rows if row.change == "fixed"]
    assert len(fixed) > 10
    assert next(each for each in report.old_clients if each.client == Release(version="2.9.2")).state is State.WORKS
    assert next(each for each in report.new_clients if each.client == Release(version="3.17.2")).state is State.BREAKS


def _assert_columns(shown: list[Table]) -> None:
    """A table on a terminal loses no word and is no wider than it may be."""
    for table in shown:
        text = document_text.columns(table.headers, table.rows)
        assert max(map(len, text.splitlines())) <= 140
        said = sorted(text.replace("-", ""))
        assert [each for each in said if not each.isspace()] == sorted(
            each for row in (table.headers, *table.rows) for cell in row for each in _words(cell).replace("-", "")
        )


def _words(text: str) -> str:
    return " ".join(text.replace("`", " ").split()).replace(" ", "")
