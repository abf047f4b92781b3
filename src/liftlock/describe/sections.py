"""Sections of liftlock.toml for the work around an upgrade: tracking, environments in phases, watch, notifications."""

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


class WatchSection(Value, frozen=True, omit_defaults=True):
    """When a watched server is worse than it was. Shares are 0 to 1, times seconds unless their name says otherwise.

    A latency is worse by `warn` or `act` of what it was, and never by less than `least_ms`. `errors_warn` and
    `errors_act` are how much more of all requests may fail or be refused; `registrations_warn` and `registrations_act`
    how many registrations must succeed. `settle` is left out after an upgrade, `window` is how far back one look sees,
    and `breaches` looks in a row must find something to act on. `roll_back`: never, when everything written since is
    carried back (`lossless`), or always (what was written since an upgrade that was not online stays in a backup).
    """

    warn: float = 0.2
    act: float = 0.5
    least_ms: float = 5.0
    errors_warn: float = 0.01
    errors_act: float = 0.05
    registrations_warn: float = 0.99
    registrations_act: float = 0.95
    settle: float = 60.0
    window: float = 900.0
    breaches: int = 3
    roll_back: Literal["never", "lossless", "always"] = "never"


class EarlierSection(Value, frozen=True, omit_defaults=True):
    """An environment that must have proven a release first: its `config` (a liftlock.toml on this machine), or the
    directory its `evidence` bundles are brought to and the public `key` they are signed with. `watch_hours` is how long
    `liftlock watch` must have watched the release there, with nothing found; 0 asks for no watch."""

    name: str
    config: str | None = None
    evidence: str | None = None
    key: str | None = None
    soak_hours: float = 0.0
    watch_hours: float = 0.0


class EnvironmentsSection(Value, frozen=True, omit_defaults=True):
    """Which environment this deployment is, how many people must approve a release for it, and who goes before it."""

    name: str
    approvals: int = 0
    after: tuple[EarlierSection, ...] = ()


EventName = Literal[
    "plan-ready", "freeze", "started", "cut-over", "put-back", "needs-person", "rolled-back", "breach",
    "window-closing", "window-closed", "release", "test",
]  # fmt: skip


class ReceiverSection(Value, frozen=True, omit_defaults=True):
    """One receiver. `${NAME}` in `url` and `header` (`Name: value`) stands for a secret.

    `role` is who this reaches (owner, backup, security ...). `events` empty means all. A webhook gets the message as
    JSON, a command as JSON on its standard input; `apprise` tells, as text, whatever service the url names.
    """

    kind: Literal["webhook", "command", "apprise"]
    role: str = ""
    events: tuple[EventName, ...] = ()
    url: str = ""
    header: str = ""
    command: tuple[str, ...] = ()


class NotifySection(Value, frozen=True, omit_defaults=True):
    """Who owns the deployment (role to name), who is told, and how long one receiver may take, in seconds.

    `window_hours`: after how many hours with an open way back its owners are reminded of it; 0 reminds nobody.
    """

    owners: dict[str, str] = msgspec.field(default_factory=dict)
    receivers: tuple[ReceiverSection, ...] = ()
    timeout: float = 10.0
    window_hours: float = 0.0
