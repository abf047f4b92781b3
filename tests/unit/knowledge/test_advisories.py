"""Verdicts by version and configuration, hops, imported OSV files, accepted risks, and bad input."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from liftlock.app.advisories import advise
from liftlock.cli.main import cli
from liftlock.errors import UsageError
from liftlock.knowledge import advisories, catalogue
from liftlock.knowledge.advisories import Accepted, Advisory, Range, State
from liftlock.model.deployment import Deployment, Role, ServerFacts, StoreFacts
from liftlock.model.release import Release
from liftlock.model.uri import Engine


def release(text: str) -> Release:
    return Release.parse(text)


def known(name: str) -> Advisory:
    return next(each for each in advisories.load().advisory if name in each.names)


def hop(old: str, new: str, **conditions: bool) -> dict[str, advisories.Row]:
    named = {key.replace("_", "-"): value for key, value in conditions.items()}
    found = advisories.report(
        release(old), release(new), advisories=advisories.load().advisory, as_of="", known=catalogue.releases(),
        before=named, after=named,
    )  # fmt: skip
    return {row.advisory.id: row for row in found.rows}


def test_the_table_is_large_and_each_row_has_a_source_and_a_grade() -> None:
    table = advisories.load()
    assert len(table.advisory) >= 85
    for each in table.advisory:
        assert each.source and each.title and each.confidence in ("high", "medium", "low"), each.id
        assert "no description" not in each.title or each.confidence == "low", each.id


def test_high_confidence_names_the_record_that_was_read() -> None:
    """Nobody's memory is a record: the vendor's or a database's own text, or a change in the database itself."""
    high = [each for each in advisories.load().advisory if each.confidence == "high"]
    assert len(high) >= 70
    for each in high:
        assert re.search(r"record of 20\d\d-\d\d-\d\d|github/advisory-database#\d+", each.source), each.id
        assert any(name.startswith(("CVE-", "GHSA-")) for name in each.names)


@pytest.mark.parametrize(
    ("name", "version", "affected"),
    [
        ("CVE-2025-52967", "2.22.1", True), ("CVE-2025-52967", "2.22.2", False), ("CVE-2025-52967", "3.0.1", True),
        ("CVE-2025-52967", "3.1.0", False), ("CVE-2025-52967", "2.6.0", False), ("CVE-2025-1473", "2.16.2", False),
        ("CVE-2025-1473", "2.17.0", True), ("CVE-2025-1473", "2.20.3", False), ("CVE-2026-8147", "2.13.3", False),
        ("GHSA-2cm6-r77w-6g96", "3.12.0", True), ("CVE-2026-0545", "3.4.0", False), ("CVE-2026-0545", "3.10.1", True),
        ("CVE-2026-4137", "3.11.1", False), ("CVE-2024-37052", "3.18.0", True), ("CVE-2026-116692", "3.18.0", None),
        ("CVE-2024-1560", "2.9.2", True), ("CVE-2024-1560", "2.10.0", None), ("CVE-2026-13484", "3.14.0", False),
        ("CVE-2026-71211", "3.16.1", True), ("CVE-2026-71211", "3.17.0", False), ("CVE-2026-3198", "3.15.2", True),
        ("CVE-2024-3848", "2.9.1", False), ("CVE-2024-3848", "2.11.3", True), ("CVE-2024-37060", "3.0.1", False),
    ],
)  # fmt: skip
def test_ranges(name: str, version: str, affected: bool | None) -> None:
    assert known(name).affects(release(version)) is affected


def test_a_hop_fixes_leaves_and_gains() -> None:
    rows = hop("3.4.0", "3.9.0", basic_auth=True, jobs=True)
    assert rows["CVE-2026-0545"].change == "gained" and rows["CVE-2026-0545"].after.state is State.EXPOSED
    assert rows["CVE-2026-2652"].change == "left"
    assert rows["CVE-2026-2033"].change == "fixed" and rows["CVE-2026-2033"].after.state is State.NOT_AFFECTED
    assert "CVE-2023-1177" not in rows, "concerns neither release"


def test_no_fix_in_the_line_is_told_from_a_fix() -> None:
    rows = hop("2.22.1", "3.17.2")
    assert rows["CVE-2025-52967"].fix_in_line == release("2.22.2")
    assert rows["CVE-2026-8147"].fix_in_line is None, "there is no 2.x with the fix"


