"""What a run of steps acts on: the stores, the server, the environments, both releases. Built by `app`, used by steps.

A rehearsal hands its steps another site (scratch stores, another port, another state directory): same steps, no risk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liftlock.backup.create import Sources
from liftlock.effects import side_effect
from liftlock.errors import NeedsPerson
from liftlock.model.deployment import Role, Writer
from liftlock.model.release import Jump, Release
from liftlock.model.secret import Secret
from liftlock.releases.environment import Environments
from liftlock.runtimes.interface import Handle, Runtime, ServerSpec
from liftlock.runtimes.process_health import base_url
from liftlock.stores.interface import Store
from liftlock.verify.warm import warm

_WORKERS = 4  # what `mlflow server` runs when nobody says
SpecFactory = Callable[[Path, Release], ServerSpec]


@dataclass(frozen=True)
class Site:
    """One deployment, or a copy of one.

    `spec` makes the description of a server from an interpreter and a release. `old_python` is the person's own
    interpreter, never modified. `old_server` is the process that ran when the plan was made. `sources` says what
    belongs to a backup set. `config_path` is rewritten at the end of an upgrade, None for a rehearsal.
    """

    jump: Jump
    stores: Mapping[Role, Store]
    runtime: Runtime
    environments: Environments
    spec: SpecFactory
    old_python: Path
    old_server: Handle | None
    sources: Callable[[], Sources]
    backup_directory: Path
    state_directory: Path
    config_path: Path | None
    login: tuple[str, Secret] | None = None
    public_names: tuple[str, ...] = ()
    artifacts_destination: str | None = None
    keep_last: int | None = None
    own_pids: Callable[[], frozenset[int]] = field(default=frozenset)

    def store(self, role: Role) -> Store:
        """The store with this role."""
        return self.stores[role]

    def revisions(self, role: Role) -> tuple[str, ...]:
        """The revisions this jump runs on the store with this role."""
        return self.jump.auth if role is Role.AUTH else self.jump.tracking

    def writers(self) -> dict[Role, tuple[Writer, ...]]:
        """Everybody who has one of the databases open for writing, ours excluded; empty when all are quiet."""
        ignore = self.own_pids()
        found = {role: store.writers(ignore_pids=ignore) for role, store in self.stores.items()}
        return {role: writers for role, writers in found.items() if writers}

    def quiet_or_stop(self, doing: str) -> None:
        """Raise NeedsPerson when somebody still writes: `doing` would lose what they write."""
        busy = self.writers()
        if busy:
            raise NeedsPerson(
                f"{doing} is not safe: {describe_writers(busy)}",
                hint="End those processes, then run `liftlock resume` or `liftlock abort`.",
            )


def describe_writers(busy: Mapping[Role, tuple[Writer, ...]]) -> str:
    """`the tracking database is open in PID 4242 (python train.py)`: who, in one line."""
    parts = []
    for role, writers in busy.items():
        names = ", ".join(
            f"PID {writer.pid} ({writer.description})" if writer.pid else writer.description for writer in writers[:3]
        )
        more = f" and {len(writers) - 3} more" if len(writers) > 3 else ""
        parts.append(f"the {role.value} database is open in {names}{more}")
    return "; ".join(parts)


def server_url(spec: ServerSpec) -> str:
    """Where this machine reaches the server of a spec."""
    return base_url(spec.host, spec.port) + spec.static_prefix


def wake(site: Site) -> None:
    """Call every worker of a site's server once, so that nobody who is sent to it waits for what it loads at first."""
    spec = site.spec(site.old_python, site.jump.target)
    words = dict(zip(spec.arguments, spec.arguments[1:], strict=False))
    with side_effect("wake server"):
        warm(server_url(spec), workers=int(words.get("--workers", _WORKERS)), login=site.login)
