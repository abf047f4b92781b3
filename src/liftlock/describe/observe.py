"""From configuration and running server to a Deployment: facts with their sources, contradictions refused."""

from __future__ import annotations

from collections.abc import Mapping

from liftlock import clock
from liftlock.describe import options
from liftlock.describe.config import Config
from liftlock.describe.process import Observed, inspect
from liftlock.errors import Refused
from liftlock.model.deployment import ArtifactFacts, Deployment, Role, ServerFacts, StoreFacts
from liftlock.model.uri import StoreUri
from liftlock.runtimes.interface import Handle


def observe(config: Config, *, stores: Mapping[Role, StoreFacts], handle: Handle | None) -> Deployment:
    """The deployment as it is now. `handle` is the running server, or None when none runs.

    `stores` are the facts of the databases the configuration names. Raises Refused when the running server uses
    other databases or another release than the configuration says (the server is right), ServerError when it
    cannot be read.
    """
    observed = inspect(handle.pid) if handle is not None else None
    if observed is not None:
        require_same(config, observed)
    return assemble(config, stores=stores, observed=observed)


def assemble(config: Config, *, stores: Mapping[Role, StoreFacts], observed: Observed | None) -> Deployment:
    """Put facts together; pure but for the clock. Contradictions are the caller's to refuse (`require_same`)."""
    given = options.parse(config.server.arguments, config.server.environment)
    server = ServerFacts(
        release=observed.release if observed else config.release,
        python=str(config.python),
        host=config.server.host,
        port=config.server.port,
        workers=config.server.workers,
        working_directory=str(config.working_directory),
        # The text of the file: `${NAME}` instead of secrets, and equal whether or not the server runs.
        arguments=config.server.arguments,
        environment=config.server.environment,
        static_prefix=(given.get("--static-prefix") or "").rstrip("/"),
        app_name=config.server.app_name,
        pid=observed.handle.pid if observed else None,
        created=observed.handle.created if observed else None,
    )
    sources = dict.fromkeys(("release", "host", "port", "workers", "stores.tracking"), "configuration")
    sources |= observed.sources if observed else {}
    return Deployment(
        name=config.name,
        taken_at=clock.now(),
        runtime=config.server.runtime,
        server=server,
        stores=tuple(stores[role] for role in config.roles() if role in stores),
        artifacts=_artifacts(config, given),
        sources=sources,
    )


def require_same(config: Config, observed: Observed) -> None:
    """Raise Refused when the running server contradicts the configuration in what an upgrade acts on."""
    wrong = contradictions(config, observed)
    if wrong:
        raise Refused(
            f"the running server and {config.path.name} disagree: {wrong[0]}",
            hint="The server is right. Correct the file, or run `liftlock init --process"
            f" {observed.handle.pid}` to write it anew.",
        )


def contradictions(config: Config, observed: Observed) -> tuple[str, ...]:
    """What the configuration says otherwise than the running server does, one line each, redacted."""
    found: list[str] = []
    configured: dict[Role, StoreUri] = {role: config.store_uri(role) for role in config.roles()}
    for role in Role:
        mine, real = configured.get(role), observed.stores.get(role)
        if (mine is None) != (real is None) or (mine and real and not mine.same_place(real)):
            found.append(f"{role} store: the server uses {real or 'none'}, the file says {mine or 'none'}")
    pairs = (
        ("release", observed.release, config.release),
        ("port", observed.port, config.server.port),
        ("working directory", observed.working_directory.resolve(), config.working_directory.resolve()),
        ("environment", observed.python.parent, config.python.parent),
        ("app name", observed.app_name or "none", config.server.app_name or "none"),
    )
    found += [f"{name}: the server has {real}, the file says {mine}" for name, real, mine in pairs if real != mine]
    return tuple(found)


def _artifacts(config: Config, given: options.ServerOptions) -> tuple[ArtifactFacts, ...]:
    """The roots the file names; the first is the proxied destination when the server serves artifacts."""
    serves = given.is_on("--serve-artifacts", default=True)
    found: list[ArtifactFacts] = []
    for number, root in enumerate(config.artifacts.roots):
        path = None if "://" in root else str(config.working_directory / root)
        found.append(ArtifactFacts(uri=path or root, local_path=path, proxied=serves and number == 0))
    return tuple(found)
