"""Real deployments for upgrade tests: an old release's server with its own client's data, and MLflow's own way up.

`copied` copies a database with plain tools (SQLite's backup API, pg_dump), never with liftlock.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from liftlock.app.init import initialise
from liftlock.app.workspace import Workspace
from liftlock.demo.postgres import PostgresServer
from liftlock.describe.process import find_on_port
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.secret import Secret
from liftlock.model.uri import Engine, StoreUri
from liftlock.proc import run
from liftlock.releases.children import clean_environment
from liftlock.releases.tools import PopulateSize
from liftlock.stores import postgresql_tools
from liftlock.stores.interface import Store
from liftlock.stores.opening import open_store
from liftlock.stores.postgresql_connect import parameters
from tests.support import releases

ADMIN = "admin"
PASSWORD = "admin-password-1234"
SMALL = PopulateSize(experiments=2, runs=5, points=5, params=2, tags=2, artifacts=1, models=1, versions=2, traces=3)


@dataclass
class Deployment:
    """A person's server of an old release, taken over by `init`; `before` is what the old client read then."""

    version: str
    directory: Path
    uris: dict[Role, StoreUri]
    url: str
    populated: dict[str, int]
    login: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        """The deployment as liftlock.toml says it is now."""
        return Workspace.open(self.directory / "liftlock.toml")

    def read(self, version: str) -> dict[str, Any]:
        """Everything a real client of a release can read: experiments, runs, histories, models, traces."""
        found: dict[str, Any] = json.loads(self.client(version, READ))
        return found

    def client(self, version: str, script: str) -> str:
        """Run a script with a release's client; its last line of output."""
        # Few retries: a 2.22 client finds no spans of traces whose files never arrived, and would ask for minutes.
        few = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        env = clean_environment({"MLFLOW_TRACKING_URI": self.url, **few, **self.login})
        words: list[str | Path] = [releases.environment(version).python, "-c", script]
        return run(words, timeout=180, env=env, what=f"client of {version}").stdout.strip().splitlines()[-1]


