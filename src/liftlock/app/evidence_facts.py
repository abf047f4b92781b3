"""What the evidence of a run is made of, read from where it lies: backups, environments, the server, the tables."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from liftlock.app.advisories import advise
from liftlock.app.check import check
from liftlock.app.watch_baseline import Baselines
from liftlock.app.workspace import Workspace
from liftlock.backup import catalog
from liftlock.describe import config as configuration
from liftlock.describe.secrets import is_secret_name
from liftlock.errors import BackupError, LiftlockError, ReleaseError
from liftlock.knowledge.advisories import Report
from liftlock.model.codec import from_builtins
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.journal import RunState
from liftlock.model.plan import Plan, Strategy
from liftlock.model.secret import redact, remember
from liftlock.model.snapshot import BackupSet
from liftlock.model.uri import StoreUri
from liftlock.model.watch import Baseline
from liftlock.releases.uv import uv
from liftlock.steps.migrate import cached
from liftlock.verify.http import Client

_SETS = ("snapshot", "back-up", "save-new")
QUESTIONS: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "/health", None),
    ("GET", "/version", None),
    ("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 5}),
)


class Facts:
    """One ended upgrade. Every method raises LiftlockError where what it is asked for cannot be had."""

    def __init__(self, workspace: Workspace, state: RunState) -> None:
        self.workspace = workspace
        self.state = state

    def backups(self) -> tuple[str, ...]:
        """The sets this run made, by id; the last snapshot may be the first backup, where nothing was written."""
        return tuple(dict.fromkeys(str(self._of(step)["set"]) for step in reversed(_SETS) if "set" in self._of(step)))

    def backup(self, set_id: str) -> BackupSet:
        """A set's manifest: what was saved, its digests, when it was restored and compared."""
        return catalog.find(self.workspace.config.backup_directory, set_id)

    def fingerprints_before(self) -> dict[str, Fingerprint]:
        """Role -> fingerprint of the state that was saved last before the migration."""
        for step in _SETS:
            if "set" in self._of(step):
                saved = self.backup(str(self._of(step)["set"]))
                return {each.role.value: catalog.fingerprint_of(saved, each.role) for each in saved.stores}
        raise BackupError("the run made no backup")

    def fingerprints_after(self) -> dict[str, Fingerprint]:
        """Role -> fingerprint of the state after the migration, as the run itself measured it."""
        for step in self.state.steps:
            measured = step.outcome.get("after")
            if isinstance(measured, dict) and set(measured) <= set(Role) and measured:
                return {role: from_builtins(value, Fingerprint) for role, value in measured.items()}
        if self.state.payload.get("strategy") == Strategy.ONLINE.value:
            raise LiftlockError(
                "people wrote on, so there was no one state: both sides were compared row by row (verification.json)"
            )
        raise LiftlockError("the run noted no fingerprints of the migrated databases")

    def lock(self, side: str) -> str:
        """The exact packages of the server's environment before or after."""
        built = self._of("build-environments")
        keys = ("new_lock_digest",) if side == "after" else ("old_replica_digest", "old_lock_digest")
        for key in keys:
            found = cached(self.workspace.environments, str(built.get(key) or ""))
            if found is not None:
                return found.lock
        raise ReleaseError(
            str(built.get("old_replica_reason") or "") or "it is not in liftlock's cache of environments"
        )

    def outdated(self) -> Any:
        """Packages of the environment that runs now for which the index has something newer."""
        words = ["pip", "list", "--outdated", "--format", "json", "--python", str(self.workspace.config.python)]
        return json.loads(uv(words, timeout=120, what="the list of outdated packages").stdout or "[]")

    def sample_before(self) -> Any:
        """What the old server said over REST just before it was stopped."""
        noted = self._of("sample-before")
        if not noted:
            raise LiftlockError("the run sampled nothing of the old server; `evidence record --answers` before it does")
        return noted

    def answers(self) -> list[dict[str, Any]]:
        """Health, version and a search for experiments, asked now: status, SHA-256 and beginning of each answer."""
        client = client_of(self.workspace)
        return [ask(client, *question) for question in QUESTIONS]

    def baseline(self) -> Baseline:
        """What its watch compares with."""
        found = Baselines(self.workspace).of(self.state)
        if found is None:
            raise LiftlockError("nobody noted how the server was before: liftlock watch --baseline")
        return found

    def checks(self) -> tuple[Finding, ...]:
        """All checks, as `liftlock check` does them, now."""
        return check(self.workspace)

    def advisories(self, plan: Plan) -> Report:
        """Flaws fixed, left and gained, judged for this deployment where it can be observed."""
        try:
            deployment = self.workspace.deployment()
        except LiftlockError:
            deployment = None  # then what depends on the configuration is told as unknown, row by row
        jump = plan.jump
        return advise(jump.source.version, jump.target.version, said={}, deployment=deployment)

    def _of(self, step: str) -> dict[str, Any]:
        found = self.state.step(step)
        return found.outcome if found else {}