def test_configuration_decides_exposure_and_what_is_not_known_stays_unknown() -> None:
    bypass = known("CVE-2026-0545")
    at = release("3.9.0")
    assert advisories.judge(bypass, at, {"basic-auth": True, "jobs": True}).state is State.EXPOSED
    assert advisories.judge(bypass, at, {"basic-auth": False}).state is State.NOT_EXPOSED
    unclear = advisories.judge(bypass, at, {"basic-auth": True})
    assert unclear.state is State.UNKNOWN and "jobs" in unclear.why
    assert advisories.judge(bypass, release("3.4.0"), {}).state is State.NOT_AFFECTED
    assert advisories.judge(known("CVE-2026-116692"), at, {}).state is State.UNKNOWN


def test_an_accepted_risk_holds_until_its_day() -> None:
    entry = Accepted(id="GHSA-2cm6-r77w-6g96", owner="ann", reason="no traces here", expires=date(2026, 12, 31))
    flaw, at, conditions = known("CVE-2026-8147"), release("3.12.0"), {"basic-auth": True}
    taken = advisories.judge(flaw, at, conditions, [entry], date(2026, 12, 31))
    assert taken.state is State.ACCEPTED and "ann" in taken.why and "2026-12-31" in taken.why
    lapsed = advisories.judge(flaw, at, conditions, [entry], date(2027, 1, 1))
    assert lapsed.state is State.EXPOSED and "ended on 2026-12-31" in lapsed.why


def deployment(version: str, arguments: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Deployment:
    server = ServerFacts(
        release=release(version), python="/p", host="h", port=1, workers=1, working_directory="/", arguments=arguments,
        environment=env or {}, app_name="basic-auth" if "--app-name=basic-auth" in arguments else None,
    )  # fmt: skip
    store = StoreFacts(
        role=Role.TRACKING, engine=Engine.SQLITE, uri="", engine_version="", revision=None, version_table=None,
        versions={}, tables=(), bytes=0,
    )  # fmt: skip
    return Deployment(
        name="d", taken_at=datetime.now(UTC), runtime="process", server=server, stores=(store,), artifacts=()
    )


def test_conditions_come_from_the_deployment_and_the_release_judged() -> None:
    found = advisories.conditions_of(deployment("3.4.0", ("--app-name=basic-auth", "--no-serve-artifacts")))
    assert found == {"basic-auth": True, "jobs": False, "file-store": False, "artifact-proxy": False}
    assert advisories.conditions_of(deployment("3.4.0"), release("3.9.0"))["jobs"], "on by default from 3.9"
    off = deployment("3.9.0", env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    assert not advisories.conditions_of(off)["jobs"]


OSV: dict[str, Any] = {
    "id": "GHSA-new1", "aliases": ["CVE-2026-99999"], "summary": "a new flaw",
    "affected": [{
        "package": {"ecosystem": "PyPI", "name": "mlflow"},
        "ranges": [{"type": "ECOSYSTEM", "events": [
            {"introduced": "0"}, {"fixed": "2.10.0"}, {"introduced": "3.0.0"}, {"last_affected": "3.4.0"},
        ]}],
    }],
}  # fmt: skip


def written(directory: Path, data: object) -> Path:
    path = directory / "osv.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_osv_files_are_read(tmp_path: Path) -> None:
    (found,) = advisories.read_osv(written(tmp_path, OSV))
    assert found.affected == (Range(introduced="0", fixed="2.10.0"), Range(introduced="3.0.0", last="3.4.0"))
    states = {text: found.affects(release(text)) for text in ("2.9.2", "2.10.0", "3.0.0", "3.4.0", "3.5.0")}
    assert states == {"2.9.2": True, "2.10.0": False, "3.0.0": True, "3.4.0": True, "3.5.0": False}
    assert (found.title, found.source) == ("a new flaw", "osv.json")


def test_osv_lists_versions_withdrawn_and_other_packages(tmp_path: Path) -> None:
    listed = {**OSV, "affected": [{"package": {"name": "mlflow"}, "versions": ["2.9.1", "2.9.2"]}]}
    other = {**OSV, "affected": [{"package": {"name": "flask"}}]}
    found = advisories.read_osv(written(tmp_path, [listed, other, {**OSV, "withdrawn": "2026-01-01T00:00:00Z"}]))
    assert len(found) == 1 and found[0].affects(release("2.9.2")) and not found[0].affects(release("2.9.0"))


def test_an_imported_range_replaces_the_tables_and_keeps_its_conditions(tmp_path: Path) -> None:
    data = {**OSV, "id": "OSV-1", "aliases": ["CVE-2026-0545"]}
    rows = advisories.merged(advisories.load().advisory, advisories.read_osv(written(tmp_path, data)))
    row = next(each for each in rows if each.id == "CVE-2026-0545")
    assert row.needs == ("basic-auth", "jobs") and row.confidence == "imported"
    assert row.affects(release("3.9.0")) is False and "OSV-1" in row.aliases
    assert len(rows) == len(advisories.load().advisory)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('{"id": "x",\n "a"', "line 2"), ([1], "line 1: an entry has no id"),
        ('[\n {"id": "x"},\n\n {"id": 3}]', "line 4: an entry has no id"),
        ({**OSV, "affected": [{"package": {"name": "mlflow"}, "versions": ["two"]}]}, "'two' is not a version"),
        ({**OSV, "affected": [{"package": "mlflow"}]}, "line 1: GHSA-new1"),
    ],
)  # fmt: skip
def test_malformed_osv(tmp_path: Path, data: object, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        advisories.read_osv(written(tmp_path, data))
    assert says in caught.value.message and "osv.json" in caught.value.message


def test_a_missing_osv_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        advisories.read_osv(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[accepted]]\nid='x'\nowner='o'\nreason='r'\n", "expires"),
        ("[[accepted]]\nid='x'\nowner=' '\nreason='r'\nexpires=2026-12-31\n", "line 1: x has no owner"),
        ("\n# ours\n[[accepted]]\nid='x'\nowner='o'\nreason='r'\n", "line 3: "),
        ("[[accepted]]\nid=\n", "line 2"), ("[[accepted]]\nid='x'\nwho='o'\n", "accepted"),
    ],
)  # fmt: skip
def test_malformed_acceptances(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "risks.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        advisories.read_accepted(path)
    assert says in caught.value.message and "risks.toml" in caught.value.message


_ROW = "[[advisory]]\nid='A'\ntitle='t'\naffected=[{introduced='1.0'}]\nconfidence='low'\nsource='s'\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_ROW + "needs=['moon']\n", "moon"), (_ROW + _ROW, "twice"), (_ROW.replace("'1.0'", "'one'"), "not a version"),
        (_ROW.replace("source='s'\n", ""), "source"),
    ],
)  # fmt: skip
def test_a_malformed_table_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        advisories.parse("format=1\nas_of='2026-01-01'\n[conditions]\n" + text, "table.toml")