@contextmanager
def deployment(
    version: str, directory: Path, *, server: PostgresServer | None, auth: bool, size: PopulateSize = SMALL
) -> Iterator[Deployment]:
    """Start, fill and `init` it; whatever server runs at the end is stopped."""
    roles = (Role.TRACKING, Role.AUTH) if auth else (Role.TRACKING,)
    uris = {role: _new_database(directory, role, server) for role in roles}
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = {}
    if auth:
        arguments = ("--app-name", "basic-auth")
        env = _auth(directory, uris[Role.AUTH])
    store = uris[Role.TRACKING].reveal()
    with ExitStack() as stack:
        url = stack.enter_context(releases.serving(version, directory, store=store, arguments=arguments, env=env))
        login = {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": PASSWORD} if auth else {}
        if auth:
            _cheap_password(uris[Role.AUTH])
        populated = releases.tools(version).populate(
            url,
            size=size,
            username=ADMIN if auth else None,
            password=Secret(PASSWORD) if auth else None,
            users=[(name, Secret(f"{name}-password-1234")) for name in ("alice", "bob")] if auth else (),
        )
        handle = find_on_port(int(url.rpartition(":")[2]))
        assert handle is not None
        made = Deployment(version, directory, uris, url, populated, login)
        if populated.get("traces") and tuple(map(int, version.split(".")[:2])) >= (3, 8):
            made.client(version, COSTLY_TRACES)
        initialise(directory / "liftlock.toml", pid=handle.pid, name="test", public_names=(), force=False)
        stack.callback(stop, made)
        yield made


def stop(made: Deployment) -> None:
    """Stop whatever server liftlock runs for a deployment."""
    runtime = made.workspace.runtime
    handle = runtime.find()
    if handle is not None:
        runtime.stop(handle)


def copied(uri: StoreUri, role: Role, server: PostgresServer | None) -> StoreUri:
    """A copy of one database made with plain tools."""
    if server is None:
        target = uri.with_database(f"{uri.path}.oracle")
        with closing(sqlite3.connect(uri.path)) as old, closing(sqlite3.connect(target.path)) as new:
            old.backup(new)
        return target
    target = server.create_database(f"{uri.database}_oracle")
    with psycopg.connect(uri.reveal()) as connection:
        programs = postgresql_tools.find_tools(connection.info.server_version // 10000)
    assert programs is not None
    source, into = parameters(uri), parameters(target)
    dump = subprocess.run(
        [programs.path("pg_dump"), "-Fc", f"--dbname={postgresql_tools.target(source)}"],
        env=postgresql_tools.environment(source), check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        [programs.path("pg_restore"), f"--dbname={postgresql_tools.target(into)}"],
        env=postgresql_tools.environment(into), check=True, input=dump.stdout, capture_output=True,
    )  # fmt: skip
    return target


def migrated_by_hand(uri: StoreUri, role: Role, target: str) -> Store:
    """Run the target's own `mlflow db upgrade` (basic-auth has a command of its own)."""
    python = releases.environment(target).python
    words = ["-m", "mlflow", "db", "upgrade", uri.reveal()]
    if role is Role.AUTH:
        words = ["-m", "mlflow.server.auth", "db", "upgrade", "--url", uri.reveal()]
    run([python, *words], timeout=300, env=clean_environment(), what="mlflow db upgrade")
    return open_store(uri, role)


def fingerprints(stores: Mapping[Role, Store]) -> dict[Role, Fingerprint]:
    """Every row and column of every database."""
    return {role: store.fingerprint() for role, store in stores.items()}


def _new_database(directory: Path, role: Role, server: PostgresServer | None) -> StoreUri:
    if server is None:
        return StoreUri.parse(f"sqlite:///{directory / f'{role.value}.db'}")
    suffix = hashlib.sha256(str(directory).encode()).hexdigest()[:10]
    return server.create_database(f"{role.value}_{suffix}")


def _auth(directory: Path, uri: StoreUri) -> dict[str, str]:
    config = directory / "basic_auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {uri.reveal()}\nadmin_username = {ADMIN}\n"
        f"admin_password = {PASSWORD}\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    config.chmod(0o600)
    return {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for tests"}


def _cheap_password(uri: StoreUri) -> None:
    """One iteration instead of 600,000: the hash costs a server 0.2 s a request."""
    if uri.engine is Engine.SQLITE:
        releases.quick_password(uri.path, ADMIN, PASSWORD)
        return
    digest = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt", 1).hex()
    with psycopg.connect(uri.reveal()) as connection:
        connection.execute(
            "UPDATE users SET password_hash = %s WHERE username = %s", (f"pbkdf2:sha256:1$salt${digest}", ADMIN)
        )


READ = """
import json, mlflow
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

client = MlflowClient()

def pages(call, **arguments):
    token, found = None, []
    while True:
        page = call(page_token=token, **arguments)
        found += page
        token = page.token
        if not token:
            return found

out = {"experiments": {}, "runs": {}, "models": {}, "versions": {}, "traces": {}}
ids = []
for each in pages(client.search_experiments, view_type=ViewType.ALL):
    ids.append(each.experiment_id)
    out["experiments"][each.experiment_id] = repr([each.name, each.lifecycle_stage, sorted(each.tags.items())])
for each in pages(client.search_runs, experiment_ids=ids, run_view_type=ViewType.ALL):
    run = client.get_run(each.info.run_id)
    history = {key: [(m.step, m.timestamp, str(m.value)) for m in client.get_metric_history(run.info.run_id, key)]
               for key in sorted(run.data.metrics)}
    files = [item.path for item in client.list_artifacts(run.info.run_id)]
    out["runs"][run.info.run_id] = repr([run.info.status, run.info.lifecycle_stage, run.info.run_name,
        run.info.start_time, run.info.end_time, sorted(run.data.params.items()), sorted(run.data.tags.items()),
        history, sorted(files)])
for each in pages(client.search_registered_models):
    out["models"][each.name] = repr([each.description, sorted(each.tags.items()), sorted(each.aliases.items())])
for each in pages(client.search_model_versions):
    out["versions"]["%s/%s" % (each.name, each.version)] = repr([each.source, each.run_id, sorted(each.tags.items())])
if hasattr(client, "search_traces"):
    for each in pages(client.search_traces, experiment_ids=ids):
        spans = sorted((span.name, repr(span.inputs), repr(span.outputs)) for span in each.data.spans)
        key = getattr(each.info, "trace_id", None) or each.info.request_id
        out["traces"][key] = repr([spans, sorted(each.info.tags.items())])
print(json.dumps(out))
"""

WRITE = """
import mlflow
from mlflow.tracking import MlflowClient

client = MlflowClient()
experiment = client.create_experiment("written-after")
run = client.create_run(experiment, run_name="after the upgrade").info.run_id
client.log_metric(run, "m", 0.5)
client.log_param(run, "p", "v")
client.set_terminated(run)
print(run)
"""

# Sessions, token counts, models and costs: what 75868b020152 (3.17) moves into columns.
COSTLY_TRACES = """
import mlflow

experiments = mlflow.search_experiments(filter_string="name LIKE 'demo-%'")
mlflow.set_experiment(experiment_id=experiments[0].experiment_id)
for number in range(4):
    with mlflow.start_span(name="chat %d" % number, span_type="LLM") as span:
        span.set_inputs({"question": number})
        span.set_attribute("mlflow.llm.model", "gpt-%d" % number)
        span.set_attribute("mlflow.llm.provider", "somebody")
        span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 10 + number, "output_tokens": 5,
                           "total_tokens": 15 + number})
        span.set_attribute("mlflow.llm.cost", {"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75})
        mlflow.update_current_trace(metadata={"mlflow.trace.session": "session-%d" % number,
                                              "mlflow.trace.user": "somebody"}, tags={"kept": "yes"})
        span.set_outputs({"answer": number})
    mlflow.flush_trace_async_logging()
    mlflow.log_feedback(trace_id=span.trace_id, name="score", value=number / 2)
print("done")
"""
