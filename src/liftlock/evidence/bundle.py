"""A bundle: a directory of files, a statement with the SHA-256 of each, and a signature of the statement.

It appears whole or not at all, and is checked with nothing but itself and a public key.
"""

from __future__ import annotations

import hashlib
import re
import stat
from pathlib import Path
from typing import Any

import msgspec

from liftlock import files
from liftlock.effects import side_effect
from liftlock.errors import LiftlockError, Refused, UsageError
from liftlock.evidence import chain, signing
from liftlock.model.codec import from_json, to_builtins, to_json
from liftlock.model.evidence import FORMAT, PREDICATE, STATEMENT, Predicate, Statement, Subject, Summary
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.secret import redact, redact_values

STATEMENT_FILE = "statement.json"
SIGNATURE_FILE = "statement.json.sig"
SUMS_FILE = "SHA256SUMS"
KEY_FILE = "key.pub"
JOURNAL_FILE = "journal.jsonl"
SUMMARY_FILE = "summary.json"
_OUTSIDE = frozenset({STATEMENT_FILE, SIGNATURE_FILE, SUMS_FILE})
_NAME = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")


class BadEvidence(UsageError):
    """A directory that is no evidence, or of a format this program does not know."""


class Contents:
    """The files of a bundle to be. Everything put in is redacted; what cannot be is refused."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def text(self, name: str, text: str) -> None:
        """Add a text, redacted."""
        self._add(name, redact(text).encode())

    def json(self, name: str, value: Any) -> None:
        """Add a value as JSON, redacted value by value, so that it stays JSON."""
        self.text(name, to_json(redact_values(to_builtins(value)), indent=2) + "\n")

    def raw(self, name: str, data: bytes) -> None:
        """Add bytes as they are. Raises Refused when they hold a known secret."""
        text = data.decode("utf-8", "replace")
        if redact(text) != text:
            raise Refused(f"{name} holds a secret of this deployment", hint="Remove it from the file, then try again.")
        self._add(name, data)

    def _add(self, name: str, data: bytes) -> None:
        if not _NAME.fullmatch(name) or any(part.strip(".") == "" for part in name.split("/")):
            raise UsageError(f"{name!r} cannot be a file name in evidence", hint="Use letters, digits, '.', '_', '-'.")
        if name in self.files or name in _OUTSIDE:
            raise UsageError(f"{name} would be in the evidence twice")
        self.files[name] = data


def seal(target: Path, contents: Contents, predicate: Predicate, key: Path) -> Path:
    """Write and sign the bundle as a new directory. Raises Refused when it exists or cannot be written or signed."""
    if target.exists():
        raise Refused(f"{target} already exists", hint="Choose another place with --output.")
    public = signing.public_key(key)
    contents.text(KEY_FILE, f"{public}\n")
    statement = Statement(
        kind=STATEMENT,
        subject=tuple(
            Subject(name=name, digest={"sha256": _sha(data)}) for name, data in sorted(contents.files.items())
        ),
        predicate_type=PREDICATE,
        predicate=msgspec.structs.replace(predicate, key=signing.fingerprint(public)),
    )
    text = to_json(statement, indent=2) + "\n"
    signature = signing.sign(text.encode(), key)
    written = {**contents.files, STATEMENT_FILE: text.encode(), SIGNATURE_FILE: signature.encode()}
    written[SUMS_FILE] = _sums(written)
    place = target.parent / f".{target.name}.partial"
    try:
        with side_effect("write evidence"):
            files.remove_tree(place)  # of one that was killed
            for name, data in written.items():
                files.private_directory((place / name).parent)
                files.write_atomic(place / name, data)
        with side_effect("publish evidence"):
            place.rename(target)
            files.sync_directory(target.parent)
    except OSError as error:
        raise Refused(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def read(directory: Path) -> tuple[Statement, Summary]:
    """The statement and the summary, unchecked. Raises BadEvidence when this is no bundle of a known format."""
    try:
        statement = from_json((directory / STATEMENT_FILE).read_bytes(), Statement)
        summary = from_json((directory / SUMMARY_FILE).read_bytes(), Summary)
    except OSError as error:
        raise BadEvidence(f"{directory} is no evidence: {error.strerror or error}") from error
    except ValueError as error:
        raise BadEvidence(f"{directory} is damaged, or of another format: {error}") from error
    return statement, summary


def verify(directory: Path, trusted: str | None = None) -> tuple[Finding, ...]:
    """Check a bundle: every file, the signature, the journal's chain. `trusted` is the public key it must be from.

    Without it the bundle's own key is used, and whose key that is remains UNKNOWN. Raises BadEvidence when the
    directory is no bundle at all, Refused when ssh-keygen is missing.
    """
    try:
        raw = (directory / STATEMENT_FILE).read_bytes()
    except OSError as error:
        raise BadEvidence(f"{directory} is no evidence: {error.strerror or error}") from error
    try:
        statement = from_json(raw, Statement)
    except ValueError as error:
        return (_finding("LLE001", "statement", f"it cannot be read: {error}"),)
    predicate = statement.predicate
    known = (STATEMENT, PREDICATE, FORMAT)
    if (statement.kind, statement.predicate_type, predicate.format) != known:
        return (_finding("LLE001", "statement", "it is of a format this liftlock does not know"),)
    held, problems = _held(directory)
    return (
        _finding("LLE001", "statement", ""),
        _finding("LLE002", "files", *problems, *_differences(statement, held, raw)),
        *_signature(held, raw, predicate, trusted),
        *_journal(held, predicate),
    )


def _held(directory: Path) -> tuple[dict[str, bytes], list[str]]:
    """Every file below the directory by name, and what should not be there."""
    held: dict[str, bytes] = {}
    problems = []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            if not any(path.iterdir()):
                problems.append(f"{name} is an empty directory")
        elif not stat.S_ISREG(mode):
            problems.append(f"{name} is not a plain file")
        else:
            try:
                held[name] = path.read_bytes()
            except OSError as error:
                problems.append(f"{name} cannot be read: {error.strerror}")
    return held, problems


def _differences(statement: Statement, held: dict[str, bytes], raw: bytes) -> list[str]:
    listed = {each.name: each.digest for each in statement.subject}
    problems = [f"{name} is missing" for name in (*listed, *_OUTSIDE) if name not in held]
    for name, data in held.items():
        if name in listed and listed[name] != {"sha256": _sha(data)}:
            problems.append(f"{name} was changed")
        elif name not in listed and name not in _OUTSIDE:
            problems.append(f"{name} was added")
    if len(listed) != len(statement.subject):
        problems.append("a file is listed twice")
    sums = {name: data for name, data in held.items() if name in listed or name == SIGNATURE_FILE}
    if SUMS_FILE in held and not problems and held[SUMS_FILE] != _sums({**sums, STATEMENT_FILE: raw}):
        problems.append(f"{SUMS_FILE} was changed")
    return problems


def _signature(
    held: dict[str, bytes], raw: bytes, predicate: Predicate, trusted: str | None
) -> tuple[Finding, Finding]:
    own = held.get(KEY_FILE, b"").decode("ascii", "replace").strip()
    key = trusted or own
    try:
        if len(key.split()) != 2 or signing.fingerprint(key) != predicate.key:
            raise signing.BadSignature(
                f"it is signed with the key {predicate.key}, which is not the one you trust"
                if trusted
                else f"{KEY_FILE} is not the key {predicate.key} that the statement names"
            )
        signing.check(raw, held.get(SIGNATURE_FILE, b"").decode("ascii", "replace"), key)
    except Refused:
        raise
    except (LiftlockError, ValueError) as error:
        problem = error.message if isinstance(error, LiftlockError) else str(error)
        signed = _finding("LLE003", "signature", problem)
    else:
        signed = _finding("LLE003", "signature", "", good=f"of {predicate.created_by}, key {predicate.key}")
    if trusted is not None:
        return signed, _finding("LLE004", "signer", "" if signed.outcome is Outcome.PASS else "not the key you trust")
    unknown = Finding(
        code="LLE004", title="signer", outcome=Outcome.UNKNOWN, severity=Severity.WARNING,
        message=f"nobody said whose key {predicate.key} is",
        hint="Give the public key you got by another way than this bundle: --key FILE",
    )  # fmt: skip
    return signed, unknown


def _journal(held: dict[str, bytes], predicate: Predicate) -> tuple[Finding, ...]:
    found = chain.read(held.get(JOURNAL_FILE, b""))
    problem = found.problem
    if not problem and (found.entries, found.head) != (predicate.journal_entries, predicate.journal_head):
        problem = f"it ends at entry {found.entries}, the statement says {predicate.journal_entries}"
    judged = _finding("LLE005", "journal", problem, good=f"{found.entries} entries, each chained to the one before")
    if not found.withheld:
        return (judged,)
    numbers = ", ".join(map(str, found.withheld))
    withheld = Finding(
        code="LLE006", title="withheld entries", outcome=Outcome.UNKNOWN, severity=Severity.INFO,
        message=f"the content of entries {numbers} held a secret and is left out; their digests stand in the chain",
    )  # fmt: skip
    return (judged, withheld)


def _finding(code: str, title: str, *problems: str, good: str = "as it was made") -> Finding:
    wrong = [each for each in problems if each]
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    return Finding(
        code=code,
        title=title,
        outcome=Outcome.FAIL if wrong else Outcome.PASS,
        message="; ".join(wrong[:3]) + more if wrong else good,
    )


def _sums(contents: dict[str, bytes]) -> bytes:
    """For `sha256sum --check`, in name order."""
    return "".join(f"{_sha(data)}  {name}\n" for name, data in sorted(contents.items())).encode()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
