"""How many clients a database has: a real PostgreSQL, a file, and a server that is gone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psycopg

from liftlock.app.watch_baseline import count_connections
from liftlock.app.workspace import Workspace
from liftlock.demo.postgres import PostgresServer
from liftlock.verify.watch import Connections


def workspace(directory: Path, tracking: str, auth: str) -> Workspace:
    (directory / "liftlock.toml").write_text(
        'format = 1\nname = "d"\n[server]\nrelease = "3.4.0"\npython = "p"\nworking_directory = "."\n'
        f'[stores]\ntracking = "{tracking}"\nauth = "{auth}"\n'
    )
    return Workspace.open(directory / "liftlock.toml")


def test_connections_to_this_database_to_all_and_how_many_the_server_takes(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        mine, other = (server.create_database(name).reveal() for name in ("mlflow", "other"))
        found = workspace(tmp_path, mine, f"sqlite:///{tmp_path / 'auth.db'}")
        first = count_connections(found)
        with ExitStack() as stack:
            for uri in (mine, mine, mine, other):
                stack.enter_context(psycopg.connect(uri))
            second = count_connections(found)
    one, two = first["tracking"], second["tracking"]
    assert isinstance(one, Connections) and isinstance(two, Connections)
    assert (two.now - one.now, two.all - one.all) == (3, 4) and two.most >= 20
    assert first["auth"] is None, "a file has none"
    gone = count_connections(found)["tracking"]
    assert isinstance(gone, str) and gone
