"""Commands that are run as proofs: a checklist's entries and test suites, with what was expected and what came."""

from __future__ import annotations

import shlex
import tempfile
import xml.parsers.expat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from liftlock import clock, files, proc
from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, UsageError
from liftlock.model.codec import from_json, to_json
from liftlock.model.evidence import CommandResult
from liftlock.model.finding import Outcome
from liftlock.model.secret import redact

TESTS, CHECK = "tests", "check"
_PLACE = "{junit}"
_TAIL = 4000
_BAD = ("error", "failure", "skipped")


class Unreadable(UsageError):
    """A test report that is not JUnit XML."""


def run_check(
    name: str, command: Sequence[str], *, status: int, output: str, timeout: float, cwd: Path, by: str
) -> CommandResult:
    """Run one entry of a checklist. It passes when it ends with `status` in time and prints `output`."""
    expected = f"status {status}" + (f" and {output!r} in its output" if output else "")
    return _run(CHECK, name, tuple(command), expected, timeout, cwd, by, status, output)


def run_tests(words: str, *, timeout: float, cwd: Path, by: str) -> tuple[CommandResult, bytes]:
    """Run a test suite and count in its JUnit report what really ran: the result, and the report's bytes.

    `{junit}` in the words stands for the report's path; without it `--junitxml=PATH` is added, as pytest takes it.
    Passes when it ends with status 0, at least one test ran and none failed. Raises UsageError for no words.
    """
    command = shlex.split(words)
    if not command:
        raise UsageError("--tests needs a command", hint='For example: --tests "pytest -q tests"')
    with tempfile.TemporaryDirectory(prefix="liftlock-") as directory:
        report = Path(directory, "junit.xml")
        if not any(_PLACE in word for word in command):
            command.append(f"--junitxml={_PLACE}")
        real = [word.replace(_PLACE, str(report)) for word in command]
        result = _run(TESTS, TESTS, tuple(real), "status 0 and no failure", timeout, cwd, by, 0, "")
        data = report.read_bytes() if report.exists() else b""
    result = msgspec.structs.replace(result, command=tuple(redact(word) for word in command))
    if not data:
        return msgspec.structs.replace(result, outcome=Outcome.UNKNOWN, message="it wrote no JUnit report"), b""
    try:
        counts = count(data)
    except Unreadable as error:
        return msgspec.structs.replace(result, outcome=Outcome.UNKNOWN, message=error.message), b""
    if counts["tests"] == counts["skipped"]:
        result = msgspec.structs.replace(result, outcome=Outcome.FAIL, message="no test ran")
    elif counts["failed"] or counts["errors"]:
        result = msgspec.structs.replace(result, outcome=Outcome.FAIL, message="tests failed")
    return msgspec.structs.replace(result, counts=counts), data


def count(report: bytes) -> dict[str, int]:
    """Tests, passed, failed, errors and skipped, counted case by case (a suite's own totals are not believed).

    Raises Unreadable when this is not JUnit XML, or declares entities.
    """
    reader = _Report()
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.EntityDeclHandler = reader.entity
    try:
        parser.Parse(report, True)
    except xml.parsers.expat.ExpatError as error:
        raise Unreadable(f"the JUnit report cannot be read: {error}") from None
    if not reader.suites:
        raise Unreadable("the report holds no test suite")
    names = ["error" if "error" in each else next(iter(sorted(each)), "passed") for each in reader.cases]
    return {
        "tests": len(names), "passed": names.count("passed"), "failed": names.count("failure"),
        "errors": names.count("error"), "skipped": names.count("skipped"),
    }  # fmt: skip


@dataclass
class _Report:
    suites: int = 0
    cases: list[set[str]] = field(default_factory=list)
    inside: bool = False

    def start(self, name: str, _: dict[str, str]) -> None:
        self.suites += name == "testsuite"
        if name == "testcase":
            self.cases.append(set())
            self.inside = True
        elif self.inside and name in _BAD:
            self.cases[-1].add(name)

    def end(self, name: str) -> None:
        if name == "testcase":
            self.inside = False

    def entity(self, *_: Any) -> None:
        raise Unreadable("the report declares entities, which no JUnit report needs")


class Proofs:
    """Results kept in `.liftlock/proofs`, one file each, until evidence is made of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def keep(self, result: CommandResult, report: bytes = b"") -> CommandResult:
        """Write a result, and the test report beside it. Returns it with the report's name."""
        files.private_directory(self.directory)
        name = f"{result.at:%Y%m%dT%H%M%S%f}-{result.kind}"
        if report:
            result = msgspec.structs.replace(result, report=f"{name}.xml")
            with side_effect("keep test report"):
                files.write_atomic(self.directory / result.report, report)
        with side_effect("keep proof"):
            files.write_atomic(self.directory / f"{name}.json", to_json(result, indent=2))
        return result

    def all(self) -> tuple[CommandResult, ...]:
        """Every kept result, oldest first. Raises UsageError, naming the file, for one that is damaged."""
        found = []
        for path in sorted(self.directory.glob("*.json")):
            try:
                found.append(from_json(path.read_bytes(), CommandResult))
            except ValueError as error:
                raise UsageError(f"{path} is damaged: {error}", hint="Move it away; run that proof again.") from error
        return tuple(sorted(found, key=lambda each: each.at))

    def report(self, result: CommandResult) -> bytes:
        """The test report of a result; empty when it has none or it is gone."""
        path = self.directory / result.report
        return path.read_bytes() if result.report and path.is_file() else b""


def around(results: Sequence[CommandResult], began: datetime, ended: datetime | None) -> tuple[CommandResult, ...]:
    """Of each proof the last result before the run began and the last one after it ended, marked so. Pure."""
    picked: dict[tuple[str, str, str], CommandResult] = {}
    for each in results:
        if each.at < began:
            when = "before"
        elif ended is not None and each.at >= ended:
            when = "after"
        else:
            continue
        picked[each.kind, each.name, when] = msgspec.structs.replace(each, when=when)
    return tuple(picked[key] for key in sorted(picked))


def _run(
    kind: str, name: str, command: tuple[str, ...], expected: str, timeout: float, cwd: Path, by: str, status: int,
    output: str,
) -> CommandResult:  # fmt: skip
    at, began = clock.now(), clock.monotonic()
    ended: int | None = None
    said = ""
    try:
        with side_effect(f"run {kind}"):
            done = proc.run(command, timeout=timeout, cwd=cwd, check=False, what=name)
    except CommandFailed as error:
        message, said = error.message, error.output
    else:
        ended, said = done.status, done.stdout + done.stderr
        message = "" if ended == status else f"it ended with status {ended}"
        if not message and output not in said:
            message = f"it did not print {output!r}"
    return CommandResult(
        kind=kind, name=name, command=tuple(redact(word) for word in command), expected=expected, at=at, by=by,
        seconds=round(clock.monotonic() - began, 3), status=ended, outcome=Outcome.FAIL if message else Outcome.PASS,
        message=redact(message) or "as expected", output=said[-_TAIL:],
    )  # fmt: skip
