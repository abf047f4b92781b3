"""Proofs: commands with an expected outcome, and test reports counted case by case."""

from __future__ import annotations

import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liftlock.errors import UsageError
from liftlock.evidence import proofs
from liftlock.model.evidence import CommandResult
from liftlock.model.finding import Outcome
from liftlock.model.secret import remember

PY = sys.executable


def check(*words: str, **wanted: Any) -> CommandResult:
    expected: dict[str, Any] = {"status": 0, "output": "", "timeout": 20.0, "cwd": Path("/"), "by": "me", **wanted}
    return proofs.run_check("n", words, **expected)


def test_a_check_says_what_came(tmp_path: Path) -> None:
    assert check(PY, "-c", "print('fine')", output="fine").outcome is Outcome.PASS
    assert check(PY, "-c", "raise SystemExit(3)", status=3).outcome is Outcome.PASS
    assert "status 3" in check(PY, "-c", "raise SystemExit(3)").message
    other = check(PY, "-c", "print('other')", output="fine")
    assert other.outcome is Outcome.FAIL and "did not print 'fine'" in other.message and "other" in other.output
    late = check(PY, "-c", "import time; time.sleep(30)", timeout=0.3)
    assert late.outcome is Outcome.FAIL and late.status is None and "within" in late.message
    assert "could not be started" in check(str(tmp_path / "missing")).message
    assert check(PY, "-c", "import sys; print('err', file=sys.stderr)", output="err").outcome is Outcome.PASS


def test_a_secret_is_in_no_result() -> None:
    word = f"canary-{uuid.uuid4().hex}"
    remember(word)
    assert word not in repr(check(PY, "-c", f"print('{word}'); raise SystemExit(1)"))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(
        "import pytest as p\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "@p.mark.skip\ndef test_skipped(): pass\n"
        "@p.fixture\ndef broken(): raise ValueError\n"
        "def test_error(broken): pass\n"
        "@p.fixture\ndef late():\n    yield\n    raise ValueError\n"
        "def test_teardown(late): pass\n"
    )
    return tmp_path


def pytest_words(*more: str) -> str:
    return " ".join([PY, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *more])


def test_a_real_suite_is_counted(suite: Path) -> None:
    result, report = proofs.run_tests(pytest_words("test_it.py"), timeout=60, cwd=suite, by="me")
    # pytest reports a test that passed and whose fixture failed afterwards as two cases of one name
    assert (result.counts["failed"], result.counts["skipped"], result.counts["errors"]) == (1, 1, 2)
    assert result.counts["tests"] == sum(result.counts[n] for n in ("passed", "failed", "errors", "skipped"))
    assert result.outcome is Outcome.FAIL and b"<testcase" in report
    good, _ = proofs.run_tests(
        pytest_words("test_it.py", "-k", "good", "--junit-xml={junit}"), timeout=60, cwd=suite, by="me"
    )
    assert good.outcome is Outcome.PASS and good.counts["passed"] == good.counts["tests"] == 1
    assert "{junit}" in good.command[-1]


def test_no_test_run_is_no_pass(suite: Path) -> None:
    none, _ = proofs.run_tests(pytest_words("test_it.py", "-k", "skipped"), timeout=60, cwd=suite, by="me")
    assert (none.outcome, none.message) == (Outcome.FAIL, "no test ran")
    quiet, data = proofs.run_tests(f"{PY} -c pass", timeout=60, cwd=suite, by="me")
    assert (quiet.outcome, data) == (Outcome.UNKNOWN, b"")
    with pytest.raises(UsageError):
        proofs.run_tests(" ", timeout=60, cwd=suite, by="me")


@pytest.mark.parametrize(
    "report",
    [b"", b"no xml", b"<a/>", b"<testsuite><testcase></testsuite>",
     b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite><testcase>&a;</testcase></testsuite>'],
)  # fmt: skip
def test_what_is_no_report(report: bytes) -> None:
    with pytest.raises(proofs.Unreadable):
        proofs.count(report)


def test_totals_that_a_report_claims_are_not_believed() -> None:
    report = b'<testsuites tests="1719"><testsuite tests="1719" failures="0"><testcase/></testsuite></testsuites>'
    assert proofs.count(report)["tests"] == 1


def test_results_are_kept_and_picked_around_a_run(tmp_path: Path) -> None:
    kept = proofs.Proofs(tmp_path / "proofs")
    assert kept.all() == ()
    first = check(PY, "-c", "pass")
    began = first.at + timedelta(seconds=10)
    ended = began + timedelta(seconds=10)
    times = [first.at, began - timedelta(seconds=1), began, ended - timedelta(seconds=1), ended,
             ended + timedelta(seconds=5)]  # fmt: skip
    for number, at in enumerate(times):
        kept.keep(msgspec.structs.replace(first, at=at, message=str(number)), b"<testsuite/>")
    results = kept.all()
    assert [each.message for each in results] == list("012345")
    picked = proofs.around(results, began, ended)
    assert [(each.when, each.message) for each in picked] == [("after", "5"), ("before", "1")]
    assert [each.when for each in proofs.around(results, began, None)] == ["before"]
    assert kept.report(picked[0]) == b"<testsuite/>"
    next((tmp_path / "proofs").glob("*.json")).write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        kept.all()
