"""Encryption of backup files in the age format, by pyrage (bindings to the Rust implementation).

Every payload file becomes `<name>.age`, encrypted to public keys, so the ordinary `age` tool opens it. A
passphrase cannot be mixed with keys in one age file and costs a second of scrypt a file, so with a passphrase a
set gets a key of its own, which lies beside the data as `identity.age`, locked with the passphrase: `age`
takes such a file as an identity.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from liftlock.backup.layout import ENCRYPTED, IDENTITY
from liftlock.errors import BackupError, UsageError
from liftlock.files import PRIVATE_DIR, write_atomic
from liftlock.lazy import Lazy
from liftlock.model.secret import Secret
from liftlock.model.snapshot import BackupSet, FileEntry

if TYPE_CHECKING:
    import pyrage
else:
    pyrage = Lazy("pyrage")


@dataclass(frozen=True)
class Recipients:
    """To whom a set is encrypted: public keys (`age1...`), a passphrase, or both."""

    keys: tuple[str, ...] = ()
    passphrase: Secret | None = None


@dataclass(frozen=True)
class Identities:
    """What opens encrypted sets: private keys (`AGE-SECRET-KEY-1...`), the passphrase, or both."""

    keys: tuple[Secret, ...] = ()
    passphrase: Secret | None = None


class Sealer:
    """Encrypts files to one set of recipients. Raises UsageError for a key that is none."""

    def __init__(self, recipients: Recipients, *, base: Path | None = None) -> None:
        """`base`: a set whose own key is taken over when the passphrase opens it, so that its files can be linked."""
        self.locked: bytes | None = None
        public = list(recipients.keys)
        if recipients.passphrase:
            phrase = recipients.passphrase.reveal()
            self.locked, identity = _own_key(base, phrase)
            public.append(str(identity.to_public()))
        if not public:
            raise UsageError("nobody could open the backup", hint="Name a public key (age1...) or a passphrase.")
        self.public = tuple(dict.fromkeys(public))
        try:
            self._recipients = [pyrage.x25519.Recipient.from_str(key) for key in self.public]
        except pyrage.RecipientError as error:
            raise UsageError(f"not a public age key: {error}", hint="They look like age1... .") from None

    def seal(self, path: Path) -> tuple[int, str]:
        """Replace a file by `<name>.age`; bytes and SHA-256 of what is stored now. Raises OSError."""
        target = path.with_name(path.name + ENCRYPTED)
        with path.open("rb") as source, target.open("xb") as raw:
            writer = _Digesting(raw)
            pyrage.encrypt_io(source, writer, self._recipients)
        path.unlink()
        return writer.bytes, writer.digest.hexdigest()

    def write_identity(self, directory: Path) -> FileEntry | None:
        """Put the locked key of the set beside its data, if it has one."""
        if self.locked is None:
            return None
        write_atomic(directory / IDENTITY, self.locked)
        return FileEntry(path=IDENTITY, bytes=len(self.locked), sha256=hashlib.sha256(self.locked).hexdigest())


class Opener:
    """Decrypts the files of one set. Raises BackupError when the keys or the passphrase do not open it."""

    def __init__(self, directory: Path, manifest: BackupSet, identities: Identities) -> None:
        self._identities = []
        try:
            self._identities = [pyrage.x25519.Identity.from_str(key.reveal().strip()) for key in identities.keys]
        except pyrage.IdentityError:
            raise UsageError("a private age key is malformed", hint="They look like AGE-SECRET-KEY-1... .") from None
        if identities.passphrase and manifest.passphrase_locked:
            own = _unlock((directory / IDENTITY).read_bytes(), identities.passphrase.reveal())
            if own is None:
                raise BackupError(f"the passphrase does not open backup {manifest.id}")
            self._identities.append(own)
        if not {str(identity.to_public()) for identity in self._identities} & set(manifest.recipients):
            raise BackupError(
                f"backup {manifest.id} is encrypted and none of the keys given opens it",
                hint=f"It was encrypted to: {', '.join(manifest.recipients)}"
                + (" (the last by passphrase)." if manifest.passphrase_locked else "."),
            )

    def open(self, source: Path, target: Path) -> None:
        """Decrypt one file into a new file. Raises BackupError when it is damaged, OSError when it cannot write."""
        target.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
        try:
            with source.open("rb") as sealed, target.open("xb") as plain:
                pyrage.decrypt_io(sealed, plain, self._identities)
        except pyrage.DecryptError as error:
            raise BackupError(f"{source} is damaged: {error}") from None


class _Digesting:
    """A writer that keeps the SHA-256 and the number of the bytes it passes on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _own_key(base: Path | None, phrase: str) -> tuple[bytes, pyrage.x25519.Identity]:
    if base is not None and (base / IDENTITY).exists():
        locked = (base / IDENTITY).read_bytes()
        identity = _unlock(locked, phrase)
        if identity is not None:
            return locked, identity
    identity = pyrage.x25519.Identity.generate()
    return pyrage.passphrase.encrypt(f"{identity}\n".encode(), phrase), identity


def _unlock(locked: bytes, phrase: str) -> pyrage.x25519.Identity | None:
    try:
        return pyrage.x25519.Identity.from_str(pyrage.passphrase.decrypt(locked, phrase).decode().strip())
    except (pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError):
        return None
