"""The summary as a document, and the lines it is made of."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from liftlock.engine.journal import Journal
from liftlock.evidence import account, document
from liftlock.model.fingerprint import Fingerprint, TableFingerprint
from liftlock.model.journal import Kind
from tests.support.evidence import summary

FINDING = {"code": "LLV001", "title": "head", "outcome": "pass", "message": "<b>|x|</b>"}


class Tags(HTMLParser):
    """The names of all tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


def test_the_log_entry_says_who_what_and_how_long() -> None:
    text = document.markdown(summary(issues=("start failed",), verification=(FINDING,)))
    for line in ("## 2026-01-02: 2.9.2 to 3.17.2", "- Performed by: jane@host", "Writes were held for: 1.5 s",
                 "- Issues: start failed", "- Way back: open"):  # fmt: skip
        assert line in text
    assert "not measured" in document.markdown(summary(write_hold_seconds=None))
    assert "not ended" in document.markdown(summary(ended_at=None))


def test_the_watch_is_told_or_said_to_be_missing() -> None:
    assert "It was not watched." in document.markdown(summary())
    watch = {
        "run": "upgrade-1", "release": "3.17.2", "by": "jane", "began_at": "2026-01-02T03:05:00Z", "requests": 4711,
        "until": "2026-01-03T03:05:00Z", "rolled_back": "rollback-1",
        "findings": [{"code": "LLW003", "title": "p95", "outcome": "fail", "message": "40 ms -> 80 ms (+100%)"}],
    }  # fmt: skip
    text = document.markdown(summary(watch=watch))
    assert "4711 requests from 2026-01-02 03:05 to 2026-01-03 03:05 UTC; rolled back: rollback-1. 1 failed." in text
    assert "| LLW003 | p95 | fail | 40 ms -> 80 ms (+100%) |" in text.replace("\\", "")


def test_text_from_outside_stays_text() -> None:
    hostile = summary(operator="<script>x</script>\n# not a heading", verification=(FINDING,), deployment="a|b<i>")
    text = document.markdown(hostile)
    for tag in ("<script", "<b>", "<i>"):
        assert tag not in text.replace("\\<", "")
    assert "\n# not" not in text
    row = next(line for line in text.splitlines() if "LLV001" in line)
    assert row.replace("\\|", "").count("|") == 5
    page = document.html(hostile)
    parser = Tags()
    parser.feed(page)
    seen = parser.seen
    assert "script" not in seen and "i" not in seen and "table" in seen


def test_steps_that_failed_and_were_taken_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    for kind, step, payload in (
        (Kind.RUN_STARTED, "", {"kind": "upgrade"}),
        (Kind.INTENT, "a", {"title": "do a"}), (Kind.DONE, "a", {}),
        (Kind.INTENT, "b", {"title": "do b"}), (Kind.NOTE, "probe:b", {"probe": "partial"}),
        (Kind.INTENT, "b", {"title": "do b"}), (Kind.FAILED, "b", {"message": "disk full"}),
        (Kind.UNDO_INTENT, "b", {"reason": "disk full"}), (Kind.UNDONE, "b", {}),
        (Kind.UNDO_INTENT, "a", {"reason": "disk full"}), (Kind.NOTE, "undo-failed:a", {"message": "busy"}),
    ):  # fmt: skip
        journal.append("r", kind, step, payload)
    entries = journal.entries()
    assert [(each.title, each.state) for each in account.steps(entries)] == [
        ("do a", "being taken back"), ("do b", "begun"), ("do b", "taken back"),
    ]  # fmt: skip
    assert account.issues(entries) == (
        "cut off during b, then found partial", "b failed: disk full", "put back: disk full",
        "taking back a failed: busy",
    )  # fmt: skip


def test_databases_and_packages() -> None:
    def fingerprint(**tables: tuple[int, str]) -> Fingerprint:
        made = tuple(
            TableFingerprint(table=name, rows=rows, sum1=str(rows), sum2="0", columns=tuple(columns))
            for name, (rows, columns) in tables.items()
        )
        return Fingerprint(algorithm="x", tables=made)

    old = fingerprint(runs=(2, "ab"), tags=(1, "a"), gone=(0, "a"), same=(4, "c"))
    (line,) = account.databases(
        {"tracking": old, "auth": fingerprint()},
        {"tracking": fingerprint(runs=(2, "abc"), tags=(2, "a"), new=(1, "a"), same=(4, "c"))},
    )
    assert (line.role, line.rows_before, line.rows_after, line.tables_after) == ("tracking", 7, 9, 4)
    assert (line.added, line.removed, line.altered, line.changed) == (("new",), ("gone",), ("runs",), ("tags",))
    changes = account.packages("mlflow==2.9.2\nsix==1.0\nold==1\n", "mlflow==3.4.0 \\\n  --hash=x\nsix==1.0\nnew==2\n")
    assert [(each.name, each.before, each.after) for each in changes] == [
        ("mlflow", "2.9.2", "3.4.0"), ("new", "", "2"), ("old", "1", ""),
    ]  # fmt: skip
