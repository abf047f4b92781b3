"""A release of MLflow made for fault injection: it has a schema, a server and a client, and takes milliseconds.

Never the proof of a feature: only of what liftlock does when something goes wrong. It comes as wheels that uv installs
from a directory, so everything of liftlock's own runs as it always does: environments are resolved, installed, proven
and cached, servers are processes, databases are files and servers. 90.1.0 and 90.1.1 have one schema, 90.2.0 has two
revisions more (tracking) and one more (auth). The two bear the names of revisions of MLflow that do as much, so that an
online upgrade knows them.

STUB_MIGRATE (in liftlock's environment): `fail:REV`, `slow:REV` (STUB_SECONDS), `lose`. STUB_SERVER (in
server.environment of liftlock.toml): `RELEASE:word,word` of die, hang, wrong-version, lose-run, write-run,
write-when-asked, slow-MILLISECONDS.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import hashlib
import io
import os
import pprint
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import uv

FILES = Path(__file__).parent / "stub_files"
OLD, PATCH, NEW = "90.1.0", "90.1.1", "90.2.0"
OLD_HEAD, MIDDLE, NEW_HEAD = "t002", "1b5f0d9ad7c1", "de4033877273"
_TRACKING = [
    (
        "t001",
        [
            "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY @IDENTITY@, name VARCHAR(256) UNIQUE NOT NULL,"
            " lifecycle_stage VARCHAR(32))",
            "CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY NOT NULL,"
            " experiment_id INTEGER REFERENCES experiments, name VARCHAR(250), status VARCHAR(20), start_time BIGINT,"
            " lifecycle_stage VARCHAR(20))",
            "CREATE TABLE params (key VARCHAR(250) NOT NULL, value VARCHAR(500),"
            " run_uuid VARCHAR(32) NOT NULL REFERENCES runs, PRIMARY KEY (key, run_uuid))",
            "CREATE TABLE tags (key VARCHAR(250) NOT NULL, value VARCHAR(500),"
            " run_uuid VARCHAR(32) NOT NULL REFERENCES runs, PRIMARY KEY (key, run_uuid))",
            "CREATE TABLE metrics (key VARCHAR(250) NOT NULL, value VARCHAR(40) NOT NULL, timestamp BIGINT NOT NULL,"
            " step BIGINT NOT NULL, run_uuid VARCHAR(32) NOT NULL REFERENCES runs,"
            " PRIMARY KEY (run_uuid, key, step, timestamp, value))",
            "CREATE TABLE registered_models (name VARCHAR(256) PRIMARY KEY NOT NULL)",
            "CREATE TABLE model_versions (name VARCHAR(256) NOT NULL REFERENCES registered_models,"
            " version INTEGER NOT NULL, creation_time BIGINT, PRIMARY KEY (name, version))",
        ],
    ),
    ("t002", ["CREATE INDEX metrics_run ON metrics (run_uuid)"]),
    (MIDDLE, ["ALTER TABLE experiments ADD COLUMN workspace VARCHAR(63) DEFAULT 'default' NOT NULL"]),
    (
        NEW_HEAD,
        ["CREATE TABLE stub_notes (name VARCHAR(20) PRIMARY KEY NOT NULL)", "INSERT INTO stub_notes VALUES ('one')"],
    ),
]
_AUTH = [
    ("u001", ["CREATE TABLE users (username VARCHAR(255) PRIMARY KEY NOT NULL, password_hash VARCHAR(255))"]),
    ("f1a2b3c4d5e6", ["ALTER TABLE users ADD COLUMN note VARCHAR(20)"]),
]
_LENGTHS = {OLD: (2, 1), PATCH: (2, 1), NEW: (4, 2)}
_SMALL = {
    "mlflow/__main__.py": "import sys\nfrom mlflow._server import main\nmain(sys.argv[1:])\n",
    "mlflow/exceptions.py": (
        "class MlflowException(Exception):\n    @property\n    def error_code(self):\n        return str(self)\n"
    ),
    "mlflow/entities/__init__.py": (
        "from types import SimpleNamespace\n"
        "def Metric(key, value, timestamp, step):\n"
        "    return SimpleNamespace(key=key, value=value, timestamp=timestamp, step=step)\n"
        "def Param(key, value):\n    return SimpleNamespace(key=key, value=value)\n"
        "RunTag = Param\n"
        "LifecycleStage = SimpleNamespace(DELETED='deleted')\nViewType = SimpleNamespace(ALL='all')\n"
    ),
    "mlflow/tracking/__init__.py": "from mlflow._client import MlflowClient\n",
    "mlflow/pyfunc.py": "from mlflow._client import Model as load_model, log_model\nclass PythonModel: pass\n",
    "mlflow/store/__init__.py": "",
    "mlflow/store/artifact/__init__.py": "",
    "mlflow/store/artifact/artifact_repository_registry.py": (
        "from mlflow._client import Repository as get_artifact_repository\n"
    ),
    "mlflow/store/db/__init__.py": "",
    "mlflow/store/db/utils.py": (
        "from mlflow._database import CHAINS\nimport sqlalchemy\n"
        "create_sqlalchemy_engine = sqlalchemy.create_engine\n"
        "def _get_alembic_config(uri):\n    return 'tracking'\n"
        "def _get_latest_schema_revision():\n    return CHAINS['tracking'][-1][0]\n"
        "def _upgrade_db(engine):\n    engine.migrate('tracking')\n"
    ),
    "mlflow/store/tracking/__init__.py": "",
    "mlflow/store/tracking/sqlalchemy_store.py": "from mlflow._client import SqlAlchemyStore as Erasing\n"
    "from mlflow._database import Database, migrate\n"
    "class SqlAlchemyStore(Erasing):\n"
    "    def get_experiment(self, experiment):\n"
    "        if experiment == '0':\n"
    "            from types import SimpleNamespace\n            return SimpleNamespace(name='Default')\n"
    "        return super().get_experiment(experiment)\n",
    "mlflow/store/model_registry/__init__.py": "",
    "mlflow/store/model_registry/sqlalchemy_store.py": "from types import SimpleNamespace\n"
    "from mlflow._database import Database\n"
    "class SqlAlchemyStore:\n"
    "    def __init__(self, uri):\n        self.database = Database(uri)\n"
    "    def search_registered_models(self, filter_string):\n"
    "        pattern = filter_string.partition(chr(39))[2].rstrip(chr(39))\n"
    "        rows = self.database.run('SELECT name FROM registered_models WHERE name LIKE ?', pattern)\n"
    "        return [SimpleNamespace(name=name) for (name,) in rows]\n"
    "    def delete_registered_model(self, name):\n"
    "        self.database.run('DELETE FROM model_versions WHERE name = ?', name)\n"
    "        self.database.run('DELETE FROM registered_models WHERE name = ?', name)\n",
    "mlflow/store/tracking/dbmodels/__init__.py": "",
    "mlflow/store/tracking/dbmodels/models.py": "",
    "mlflow/server/__init__.py": "",
    "mlflow/server/auth/__init__.py": "",
    "mlflow/server/auth/db/__init__.py": "",
    "mlflow/server/auth/db/utils.py": (
        "def _get_alembic_config(uri):\n    return 'auth'\n"
        "def _is_legacy_database(engine):\n    return False\n"
        "def migrate(engine, revision):\n    engine.migrate('auth')\n"
    ),
    "alembic/__init__.py": "",
    "alembic/command.py": "",
    "alembic/runtime/__init__.py": "",
    "alembic/runtime/migration.py": "import logging\nlog = logging.getLogger('alembic.runtime.migration')\n",
    "alembic/migration.py": (
        "class MigrationContext:\n"
        "    def __init__(self, database, table):\n        self.database, self.table = database, table\n"
        "    @classmethod\n    def configure(cls, database, opts=None):\n"
        "        return cls(database, (opts or {}).get('version_table', 'alembic_version'))\n"
        "    def get_current_heads(self):\n"
        "        if self.table not in self.database.tables():\n            return ()\n"
        "        return tuple(row[0] for row in self.database.run('SELECT version_num FROM ' + self.table))\n"
        "    def get_current_revision(self):\n        return (self.get_current_heads() or (None,))[0]\n"
    ),
    "alembic/script.py": (
        "from types import SimpleNamespace\nfrom mlflow._database import CHAINS\n"
        "class ScriptDirectory:\n"
        "    @classmethod\n    def from_config(cls, chain):\n        made = cls()\n        made.chain = chain\n"
        "        return made\n"
        "    def walk_revisions(self):\n"
        "        return [SimpleNamespace(revision=name) for name, _ in CHAINS[self.chain]]\n"
    ),
    "sqlalchemy/__init__.py": (
        "import contextlib\nfrom types import SimpleNamespace\nfrom alembic.runtime import migration\n"
        "from mlflow._database import Database, migrate\n__version__ = '2.0.0'\n"
        "class Engine:\n"
        "    dialect = SimpleNamespace(driver='stub')\n"
        "    def __init__(self, uri):\n        self.uri = uri\n"
        "    def migrate(self, chain):\n"
        "        say = 'Running upgrade %s -> %s, x'\n"
        "        migrate(self.uri, chain, lambda old, new: migration.log.info(say, old, new))\n"
        "    @contextlib.contextmanager\n    def connect(self):\n"
        "        database = Database(self.uri)\n        try:\n            yield database\n"
        "        finally:\n            database.close()\n"
        "    begin = connect\n"
        "    def dispose(self):\n        pass\n"
        "create_engine = Engine\n"
        "class MetaData:\n    tables = {}\n    def reflect(self, bind):\n        pass\n"
    ),
}


def _sources(release: str) -> dict[str, str]:
    tracking, auth = _LENGTHS[release]
    chains = {"tracking": _TRACKING[:tracking], "auth": _AUTH[:auth]}
    text = (FILES / "database.py.txt").read_text()
    text = text.replace("@RELEASE@", release).replace("@SITE@", sysconfig.get_path("purelib"))
    files = {
        **_SMALL,
        "mlflow/__init__.py": f"__version__ = {release!r}\n"
        "def __getattr__(name):\n    import mlflow._client\n    return getattr(mlflow._client, name)\n"
        "from mlflow import pyfunc\n",
        "mlflow/_database.py": text.replace("@CHAINS@", pprint.pformat(chains, width=120)),
        "mlflow/_server.py": (FILES / "server.py.txt").read_text(),
        "mlflow/_client.py": (FILES / "client.py.txt").read_text(),
    }
    for chain, place in (
        ("tracking", "mlflow/store/db_migrations/versions"),
        ("auth", "mlflow/server/auth/db/migrations/versions"),
    ):
        before = None
        for name, _ in chains[chain]:
            files[f"{place}/{name}.py"] = f"revision = {name!r}\ndown_revision = {before!r}\n"
            before = name
    return files


def _wheel(name: str, version: str, files: dict[str, str], *, extra: str = "") -> bytes:
    info = f"{name}-{version}.dist-info"
    whole = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, text in whole.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(text.encode())}")
            archive.writestr(zipfile.ZipInfo(path), text)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return stream.getvalue()


_WARM = """
import sys
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.releases.environment import Environments
from pathlib import Path
for release in sys.argv[2:]:
    Environments().build(Release.parse(release), drivers={Engine.SQLITE})
