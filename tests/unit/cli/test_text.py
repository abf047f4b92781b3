"""Values as text for a terminal."""

from __future__ import annotations

from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.plan import Estimate, Origin
from liftlock.report import text


def test_table_aligns_and_does_not_pad_the_end() -> None:
    lines = text.table(("a", "long name"), [("xxxx", 1), ("y", "zz")]).splitlines()
    assert lines == ["a     long name", "----  ---------", "xxxx  1", "y     zz"]
    assert text.table(("a",), []).splitlines() == ["a", "-"]


def test_findings_show_what_needs_attention_and_hints() -> None:
    found = [
        Finding(code="A", title="fine", outcome=Outcome.PASS, message="ok so"),
        Finding(code="B", title="bad", outcome=Outcome.FAIL, message="no", hint="mend it"),
        Finding(code="C", title="mild", outcome=Outcome.FAIL, severity=Severity.WARNING),
        Finding(code="D", title="dark", outcome=Outcome.UNKNOWN, message="why", hint="ask"),
        Finding(code="E", title="other", outcome=Outcome.SKIPPED, message="not here", hint="never shown"),
    ]
    shown = text.findings(found)
    assert [line.split()[0] for line in shown.splitlines()] == ["ok", "FAIL", "hint:", "warn", "????", "hint:", "skip"]
    assert "never shown" not in shown
    assert "fine" not in text.findings(found, verbose=False)
    assert text.tally(found) == "1 ok, 2 failed, 1 unknown, 1 skipped"
    assert text.tally([]) == "nothing checked"


def test_numbers_as_a_person_says_them() -> None:
    assert [text.seconds(value) for value in (0, 0.44, 9.96, 12.4, 119, 200)] == [
        "0.0 s", "0.4 s", "10.0 s", "12 s", "119 s", "3 min 20 s",
    ]  # fmt: skip
    assert [text.hold(value) for value in (0.026, 0.6, 1.44)] == ["0.03 s", "0.60 s", "1.4 s"]
    assert [text.size(value) for value in (0, 512, 1300, 2.5e6, 7e12)] == [
        "0 B",
        "512 B",
        "1.3 kB",
        "2.5 MB",
        "7000.0 GB",
    ]


def test_no_estimate_without_its_origin() -> None:
    assert text.estimate(Estimate(low=None, high=None, origin=Origin.UNKNOWN)) == "unknown"
    assert text.estimate(Estimate(low=4, high=9, origin=Origin.REHEARSED)) == "4.0 s to 9.0 s (rehearsed)"
    assert text.estimate(Estimate(low=4, high=9, origin=Origin.UNKNOWN)) == "unknown"


def test_run_summary_counts_findings() -> None:
    findings = [{"code": "A", "title": "t", "outcome": "pass", "severity": "error"}]
    shown = text.run_summary(
        {"verify": {"seconds": 1.5, "findings": findings}, "migrate": {"to": "x", "revisions": [1, 2]}}
    )
    assert "1 ok" in shown
    assert "2 revisions" in shown
