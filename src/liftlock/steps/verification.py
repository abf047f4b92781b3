"""Verification as steps: data right after the migration, and the running server before the upgrade counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import LiftlockError, NeedsPerson
from liftlock.model.codec import from_builtins, to_builtins
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding, Outcome, Severity, blocking
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.release import Release
from liftlock.releases.environment import Environment
from liftlock.releases.tools import ReleaseTools, SmokeReport
from liftlock.steps.fingerprint import comparable_fingerprint
from liftlock.steps.migrate import Warmth, cached
from liftlock.steps.site import Site, server_url
from liftlock.steps.written import changed_since
from liftlock.verify.data import verify_migrated
from liftlock.verify.http import Client
from liftlock.verify.live import smoke_findings, verify_server
from liftlock.verify.sample import RestSample, take_sample

Baseline = Callable[[Context, Role], Fingerprint]


class VerificationFailed(LiftlockError):
    """A verification found something that failed or could not be told."""


class SampleBefore(BaseStep):
    """Ask the old server what it serves, for comparison with the new one."""

    name = "sample-before"
    title = "sample what the old server serves"

    def __init__(self, site: Site) -> None:
        self.site = site

    def probe(self, context: Context) -> Probe:
        """Done when noted."""
        return Probe.DONE if context.noted(self.name) else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Ask over REST."""
        spec = self.site.spec(self.site.old_python, self.site.jump.source)
        sample = take_sample(Client(server_url(spec), login=self.site.login))
        problems = {role.value: list(store.check_integrity()) for role, store in self.site.stores.items()}
        context.note(self.name, {"sample": to_builtins(sample), "problems": problems})

    def result(self, context: Context) -> Payload:
        """The sample, and integrity problems the databases already had."""
        return context.noted(self.name) or {}


class VerifyData(BaseStep):
    """Every row and column of every table against the snapshot, and the schema head, while nobody can write."""

    name = "verify-data"
    title = "compare every row with the snapshot"
    holds_writes = True

    def __init__(self, site: Site, heads: dict[Role, str], *, snapshot_step: str) -> None:
        self.site = site
        self.heads = heads
        self.snapshot_step = snapshot_step

    def probe(self, context: Context) -> Probe:
        """Asked anew after a crash: it changes nothing."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Compare; remember the migrated state's own fingerprint, to tell later whether anybody wrote since."""
        known = context.outcome("sample-before").get("problems", {})
        findings: list[Finding] = []
        after: dict[str, Any] = {}
        for role, store in self.site.stores.items():
            verified = verify_migrated(
                store,
                comparable_fingerprint(self.site, context, self.snapshot_step, role),
                self.site.revisions(role),
                head=self.heads[role],
                known_problems=frozenset(known.get(role.value, ())),
                observer=context.observer,
            )
            findings += verified.findings
            if verified.after is not None:
                after[role.value] = to_builtins(verified.after)
        context.note(self.name, {"findings": to_builtins(findings), "after": after})
        require(findings)

    def result(self, context: Context) -> Payload:
        """Findings and the fingerprints after the migration."""
        return context.noted(self.name) or {}


