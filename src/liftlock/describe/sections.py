"""Sections of liftlock.toml for the work around an upgrade: tracked releases, environments in phases, notifications."""

from __future__ import annotations

from typing import Literal

import msgspec

from liftlock.model.codec import Value


class CheckSection(Value, frozen=True, omit_defaults=True):
    """A proof that can be run: a command (words, no shell), the status it ends with, text it prints, its seconds."""

    name: str
    command: tuple[str, ...]
    expect_status: int = 0
    expect_output: str = ""
    timeout: float = 60.0


class TrackingSection(Value, frozen=True, omit_defaults=True):
    """The tracking file (relative to liftlock.toml), releases to watch for, and the checks of its checklist."""

    file: str = "config/mlflow_release.yaml"
    watched: tuple[str, ...] = ()
    checks: tuple[CheckSection, ...] = ()


class EarlierSection(Value, frozen=True, omit_defaults=True):
    """An environment that must have proven a release first: its `config` (a liftlock.toml on this machine), or the
    directory its `evidence` bundles are brought to and the public `key` they are signed with."""

    name: str
    config: str | None = None
    evidence: str | None = None
    key: str | None = None
    soak_hours: float = 0.0


class EnvironmentsSection(Value, frozen=True, omit_defaults=True):
    """Which environment this deployment is, how many people must approve a release for it, and who goes before it."""

    name: str
    approvals: int = 0
    after: tuple[EarlierSection, ...] = ()


EventName = Literal[
    "plan-ready", "freeze", "started", "cut-over", "put-back", "needs-person", "rolled-back", "window-closing",
    "window-closed", "release", "test",
]  # fmt: skip


class ReceiverSection(Value, frozen=True, omit_defaults=True):
    """One receiver. `${NAME}` in `url`, `header` (`Name: value`) and `password` stands for a secret.

    `role` is who this reaches (owner, backup, security ...). `events` empty means all. A webhook gets the message as
    JSON, a Slack-compatible hook as text, a command as JSON on its standard input.
    """

    kind: Literal["webhook", "slack", "email", "command"]
    role: str = ""
    events: tuple[EventName, ...] = ()
    url: str = ""
    header: str = ""
    command: tuple[str, ...] = ()
    server: str = ""
    port: int = 25
    tls: Literal["none", "starttls", "implicit"] = "none"
    username: str = ""
    password: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()


class NotifySection(Value, frozen=True, omit_defaults=True):
    """Who owns the deployment (role to name), who is told, and how long one receiver may take, in seconds."""

    owners: dict[str, str] = msgspec.field(default_factory=dict)
    receivers: tuple[ReceiverSection, ...] = ()
    timeout: float = 10.0
