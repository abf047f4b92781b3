"""Prove a running server: health, version, page, public names, sampled content, and real clients of both releases."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from liftlock.errors import LiftlockError, ServerError
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.release import Release
from liftlock.model.secret import Secret
from liftlock.releases.tools import SmokeReport
from liftlock.verify.http import Client
from liftlock.verify.sample import RestSample, compare_samples, take_sample


def verify_server(
    url: str,
    release: Release,
    *,
    login: tuple[str, Secret] | None,
    public_names: Iterable[str] = (),
    before: RestSample | None = None,
) -> tuple[Finding, ...]:
    """Ask a server everything that can be asked over plain HTTP. Never raises; what could not be asked is UNKNOWN."""
    client = Client(url, login=login)
    found = [
        _probe("LLV020", "health", lambda: _equals(client.get("/health"), b"OK")),
        _probe("LLV021", "version", lambda: _equals(client.get("/version"), release.version.encode())),
        _probe("LLV026", "web page", lambda: _page(client)),
    ]
    for name in public_names:
        named = Client(url, login=login, host=name)
        found.append(_probe("LLV027", f"public name {name}", functools.partial(_api, named)))
    if before is not None:
        try:
            found.extend(compare_samples(before, take_sample(client)))
        except ServerError as error:
            found.append(Finding(code="LLV022", title="content over REST", outcome=Outcome.FAIL, message=error.message))
    return tuple(found)


def smoke_findings(report: SmokeReport, client: str, tolerated: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
    """One finding per operation of a real client's round. `tolerated` operations may fail (a warning then):
    those that failed against the old server too, or that the client's release cannot do on that server.
    """
    findings = []
    for operation in report.operations:
        outcome = {"ok": Outcome.PASS, "failed": Outcome.FAIL}.get(operation.outcome, Outcome.SKIPPED)
        mild = outcome is Outcome.FAIL and operation.name in tolerated
        findings.append(
            Finding(
                code="LLV030",
                title=f"{client} client: {operation.name}",
                outcome=outcome,
                severity=Severity.WARNING if mild else Severity.ERROR,
                message=operation.message or f"{operation.seconds:.2f} s",
            )
        )
    return tuple(findings)


def _probe(code: str, title: str, ask: Callable[[], str]) -> Finding:
    try:
        problem = ask()
    except LiftlockError as error:
        return Finding(code=code, title=title, outcome=Outcome.FAIL, message=error.message, hint=error.hint)
    outcome = Outcome.FAIL if problem else Outcome.PASS
    return Finding(code=code, title=title, outcome=outcome, message=problem or "as it should be")


def _equals(answer: tuple[int, bytes], expected: bytes) -> str:
    status, body = answer
    if status == 200 and body.strip() == expected:
        return ""
    return f"answered {status} {body[:80]!r}, expected {expected!r}"


def _page(client: Client) -> str:
    status, body = client.get("/")
    return "" if status == 200 and b"<html" in body.lower() else f"answered {status} and no page"


def _api(client: Client) -> str:
    client.json("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1})
    return ""