def test_the_command(tmp_path: Path) -> None:
    words = ["advisories", "--from", "2.9.2", "--to", "3.17.2", "--with", "basic-auth", "--json"]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert result.return_value == 1
    rows = {row["advisory"]["id"]: row for row in json.loads(result.output)["rows"]}
    assert rows["CVE-2025-11201"]["change"] == "fixed" and rows["CVE-2025-11201"]["before"]["state"] == "exposed"
    text = CliRunner().invoke(cli, ["advisories", "--from", "3.10.1"], standalone_mode=False).output
    assert "as of" in text and "CVE-2026-8147" in text and "Say with --with" in text
    wrong = CliRunner().invoke(cli, ["advisories", "--from", "3.10.1", "--with", "moon"], standalone_mode=False)
    assert isinstance(wrong.exception, UsageError) and "basic-auth" in wrong.exception.hint


def test_the_deployments_release_and_facts_are_taken_and_a_persons_answer_wins() -> None:
    running = deployment("3.9.0", ("--app-name=basic-auth",))
    rows = {row.advisory.id: row for row in advise(None, "3.17.2", said={}, deployment=running).rows}
    assert rows["CVE-2026-0545"].before.state is State.EXPOSED
    assert rows["CVE-2026-53995"].before.state is State.NOT_EXPOSED, "the store is a database"
    rows = {row.advisory.id: row for row in advise(None, None, said={"jobs": False}, deployment=running).rows}
    assert rows["CVE-2026-0545"].after.state is State.NOT_EXPOSED
    with pytest.raises(UsageError, match="which release runs"):
        advise(None, "3.17.2", said={})


def test_a_condition_given_both_ways_is_refused() -> None:
    words = ["advisories", "--from", "3.10.1", "--with", "jobs", "--without", "jobs"]
    assert isinstance(CliRunner().invoke(cli, words, standalone_mode=False).exception, UsageError)
