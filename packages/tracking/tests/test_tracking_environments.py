"""mlflow-skinny alone, and the oldest Python: an application that begins without a server is whole afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from faulty_proxy import proxied
from ledgers import compare, ledger
from tests.support import releases
from tracking_environments import oldest_python, skinny
from tracking_support import begin, command, ended, held_up, run, ship, variables

pytestmark = [pytest.mark.release, pytest.mark.soak, pytest.mark.xdist_group("tracking-environments")]

WHAT_IT_IS = """
import importlib.metadata, sys, mlflow
names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
print(mlflow.__version__, "%d.%d" % sys.version_info[:2], "mlflow" in names, "pandas" in names)
"""


@pytest.mark.parametrize(
    ("interpreter", "described"),
    [
        pytest.param(partial(skinny, releases.OLD), f"{releases.OLD} * False False", id="skinny-old"),
        pytest.param(lambda: skinny(releases.newest()), "* * False False", id="skinny-newest"),
        pytest.param(partial(oldest_python, releases.OLD), f"{releases.OLD} 3.9 True True", id="python-3.9"),
    ],
)
def test_an_application_that_starts_without_server_is_whole_afterwards(
    interpreter: Callable[[], Path], described: str, tmp_path: Path
) -> None:
    python = interpreter()
    folder = tmp_path / "server"
    folder.mkdir()
    said = run(python, ["-c", WHAT_IT_IS], variables(tmp_path, None), tmp_path)
    assert said.returncode == 0, said.stderr
    for got, want in zip(said.stdout.split(), described.split()):
        assert want in ("*", got), said.stdout
    with releases.serving(releases.newest(), folder) as url, proxied(url) as proxy:
        proxy.mode = "refuse"
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        ended(begin(python, tmp_path, uri, "41,42", 2, "--artifacts", "41", "--fork", "42"), tmp_path)
        assert held_up(tmp_path, 0.15) == []
        proxy.mode = "pass"
        ship(python, tmp_path, uri)
        assert compare(folder / "mlflow.db", ledger(tmp_path), artifacts=folder / "artifacts") == []
        doctor = command(python, ["doctor"], variables(tmp_path, uri), tmp_path)
        assert doctor.returncode == 0 and "found by mlflow " in doctor.stdout, doctor.stdout + doctor.stderr
    with closing(sqlite3.connect(folder / "mlflow.db")) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone()[0] > 3