def client_of(workspace: Workspace) -> Client:
    """A client of the deployment's server. Raises LiftlockError when it does not run or is not what is described."""
    return Client(workspace.deployment().server.url, login=workspace.config.credentials(), timeout=20.0)


def ask(client: Client, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """One question to a server, and its answer. Raises ServerError when none comes, or none that is JSON to a POST."""
    if body is None:
        status, data = client.get(path)
    else:
        status, data = 200, json.dumps(client.json(method, path, body), sort_keys=True).encode()
    return {
        "method": method, "path": path, "status": status, "sha256": hashlib.sha256(data).hexdigest(),
        "body": data[:2000].decode("utf-8", "replace"),
    }  # fmt: skip


def conceal(workspace: Workspace) -> None:
    """Make every secret the configuration holds or refers to known, so that `redact` removes it. Raises UsageError."""
    config = workspace.config
    for role in config.roles():
        config.store_uri(role)
    config.credentials()
    config.arguments()
    for name, value in config.environment().items():
        if is_secret_name(name):
            remember(value)


def redacted_text(text: str, path: Path) -> str:
    """A liftlock.toml without secrets: URIs without passwords, passwords and secret variables as `***`."""
    config = configuration.loads(text, path)
    stores = config.stores
    hidden = msgspec.structs.replace(
        config,
        server=msgspec.structs.replace(
            config.server,
            arguments=tuple(_hidden_uri(word) for word in config.server.arguments),
            environment={
                name: _hidden(value) if is_secret_name(name) else _hidden_uri(value)
                for name, value in config.server.environment.items()
            },
        ),
        stores=msgspec.structs.replace(
            stores,
            tracking=_hidden_uri(stores.tracking),
            registry=_hidden_uri(stores.registry) if stores.registry else None,
            auth=_hidden_uri(stores.auth) if stores.auth else None,
        ),
    )
    if hidden.credentials_section is not None:
        section = msgspec.structs.replace(
            hidden.credentials_section, password=_hidden(hidden.credentials_section.password)
        )
        hidden = msgspec.structs.replace(hidden, credentials_section=section)
    if hidden.notify is not None:
        receivers = tuple(
            msgspec.structs.replace(each, url=_hidden(each.url), header=_hidden(each.header))
            for each in hidden.notify.receivers
        )
        hidden = msgspec.structs.replace(hidden, notify=msgspec.structs.replace(hidden.notify, receivers=receivers))
    return redact(hidden.dumps())


def _hidden(value: str) -> str:
    """A secret's reference is no secret; anything else in its place is."""
    reference = value.startswith("${") and value.endswith("}") and "}" not in value[:-1]
    return value if reference or not value else "***"


def _hidden_uri(value: str) -> str:
    if "://" not in value:
        return value
    try:
        return str(StoreUri.parse(value))
    except LiftlockError:
        head, _, rest = value.partition("://")
        login, at, place = rest.rpartition("@")
        return f"{head}://***@{place}" if at and login else value
