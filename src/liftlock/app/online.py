"""The composition root of an online upgrade: both sides from liftlock.toml, the steps, and what is recorded after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from liftlock.app.gate import directory as gate_directory
from liftlock.app.gate import reviver
from liftlock.app.online_rules import Rulebook, unknown_revisions
from liftlock.app.sites import free_port, keep_jobs_off, live_site, sources_of
from liftlock.app.workspace import Workspace
from liftlock.describe import auth, options
from liftlock.describe import config as configuration
from liftlock.describe.config import Config, StoresSection
from liftlock.describe.launch import LIVE_STATE, Overrides, server_spec
from liftlock.engine.interface import Payload
from liftlock.files import private_directory
from liftlock.gate.client import GateClient
from liftlock.gate.installed import load as load_gate
from liftlock.gate.model import Address, GateError
from liftlock.model.codec import Value
from liftlock.model.deployment import Role
from liftlock.model.release import Jump, Release
from liftlock.model.uri import Engine, StoreUri
from liftlock.online.control import Control, When
from liftlock.runtimes.interface import Handle, ServerSpec
from liftlock.runtimes.process import ProcessRuntime
from liftlock.steps.migrate import Warmth
from liftlock.steps.sides import Sides
from liftlock.steps.site import Site
from liftlock.stores.interface import Store
from liftlock.stores.opening import live, open_store

_OURS = re.compile(r"(?:\.liftlock-|_liftlock_)v\d[\w-]*$")


class Settings(Value, frozen=True):
    """What is chosen once per online upgrade and journalled: the new server's port and slot, the moment, the load."""

    port: int
    slot: str
    when: When = When()
    load: float = 1.0

    @classmethod
    def choose(cls, config: Config, when: When, load: float) -> Settings:
        """A free port, and the slot that is not live."""
        return cls(port=free_port(), slot="a" if config.server.slot == "b" else "b", when=when, load=load)


def green_store(store: Store, target: Release) -> Store:
    """The database that will serve, named after the one that does and after the target."""
    uri = store.uri
    name = _OURS.sub("", uri.database)
    base = open_store(uri.with_database(name), store.role) if name != uri.database else store
    return base.scratch("v" + target.version.replace(".", "-"))


def gate_stands(workspace: Workspace) -> bool:
    """Whether a gate answers, sends people to the configured server, and is not still taking a port over."""
    server = workspace.config.server
    record = load_gate(workspace.config.state_directory / "gate")
    if record is not None and record.leaving is not None:
        return False
    try:
        with GateClient(workspace.config.state_directory / "gate" / "control.sock") as client:
            return client.status().state.upstream == Address(host=server.host, port=server.port)
    except GateError:
        return False


def obstacles(workspace: Workspace, jump: Jump) -> tuple[str, ...]:
    """Why this deployment could not be upgraded online, one sentence each; empty where it could."""
    found: list[str] = []
    config = workspace.config
    texts = {
        Role.TRACKING: config.stores.tracking,
        Role.REGISTRY: config.stores.registry,
        Role.AUTH: config.stores.auth,
    }
    for role, store in workspace.stores.items():
        if store.uri.engine not in (Engine.SQLITE, Engine.POSTGRESQL):
            found.append(f"{store.uri.engine.value} databases cannot be followed while they are written")
            continue
        if "${" in _location(texts[role] or ""):
            found.append(f"the name of the {role.value} database is inside a secret; write it in liftlock.toml")
        found += live(store).obstacles(applying=True)
        if green_store(store, jump.target).exists():
            found.append(f"{green_store(store, jump.target).uri} exists already")
        found += unknown_revisions(jump, role)
    given = options.parse(config.server.arguments, config.server.environment)
    found += [f"{name} names a further database" for name in LIVE_STATE if given.get(name) is not None]
    return tuple(found)


def sides(
    workspace: Workspace,
    jump: Jump,
    settings: Settings,
    directory: Path,
    handle: Handle | None,
    *,
    running: Config | None = None,
    earlier: Mapping[str, Payload] | None = None,
) -> Sides:
    """Both sides. `workspace` is the deployment as it was when the upgrade began, `running` its liftlock.toml since."""
    old = live_site(workspace, jump, handle)
    green = {role: green_store(store, jump.target) for role, store in workspace.stores.items()}
    warmth = Warmth()
    rules = Rulebook(jump, directory.name, workspace.stores, green, private_directory(workspace.state / "parked"))
    return Sides(
        old=old,
        new=_new_site(workspace, jump, settings, directory, green, running),
        blue={role: live(store) for role, store in workspace.stores.items()},
        green={role: live(store) for role, store in green.items()},
        gate=gate_directory(workspace) / "control.sock",
        rules=rules,
        control=Control(directory),
        warmth=warmth,
        load=settings.load,
        revive=reviver(workspace),
        earlier=earlier or {},
    )


def _new_site(
    workspace: Workspace, jump: Jump, settings: Settings, directory: Path, green: Mapping[Role, Store],
    running: Config | None,
) -> Site:  # fmt: skip
    config = running or workspace.config
    seen = Workspace(config)
    overrides = Overrides(
        stores={role: store.uri for role, store in green.items()},
        environment=keep_jobs_off(jump, config),
        directory=directory,
    )

    def spec(python: Path, release: Release) -> ServerSpec:
        return server_spec(
            config, python=python, release=release, host="127.0.0.1", port=settings.port, overrides=overrides
        )

    return replace(
        live_site(workspace, jump, None),
        stores=green,
        runtime=ProcessRuntime(workspace.state / "servers" / settings.slot),
        spec=spec,
        sources=lambda: sources_of(seen, green),
    )


def recorded(
    config: Config, jump: Jump, python: Path, both: Sides, settings: Settings, directory: Path
) -> str:  # fmt: skip
    """liftlock.toml for the new side."""
    environment = {**keep_jobs_off(jump, config), **config.server.environment}
    if Role.AUTH in both.green:
        environment[auth.PATH_VARIABLE] = str(directory / "basic_auth.ini")
    server = msgspec.structs.replace(
        config.server,
        release=jump.target.version,
        python=str(python),
        host="127.0.0.1",
        port=settings.port,
        slot=settings.slot,
        environment=environment,
    )
    texts: dict[str, Any] = {
        role.value: _renamed(str(getattr(config.stores, role.value)), each.store.uri)
        for role, each in both.green.items()
    }
    if config.stores.registry and Role.REGISTRY not in both.green:
        texts["registry"] = texts["tracking"]  # the same place, said twice
    stores = StoresSection(**{**{"registry": None, "auth": None}, **texts})
    changed = msgspec.structs.replace(config, server=server, stores=stores)
    return configuration.loads(changed.dumps(), config.path).dumps()


def _location(text: str) -> str:
    """The part of a database URI's text that names the database."""
    scheme, separator, rest = text.partition("://")
    if scheme.startswith("sqlite") or not separator:
        return rest or text
    return urlsplit(text).path


def _renamed(text: str, to: StoreUri) -> str:
    """The text of a URI, secrets as they are written, with another database's name."""
    if to.engine is Engine.SQLITE:
        query = "?" + text.partition("?")[2] if "?" in text else ""
        return f"{text.partition('://')[0]}:///{to.database}{query}"
    return urlunsplit(urlsplit(text)._replace(path="/" + quote(to.database, safe="")))
