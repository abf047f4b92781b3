"""The plan that is shown in the docs: `make plan-example` starts the demo's old server, fills it and plans its upgrade.

`python -m bench.plan_example DIRECTORY [TARGET]` writes plan.html and plan.md there. The deployment is made as
`liftlock demo` makes it, in /srv/mlflow or, where that cannot be written, in a temporary directory. The access log is
that of a gate the data was logged through (gunicorn writes none under basic-auth: Alembic's logging switches it off),
the scan is of the small project below.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from liftlock import files
from liftlock.app.init import initialise
from liftlock.cli.main import cli
from liftlock.demo.server import ADMIN, old_server
from liftlock.model.release import Release
from liftlock.model.secret import Secret
from liftlock.model.uri import Engine, StoreUri
from liftlock.releases.environment import Environments
from liftlock.releases.proof import free_port
from liftlock.releases.tools import PopulateSize, ReleaseTools

SOURCE, TARGET = "2.9.2", "3.17.2"
_PLACE = Path("/srv/mlflow")
_TRAIN = """import mlflow
from mlflow.tracking import MlflowClient

with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.1)
    mlflow.evaluate(run.info.artifact_uri, custom_metrics=[], model_type="regressor")
    print(run.info.run_uuid)

MlflowClient().transition_model_version_stage("credit", 1, "Production")
"""


@contextlib.contextmanager
def deployment() -> Iterator[Path]:
    """The liftlock.toml of a running old server with data of every kind."""
    with contextlib.ExitStack() as stack:
        try:
            _PLACE.mkdir(parents=True)
            place = _PLACE
            stack.callback(files.remove_tree, place)
        except OSError:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlflow-")))
        old = Environments().build(Release.parse(SOURCE), drivers={Engine.SQLITE})
        server = stack.enter_context(
            old_server(
                old, place, tracking=StoreUri.parse(f"sqlite:///{place / 'mlflow.db'}"),
                auth=StoreUri.parse(f"sqlite:///{place / 'basic_auth.db'}"), port=free_port(),
            )
        )  # fmt: skip
        with _gate(place / "gate", server.port) as url:
            users = [(name, Secret(secrets.token_urlsafe(12))) for name in ("alice", "bob")]
            size = PopulateSize(experiments=2, runs=10, points=200, models=1, versions=2)
            ReleaseTools(old).populate(url, size=size, username=ADMIN, password=server.password, users=users)
        initialise(place / "liftlock.toml", pid=server.pid, name="demo", public_names=(), force=False)
        yield place / "liftlock.toml"


@contextlib.contextmanager
def _gate(directory: Path, upstream: int) -> Iterator[str]:
    """A gate in front of a port; its URL. Its access log is whole when it has ended."""
    port = free_port()
    words = [sys.executable, "-m", "liftlock.cli.main", "gate", "run", "--listen", f"127.0.0.1:{port}"]
    words += ["--upstream", f"127.0.0.1:{upstream}", "--dir", str(directory)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert b"gate listens" in child.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


def write(into: Path, target: str) -> None:
    """Write both pages."""
    into.mkdir(parents=True, exist_ok=True)
    with deployment() as config:
        code, scan = config.parent / "code", config.parent / "scan.json"
        code.mkdir()
        (code / "train.py").write_text(_TRAIN)
        words = ["scan", str(code), "--from", SOURCE, "--to", target, "--json", "--output", str(scan)]
        cli.main(args=words, prog_name="liftlock", standalone_mode=False)
        given = ["--scan", str(scan), "--clients", str(config.parent / "gate" / "access.log")]
        for form, name in (("html", "plan.html"), ("markdown", "plan.md")):
            words = ["--config", str(config), "plan", "--to", target, *given]
            words += ["--format", form, "--output", str(into / name)]
            cli.main(args=words, prog_name="liftlock", standalone_mode=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else TARGET)
