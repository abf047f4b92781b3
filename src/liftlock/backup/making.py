"""The content of one set while it is made: databases, artifacts, configuration, manifest."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import msgspec

from liftlock.artifacts.interface import ArtifactFile, ArtifactStore
from liftlock.backup import catalog
from liftlock.backup.inventory import StoredArtifact, read_inventory, stored, stored_name, write_inventory
from liftlock.backup.layout import README, SUMS, readme, write_manifest
from liftlock.backup.sealing import Sealer
from liftlock.effects import side_effect
from liftlock.errors import BackupError
from liftlock.files import (
    PRIVATE_DIR,
    PRIVATE_FILE,
    sha256,
    sync_directory,
    sync_file,
    write_atomic,
)
from liftlock.model.deployment import Role
from liftlock.model.progress import Observer
from liftlock.model.secret import Secret, redact
from liftlock.model.snapshot import ArtifactSnapshot, BackupSet, FileEntry, LeftOut, StoreSnapshot
from liftlock.stores.interface import Store

FULL = (errno.ENOSPC, errno.EDQUOT)
# A file changed within this time of the base's making is read again: clocks of file systems tick coarsely.
_CLOSE = timedelta(seconds=2)
_FEW = 200  # files and directories


@dataclass(frozen=True)
class Sources:
    """What one set is made of.

    `artifacts` maps a root's URI to its store. `config` is the text of liftlock.toml, `environment_lock` the frozen
    packages of the server's environment; known secrets are removed from both. `secret_names` are written down,
    their values are not. `passphrase` is the value of MLFLOW_CRYPTO_KEK_PASSPHRASE; only a keyed digest is kept.
    """

    stores: Mapping[Role, Store]
    release: str
    artifacts: Mapping[str, ArtifactStore] = field(default_factory=dict)
    config: str | None = None
    secret_names: tuple[str, ...] = ()
    environment_lock: str | None = None
    passphrase: Secret | None = None


class Making:
    """The making of one set inside `<id>.partial`."""

    def __init__(
        self,
        sources: Sources,
        directory: Path,
        partial: Path,
        base: BackupSet | None,
        sealer: Sealer | None,
        observer: Observer,
    ) -> None:
        self.sources = sources
        self.directory = directory
        self.partial = partial
        self.base = base
        self.sealer = sealer
        self.observer = observer
        self.files: list[FileEntry] = []

    def fill(self, manifest: BackupSet) -> BackupSet:
        """Write everything but the final name."""
        stores = tuple(self._database(role, store) for role, store in self.sources.stores.items())
        artifacts: list[ArtifactSnapshot] = []
        sums: list[FileEntry] = []
        for number, (uri, store) in enumerate(self.sources.artifacts.items()):
            root, entries = self._artifacts(number, uri, store)
            artifacts.append(root)
            sums += entries
        linked = any(root.linked_files for root in artifacts)
        lock = self.sources.environment_lock
        salt = secrets.token_hex(16) if self.sources.passphrase else None
        with side_effect("write backup configuration"):
            self._configuration()
            if self.sealer and (own := self.sealer.write_identity(self.partial)):
                self.files.append(own)
        manifest = msgspec.structs.replace(
            manifest,
            stores=stores,
            artifacts=tuple(artifacts),
            files=tuple(self.files),
            environment_lock="environment/lock.txt" if lock is not None else None,
            passphrase_check=(
                catalog.passphrase_digest(self.sources.passphrase, salt) if self.sources.passphrase and salt else None
            ),
            passphrase_salt=salt,
            encrypted=self.sealer is not None,
            recipients=self.sealer.public if self.sealer else (),
            base=self.base.id if self.base and linked else None,
        )
        with side_effect("write backup manifest"):
            self._plain(README, readme(manifest))
            self._plain(SUMS, "".join(map(_sum_line, [*self.files, *sums])))
            manifest = msgspec.structs.replace(
                manifest, files=tuple(sorted(self.files, key=lambda entry: entry.path))
            )  # fmt: skip
            _narrow(self.partial)
            _flush(self.partial)  # before the manifest that vouches for it all
            write_manifest(self.partial, manifest)
        return manifest

    def _database(self, role: Role, store: Store) -> StoreSnapshot:
        relative = f"databases/{role}"
        place = self.partial / relative
        place.mkdir(parents=True, mode=PRIVATE_DIR)
        with side_effect(f"snapshot {role}"):
            snapshot = store.snapshot(place, observer=self.observer)
        listed = {entry.path for entry in snapshot.files}
        present = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
        if listed != present:
            raise BackupError(f"the snapshot of the {role} database is not what it says: {sorted(listed ^ present)}")
        with side_effect(f"seal {role}"):
            for entry in snapshot.files:
                self._add(f"{relative}/{entry.path}", entry.bytes, entry.sha256)
        return msgspec.structs.replace(snapshot, directory=relative)

    def _artifacts(
        self, number: int, uri: str, store: ArtifactStore
    ) -> tuple[ArtifactSnapshot, list[FileEntry]]:  # fmt: skip
        relative = f"artifacts/{number}"
        place = self.partial / relative
        place.mkdir(parents=True, mode=PRIVATE_DIR)
        encrypted = self.sealer is not None
        base_place, held = self._held(uri)
        left_out: dict[str, str] = {}
        entries: dict[str, StoredArtifact] = {}
        linked: list[ArtifactFile] = []
        wanted = store.inventory(known=self._known(held), on_skip=left_out.__setitem__, observer=self.observer)
        with side_effect(f"copy artifacts {number}"):
            copy: list[ArtifactFile] = []
            for file in wanted:
                before = held.get(file.path)
                name = stored_name(file.path, encrypted=encrypted)
                if before and base_place and before.sha256 == file.sha256 and _link(base_place / name, place / name):
                    entries[file.path] = stored(file, before.stored_bytes, before.stored_sha256)
                    linked.append(file)
                else:
                    copy.append(file)
            for file in self._copy(store, copy, place, left_out):
                size, digest = file.bytes, file.sha256
                if self.sealer:
                    size, digest = self.sealer.seal(place / file.path)
                entries[file.path] = stored(file, size, digest)
            inventory = f"{relative}.inventory.jsonl"
            write_inventory(self.partial / inventory, entries.values())
        self._plain_entry(inventory)
        root = ArtifactSnapshot(
            uri=redact(uri),
            directory=relative,
            inventory=inventory,
            files=len(entries),
            bytes=sum(entry.bytes for entry in entries.values()),
            linked_files=len(linked),
            linked_bytes=sum(file.bytes for file in linked),
            left_out=tuple(LeftOut(path=path, reason=reason) for path, reason in sorted(left_out.items())),
        )
        return root, [
            FileEntry(
                path=f"{relative}/{stored_name(entry.path, encrypted=encrypted)}",
                bytes=entry.stored_bytes,
                sha256=entry.stored_sha256,
            )
            for entry in entries.values()
        ]

    def _copy(
        self, store: ArtifactStore, files: list[ArtifactFile], place: Path, left_out: dict[str, str]
    ) -> list[ArtifactFile]:
        """Copy, and give files that changed meanwhile one more chance; those that change again are left out."""
        moved: dict[str, str] = {}
        store.copy(files, place, on_skip=moved.__setitem__, observer=self.observer)
        if not moved:
            return files
        copied = [file for file in files if file.path not in moved]
        again = [
            file
            for file in store.inventory(known=files, on_skip=lambda *_: None, observer=self.observer)
            if file.path in moved
        ]
        lost = dict(moved)
        for file in again:
            lost.pop(file.path)
        store.copy(again, place, on_skip=lost.__setitem__, observer=self.observer)
        left_out.update(lost)
        return copied + [file for file in again if file.path not in lost]

    def _held(self, uri: str) -> tuple[Path | None, dict[str, StoredArtifact]]:
        if self.base is None:
            return None, {}
        root = next((root for root in self.base.artifacts if root.uri == redact(uri)), None)
        if root is None:
            return None, {}
        home = self.directory / self.base.id
        return home / root.directory, {entry.path: entry for entry in read_inventory(home, root)}

    def _known(self, held: Mapping[str, StoredArtifact]) -> list[ArtifactFile]:
        if self.base is None:
            return []
        limit = (self.base.created_at - _CLOSE).timestamp() * 1e9
        return [entry.file for entry in held.values() if entry.mtime_ns < limit]

    def _configuration(self) -> None:
        texts = {
            "configuration/liftlock.toml": self.sources.config,
            "configuration/secrets.txt": "".join(f"{name}\n" for name in self.sources.secret_names),
            "environment/lock.txt": self.sources.environment_lock,
        }
        for name, text in texts.items():
            if text is None:
                continue
            path = self.partial / name
            path.parent.mkdir(exist_ok=True, mode=PRIVATE_DIR)
            write_atomic(path, redact(text))
            self._add(name, path.stat().st_size, sha256(path))

    def _plain(self, name: str, text: str) -> None:
        write_atomic(self.partial / name, text)
        self._plain_entry(name)

    def _plain_entry(self, name: str) -> None:
        path = self.partial / name
        self.files.append(FileEntry(path=name, bytes=path.stat().st_size, sha256=sha256(path)))

    def _add(self, name: str, size: int, digest: str) -> None:
        """Enter one payload file, encrypting it first where asked."""
        if self.sealer:
            size, digest = self.sealer.seal(self.partial / name)
            name = stored_name(name, encrypted=True)
        self.files.append(FileEntry(path=name, bytes=size, sha256=digest))


def _link(old: Path, new: Path) -> bool:
    """Share a file with the base set; False where the file system cannot, or the base has lost it."""
    try:
        new.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
        new.hardlink_to(old)
    except OSError as error:
        if error.errno in FULL:
            raise
        return False
    return True


def _narrow(directory: Path) -> None:
    """Take every right from group and others, whatever a database's own tools left."""
    for path in directory.rglob("*"):
        wanted = PRIVATE_DIR if path.is_dir() else PRIVATE_FILE
        if path.stat().st_mode & 0o777 != wanted:
            path.chmod(wanted)


def _flush(directory: Path) -> None:
    """Everything below a directory is on disk then. Few files one by one: a flush of the whole machine also waits for
    what others have written, a database's server for instance.
    """
    paths = list(directory.rglob("*"))
    if len(paths) > _FEW:
        os.sync()
        return
    for path in paths:
        if path.is_dir():
            sync_directory(path)
        else:
            sync_file(path)
    sync_directory(directory)


def _sum_line(entry: FileEntry) -> str:
    r"""One line as sha256sum writes it: names with a backslash or newline are escaped, the line then starts with \."""
    name = entry.path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{chr(92) if name != entry.path else ''}{entry.sha256}  {name}\n"