class VerifyLive(BaseStep):
    """The running server: health, version, content over REST, real clients of both releases, public names.

    When it fails and nobody else has written since the server was opened, everything is put back. When
    somebody has, only a person may decide what their writes are worth.
    """

    name = "verify-live"
    title = "verify the running server with real clients"

    def __init__(
        self,
        site: Site,
        release: Release,
        *,
        clients: tuple[Release, ...],
        opened_with: Baseline | None,
        earlier: Mapping[str, Payload] | None = None,
        warmth: Warmth | None = None,
    ) -> None:
        """`opened_with` gives the state each database was opened to clients in; None where going back keeps writes.

        `earlier` holds the outcomes of the upgrade's steps when this verifies its rollback. `warmth` may hold
        workers, which then are the clients, erase the smoke's rows and are ended.
        """
        self.site = site
        self.release = release
        self.clients = clients
        self.opened_with = opened_with
        self.earlier = earlier or {}
        self.warmth = warmth or Warmth()

    def probe(self, context: Context) -> Probe:
        """Asked anew after a crash: it cleans up after itself."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Probe, sample, smoke, clean up, judge."""
        try:
            findings = self._findings(context)
        finally:
            self.warmth.close()
        context.note(self.name, {"findings": to_builtins(findings)})
        try:
            require(findings)
        except VerificationFailed as error:
            others = self._others(context)
            if others:
                raise NeedsPerson(
                    f"{error.message}; but clients have written since the server was opened ({others})",
                    hint="`liftlock rollback` lists those writes, saves them in a backup and goes back; "
                    "`liftlock resume` verifies once more.",
                ) from error
            raise

    def result(self, context: Context) -> Payload:
        """The findings."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """Erase what a smoke run left that was killed: it must not pass for a client's writes."""
        if self.site.config_path is not None and self.opened_with is not None:
            self._erase([], context)

    def _findings(self, context: Context) -> list[Finding]:
        spec = self.site.spec(self.site.old_python, self.release)
        url = server_url(spec)
        sampled = self._outcome(context, SampleBefore.name).get("sample")
        found = list(
            verify_server(
                url,
                self.release,
                login=self.site.login,
                public_names=self.site.public_names,
                before=from_builtins(sampled, RestSample) if sampled else None,
            )
        )
        environments = {release: self._environment(context, release) for release in self.clients}
        usable = {release: environment for release, environment in environments.items() if environment is not None}
        with ThreadPoolExecutor(max(1, len(usable))) as pool, side_effect("smoke run"):
            reports = dict(zip(usable, pool.map(lambda each: self._smoke(each, url), usable.values()), strict=True))
        for release in self.clients:
            report = reports.get(release)
            if report is None:
                found.append(
                    Finding(
                        code="LLV030",
                        title=f"{release} client",
                        outcome=Outcome.SKIPPED,
                        severity=Severity.WARNING,
                        message="its environment could not be rebuilt, so no real client of it was run",
                    )
                )
            elif isinstance(report, str):
                found.append(Finding(code="LLV030", title=f"{release} client", outcome=Outcome.UNKNOWN, message=report))
            else:
                found += smoke_findings(report, str(release))
        found.append(self._erase([each for each in reports.values() if isinstance(each, SmokeReport)], context))
        return found

    def _smoke(self, environment: Environment, url: str) -> SmokeReport | str:
        username, password = self.site.login or (None, None)
        try:
            client = self.warmth.client(environment.release) or ReleaseTools(environment)
            return client.smoke(url, username=username, password=password, timeout=180.0)
        except LiftlockError as error:
            self.warmth.close(environment.release)  # it may hang or be dead: what comes next starts its own
            return error.message

    def _erase(self, reports: list[SmokeReport], context: Context) -> Finding:
        """Every finding of the smoke stands; what it left behind in the databases is a warning of its own."""
        code, title = "LLV031", "smoke runs erased"
        environment = self._environment(context, self.release)
        if environment is None:
            message = f"no environment of MLflow {self.release} to erase them with"
            return Finding(code=code, title=title, outcome=Outcome.UNKNOWN, severity=Severity.WARNING, message=message)
        try:
            auth = self.site.stores.get(Role.AUTH)
            tools = self.warmth.take() or ReleaseTools(environment)
            with side_effect("erase smoke run"):
                erased = tools.erase(self.site.store(Role.TRACKING).uri, reports, auth=auth.uri if auth else None)
        except LiftlockError as error:
            return Finding(
                code=code, title=title, outcome=Outcome.FAIL, severity=Severity.WARNING, message=error.message
            )
        left = {table: rows for table, rows in erased.remaining.items() if rows}
        return Finding(
            code=code,
            title=title,
            outcome=Outcome.FAIL if left else Outcome.PASS,
            severity=Severity.WARNING,
            message=f"rows left: {left}" if left else "nothing is left of them",
        )

    def _environment(self, context: Context, release: Release) -> Environment | None:
        noted = self._outcome(context, "build-environments")
        key = "new_lock_digest" if release == self.site.jump.target else "old_replica_digest"
        return cached(self.site.environments, str(noted.get(key) or ""))

    def _outcome(self, context: Context, step: str) -> Payload:
        return context.outcome(step) or self.earlier.get(step, {})

    def _others(self, context: Context) -> str:
        """Tables that differ from the state the server was opened with; empty when nobody's writes would be lost."""
        if self.opened_with is None:
            return ""
        try:
            return ", ".join(
                f"{role.value}.{table}"
                for role, store in self.site.stores.items()
                for table in changed_since(self.opened_with(context, role), store.fingerprint())
            )
        except (LiftlockError, KeyError) as error:
            return f"it cannot be told which: {error}"


def require(findings: list[Finding]) -> None:
    """Raise VerificationFailed when a finding blocks."""
    stops = blocking(findings)
    if stops:
        more = f" (and {len(stops) - 1} more)" if len(stops) > 1 else ""
        raise VerificationFailed(f"{stops[0].title}: {stops[0].message}{more}", hint=stops[0].hint)