old = Environments().observe(Path(sys.argv[1]))
Environments().rebuild(old.lock, old.python_version)
"""


@functools.cache
def home() -> Path:
    """The directory that holds wheels, the old environment and the cache; made once, named by its content."""
    wheels = {
        f"mlflow-{release}-py3-none-any.whl": _wheel(
            "mlflow", release, _sources(release), extra="Provides-Extra: auth\n"
        )
        for release in _LENGTHS
    }
    # The driver a PostgreSQL deployment asks for; the stub takes psycopg from our own environment.
    wheels["psycopg2_binary-2.9.0-py3-none-any.whl"] = _wheel("psycopg2_binary", "2.9.0", {"psycopg2/__init__.py": ""})
    parts = [Path(__file__).read_bytes(), *(wheels[name] for name in sorted(wheels))]
    digest = hashlib.sha256(b"".join(parts)).hexdigest()[:12]
    place = Path(__file__).resolve().parents[2] / ".build" / f"stub-{digest}"
    (place / "wheels").mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            _index(place / "wheels", wheels)
            _install(place)
            (place / "ready").touch()
    return place


def _index(place: Path, wheels: dict[str, bytes]) -> None:
    """A package index as a directory (PEP 503), with hashes: a bare directory of wheels gives none."""
    pages: dict[str, list[str]] = {}
    for name, raw in wheels.items():
        project = name.partition("-")[0].replace("_", "-")
        (place / project).mkdir(exist_ok=True)
        (place / project / name).write_bytes(raw)
        link = f'<a href="{name}#sha256={hashlib.sha256(raw).hexdigest()}">{name}</a>'
        pages.setdefault(project, []).append(link)
    for project, links in pages.items():
        (place / project / "index.html").write_text("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>")


def _install(place: Path) -> None:
    program = uv.find_uv_bin()
    env = {**os.environ, **sources(place)}
    for words in (
        ["venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(place / "old")],
        ["pip", "install", "--quiet", "--python", str(place / "old" / "bin" / "python"), f"mlflow=={OLD}"],
    ):
        subprocess.run([program, *words], env=env, check=True, timeout=120)
    # Now, and not in a test whose STUB_MIGRATE would make the proof of an environment misbehave too.
    warm = {**env, "LIFTLOCK_CACHE": str(place / "cache")}
    subprocess.run(
        [sys.executable, "-c", _WARM, str(place / "old" / "bin" / "python"), *_LENGTHS],
        env=warm,
        check=True,
        timeout=300,
    )


def sources(place: Path) -> dict[str, str]:
    """Variables that make uv take packages from the directory of wheels and nowhere else."""
    return {"UV_DEFAULT_INDEX": f"file://{place / 'wheels'}"}


def old_python() -> Path:
    """The interpreter of the person's own environment with the old release."""
    return home() / "old" / "bin" / "python"


def make_cache(directory: Path) -> None:
    """A cache that knows the environments of the shared one and keeps marks of its own."""
    for record in (home() / "cache").glob("environments/*/environment.json"):
        place = directory / "environments" / record.parent.name
        place.mkdir(parents=True)
        shutil.copy(record, place)
    shutil.copytree(home() / "cache" / "requests", directory / "requests")


def variables(cache: Path) -> dict[str, str]:
    """Variables for liftlock's own process: wheels from the directory, environments in a cache of the deployment."""
    return {**sources(home()), "LIFTLOCK_CACHE": str(cache)}
