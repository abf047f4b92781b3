"""`init`: from a running server to liftlock.toml."""

from __future__ import annotations

from pathlib import Path

from liftlock.describe.config import Config
from liftlock.describe.draft import to_config
from liftlock.describe.process import find_servers, inspect
from liftlock.errors import Refused, ServerError
from liftlock.stores.opening import open_store


def initialise(
    path: Path, *, pid: int | None, name: str, public_names: tuple[str, ...], force: bool
) -> tuple[Config, dict[str, str]]:
    """Observe the server and write the file; the configuration and where each field was read.

    Raises Refused when the file exists, ServerError when there is no (single) server, StoreError when one of its
    databases cannot be read.
    """
    if path.exists() and not force:
        raise Refused(f"{path} exists already", hint="Give --force to write it anew, or --output for another place.")
    observed = inspect(pid if pid is not None else _only_server())
    for role, uri in observed.stores.items():
        open_store(uri, role).revision()  # a description of a database that cannot be read helps nobody
    draft = to_config(observed, path.absolute(), name=name, public_names=public_names)
    draft.write()
    return draft.config, observed.sources


def _only_server() -> int:
    found = find_servers()
    if not found:
        raise ServerError("no running MLflow server was found", hint="Start it, or name it with --process PID.")
    if len(found) > 1:
        raise ServerError(
            f"{len(found)} MLflow servers run here: PIDs {', '.join(map(str, found))}",
            hint="Name one with --process PID.",
        )
    return found[0]
