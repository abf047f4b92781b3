"""Ed25519 signatures through OpenSSH's own `ssh-keygen -Y`: every machine with an SSH client can check them.

The format is SSHSIG, in the namespace `liftlock-evidence`, so that a signature made for something else is none here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
import tempfile
from pathlib import Path

from liftlock import files, proc
from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, Refused, UsageError

NAMESPACE = "liftlock-evidence"
_KIND = "ssh-ed25519"
_WIDTH = 70
_HEAD, _TAIL = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_WHO = "evidence"


class BadSignature(UsageError):
    """The signature is not one of this text by this key."""


def ensure_key(path: Path, *, owner: str) -> Path:
    """The private key at this path, made (0600, without passphrase) when there is none. Raises Refused."""
    if not path.exists():
        files.private_directory(path.parent)
        with tempfile.TemporaryDirectory(prefix=".key-", dir=path.parent) as directory:
            made = Path(directory, "key")
            _keygen(["-q", "-t", "ed25519", "-N", "", "-C", owner, "-f", str(made)], what="making a signing key")
            with side_effect("keep signing key"):
                files.sync_file(made)
                Path(f"{made}.pub").replace(Path(f"{path}.pub"))
                made.replace(path)
                files.sync_directory(path.parent)
    return path


def public_key(path: Path) -> str:
    """`ssh-ed25519 ...` of a key file, private or public, without its comment. Raises UsageError, Refused."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a key: {getattr(error, 'strerror', None) or error}") from error
    if "PRIVATE KEY" in text:
        text = _keygen(["-y", "-P", "", "-f", str(path)], what=f"reading the key {path}").stdout
    words = text.split()
    if len(words) < 2 or words[0] != _KIND:
        raise UsageError(f"{path} is not an Ed25519 key", hint="Make one with: ssh-keygen -t ed25519 -f KEY")
    try:
        base64.b64decode(words[1], validate=True)
    except binascii.Error:
        raise UsageError(f"{path} is not an Ed25519 key") from None
    return f"{_KIND} {words[1]}"


def fingerprint(key: str) -> str:
    """`SHA256:...` of a public key, as `ssh-keygen -l` prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def sign(data: bytes, key: Path) -> str:
    """The armoured signature of a text. `key` is a private key, or a public one whose private half an agent holds.

    Raises Refused when ssh-keygen is missing or cannot use the key (a passphrase needs an agent).
    """
    done = _keygen(["-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE], what="signing", stdin=data)
    return _canonical(done.stdout)


def check(data: bytes, signature: str, key: str) -> None:
    """Prove that this public key signed this text. Raises BadSignature, or Refused when ssh-keygen is missing.

    Only one spelling of a signature is accepted, so that no byte of the file can change unnoticed.
    """
    if _canonical(signature) != signature:
        raise BadSignature("the signature file is not written as it was")
    with tempfile.TemporaryDirectory(prefix="liftlock-") as directory:
        signers, written = Path(directory, "signers"), Path(directory, "signature")
        signers.write_text(f'{_WHO} namespaces="{NAMESPACE}" {key}\n', encoding="ascii")
        written.write_text(signature, encoding="ascii")
        words = ["-Y", "verify", "-f", str(signers), "-I", _WHO, "-n", NAMESPACE, "-s", str(written)]
        try:
            proc.run([_program(), *words], timeout=60, stdin=data, what="checking the signature")
        except CommandFailed as error:
            raise BadSignature("the signature does not fit the statement and the key") from error


def _canonical(signature: str) -> str:
    lines = signature.strip().splitlines()
    if len(lines) < 3 or lines[0] != _HEAD or lines[-1] != _TAIL:
        raise BadSignature("the signature file holds no SSH signature")
    try:
        raw = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature("the signature file is damaged") from None
    text = base64.b64encode(raw).decode()
    return "\n".join([_HEAD, *(text[i : i + _WIDTH] for i in range(0, len(text), _WIDTH)), _TAIL, ""])


def _keygen(words: list[str], *, what: str, stdin: bytes | None = None) -> proc.Completed:
    try:
        return proc.run([_program(), *words], timeout=60, stdin=stdin, what=what)
    except CommandFailed as error:
        raise Refused(
            error.message, hint="A key with a passphrase must be in an agent: run ssh-add, give KEY.pub."
        ) from error


def _program() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise Refused(
            "ssh-keygen is not installed, so nothing can be signed or checked",
            hint="Install your system's OpenSSH client (8.2 or newer).",
        )
    return found
