"""What the tests of backup sets share: real SQLite databases, an artifact root, and a program to kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from liftlock.artifacts.local import LocalArtifacts
from liftlock.backup.create import Sources
from liftlock.model.deployment import Role
from liftlock.model.secret import Secret
from liftlock.model.uri import StoreUri
from liftlock.stores.interface import Store
from liftlock.stores.opening import open_store
from tests.support.sqlite import make_database

ROOT_URI = "mlflow-artifacts:/"
CANARY_PASSPHRASE = "canary-passphrase-5f1c"
CANARY_PASSWORD = "canary-password-77ab"

# Makes one backup of the deployment in argv[1] below argv[2]: run as a child, it can be killed at every effect.
CREATE = """
import sys
from pathlib import Path
from liftlock.backup.create import create
from tests.support.backups import reopened
print(create(reopened(Path(sys.argv[1])), Path(sys.argv[2])).id)
"""


def deployment(directory: Path, *, files: int = 12) -> Sources:
    """Two databases and an artifact root below `directory`."""
    make_database(directory / "mlflow.db")
    make_database(directory / "auth.db", Role.AUTH)
    root = directory / "mlartifacts"
    for number in range(files):
        path = root / str(number % 3) / "model" / f"weights {number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number % 251]) * (number * 1000))
    return reopened(directory)


def reopened(directory: Path) -> Sources:
    """The sources over what `deployment` made."""

    def store(name: str, role: Role) -> Store:
        return open_store(StoreUri.parse(f"sqlite:///{directory / name}"), role)

    Secret(CANARY_PASSWORD)
    return Sources(
        stores={Role.TRACKING: store("mlflow.db", Role.TRACKING), Role.AUTH: store("auth.db", Role.AUTH)},
        release="2.9.2",
        artifacts={ROOT_URI: LocalArtifacts(directory / "mlartifacts")},
        config=f'name = "test"\nuri = "postgresql://mlflow:{CANARY_PASSWORD}@host/db"\n',
        secret_names=("MLFLOW_CRYPTO_KEK_PASSPHRASE",),
        environment_lock=f"mlflow==2.9.2\n# --index-url https://me:{CANARY_PASSWORD}@index.example/simple\n",
        passphrase=Secret(CANARY_PASSPHRASE),
    )


def only_artifacts(sources: Sources) -> Sources:
    """Without databases: for tests of files alone, which are much faster."""
    return replace(sources, stores={})
