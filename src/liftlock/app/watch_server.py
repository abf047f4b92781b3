"""Where a watched server is reached: at the gate where one stands, as people reach it."""

from __future__ import annotations

from pathlib import Path

from liftlock.app.workspace import Workspace
from liftlock.describe import options
from liftlock.gate.installed import load
from liftlock.verify.http import Client


def gate_directory(workspace: Workspace) -> Path | None:
    """The directory of the gate that stands in front of the server, or None."""
    place = workspace.config.state_directory / "gate"
    return place if load(place) is not None else None


def client_of(workspace: Workspace) -> Client:
    """A client of the address people use, with the configured login. Raises UsageError when a secret is missing."""
    config = workspace.config
    record = load(config.state_directory / "gate")
    host, port = (record.public.host, record.public.port) if record else (config.server.host, config.server.port)
    prefix = options.parse(config.arguments(), config.environment()).get("--static-prefix") or ""
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it listens, not where we do
    address = f"[{named}]" if ":" in named else named
    return Client(f"http://{address}:{port}{prefix.rstrip('/')}", login=config.credentials(), timeout=30.0)
