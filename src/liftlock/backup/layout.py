"""Where things lie inside a backup set, and its manifest: written last, atomically, and sealed by a digest of itself.

    <backup directory>/<id>/manifest.json            what the set holds; written last
                            README.txt               how to restore by hand, without liftlock
                            SHA256SUMS               for `sha256sum --check`
                            databases/<role>/        as `Store.snapshot` wrote it
                            artifacts/<n>/           one artifact root
                            artifacts/<n>.inventory.jsonl
                            configuration/           liftlock.toml, names of secrets
                            environment/lock.txt     the exact packages of the server's environment
                            identity.age             only with a passphrase: the set's key, locked with it

`<id>.partial` is a set that is being made (or whose making was killed), `<id>.removing` one that is being removed,
`.open-*` a decrypted copy in use. None of them is ever listed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from liftlock.errors import BackupError
from liftlock.files import write_atomic
from liftlock.model.codec import from_builtins, to_builtins
from liftlock.model.snapshot import FORMAT, BackupSet

MANIFEST = "manifest.json"
README = "README.txt"
SUMS = "SHA256SUMS"
IDENTITY = "identity.age"
PARTIAL = ".partial"
REMOVING = ".removing"
OPENED = ".open-"
ENCRYPTED = ".age"

_ANOTHER = "Use another set; `liftlock backup list` shows them."


def write_manifest(directory: Path, manifest: BackupSet) -> None:
    """Write (or replace) the manifest of the set in `directory`. Raises OSError."""
    data = to_builtins(manifest)
    write_atomic(directory / MANIFEST, _render({**data, "digest": _digest(data)}))


def read_manifest(directory: Path) -> BackupSet:
    """The manifest of the set in `directory`.

    Raises BackupError when there is none, when it is of a newer format, or when as much as one byte was changed.
    """
    path = directory / MANIFEST
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(f"{directory} is not a finished backup: it has no {MANIFEST}", hint=_ANOTHER) from None
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from error
    damaged = BackupError(f"{path} was changed or damaged after it was written", hint=_ANOTHER)
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(data, dict):
        raise damaged
    digest = data.pop("digest", None)
    if _render({**data, "digest": digest}) != raw or digest != _digest(data):
        raise damaged
    if data.get("format") != FORMAT:
        raise BackupError(
            f"{directory} has format {data.get('format')}, this liftlock reads format {FORMAT}",
            hint="Use the release of liftlock that made it, or a newer one.",
        )
    try:
        manifest = from_builtins(data, BackupSet)
    except ValueError as error:
        raise BackupError(f"{path} does not fit format {FORMAT}: {error}", hint=_ANOTHER) from None
    if manifest.id != directory.name.removesuffix(PARTIAL):
        raise BackupError(
            f"{directory} holds the backup {manifest.id}", hint=f"Give the directory its name back: {manifest.id}."
        )
    return manifest


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(_render(data)).hexdigest()


def _render(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def readme(manifest: BackupSet) -> str:
    """The text of README.txt: how to check and restore this very set with ordinary tools."""
    lines = [
        f"Backup {manifest.id} of an MLflow {manifest.release} deployment, made by liftlock.",
        "",
        "With liftlock:    liftlock backup verify|restore " + manifest.id,
        "Without liftlock: run the commands below in this directory, with the MLflow server stopped.",
        "",
        "Check that nothing was damaged:",
        f"    sha256sum --check --quiet {SUMS}",
        "",
    ]
    if manifest.encrypted:
        unlock = [f"    age --decrypt --output KEY-FILE {IDENTITY}"] if manifest.passphrase_locked else []
        lines += [
            f"Files that end in {ENCRYPTED} are encrypted with age (https://age-encryption.org). To decrypt them all:",
            *unlock,
            f"    find . -name '*{ENCRYPTED}' ! -path ./{IDENTITY} -exec sh -c \\",
            f'      \'age --decrypt --identity KEY-FILE --output "${{1%{ENCRYPTED}}}" "$1"\' _ {{}} \\;',
            "",
        ]
    for store in manifest.stores:
        lines += [f"The {store.role} database ({store.engine} {store.engine_version}, revision {store.revision}):"]
        lines += [f"    {line}" for line in _BY_HAND.get(store.method, ("see " + store.directory,))]
        lines = [line.replace("DIRECTORY", store.directory) for line in lines] + [""]
    for root in manifest.artifacts:
        lines += [f"Artifacts of {root.uri} ({root.files} files):", f"    cp -a {root.directory}/. TARGET/", ""]
    lines += [
        "configuration/ and environment/ hold the configuration and the exact packages of the server's environment.",
        "Secrets are not in this set: configuration/secrets.txt names those you need.",
    ]
    return "\n".join(lines) + "\n"


_BY_HAND = {
    "sqlite-file": (
        "rm -f TARGET.db-wal TARGET.db-shm TARGET.db-journal",
        "cp DIRECTORY/database.sqlite TARGET.db",
    ),
    "pg-dump-directory": (
        "createdb TARGET",
        "pg_restore --exit-on-error --no-owner --jobs 2 --dbname TARGET DIRECTORY",
    ),
    "copy-streams": (
        "createdb TARGET",
        "psql --set ON_ERROR_STOP=1 --dbname TARGET --file DIRECTORY/schema.sql",
        "for each entry of DIRECTORY/tables.json, in psql: \\copy SCHEMA.TABLE (COLUMNS) FROM 'DIRECTORY/FILE'",
        "psql --set ON_ERROR_STOP=1 --dbname TARGET --file DIRECTORY/schema-after.sql",
    ),
}
