"""A small signed bundle made of a real journal, and ssh-keygen, without which nothing can be signed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from liftlock.engine.journal import Journal
from liftlock.evidence import bundle, chain, document, signing
from liftlock.model.codec import from_builtins
from liftlock.model.evidence import Predicate, Summary
from liftlock.model.journal import Kind

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def needs_ssh_keygen() -> None:
    """Without OpenSSH the program refuses to sign or check, and says so; there is then nothing more to test."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen on this machine (Debian: openssh-client)")


def summary(**changes: Any) -> Summary:
    """A summary with little in it."""
    values: dict[str, Any] = {
        "run": "upgrade-1", "kind": "upgrade", "outcome": "done", "message": "", "deployment": "prod",
        "source": "2.9.2", "target": "3.17.2", "strategy": "standard", "operator": "jane@host", "started_at": NOW,
        "ended_at": NOW, "write_hold_seconds": 1.5, "window": "1 s to 2 s (rehearsed)", "steps": (), "issues": (),
        "verification": (), "databases": (), "packages": (), "advisories": {}, "proofs": (), "decisions": (),
        "environment": "", "checks": (),
        "backups": ("20260102T030405Z",), "way_back": "open", "missing": (),
    }  # fmt: skip
    return from_builtins({**values, **changes}, Summary)


def journal(directory: Path) -> Journal:
    """A journal with one finished run."""
    made = Journal(directory / "journal.db")
    made.append("upgrade-1", Kind.RUN_STARTED, "", {"kind": "upgrade", "operator": "jané@host"})
    made.append("upgrade-1", Kind.INTENT, "stop-old", {"title": "stop it"})
    made.append("upgrade-1", Kind.DONE, "stop-old", {"seconds": 0.25, "when": NOW, "text": 'a\u2028b \\ " é'})
    made.append("upgrade-1", Kind.RUN_ENDED, "", {"outcome": "done"})
    return made


def sealed(directory: Path, **changes: Any) -> tuple[Path, Path]:
    """A bundle and its public key."""
    needs_ssh_keygen()
    key = signing.ensure_key(directory / "keys" / "key", owner="a test")
    contents = bundle.Contents()
    contents.json(bundle.SUMMARY_FILE, summary(**changes))
    contents.text("summary.md", document.markdown(summary(**changes)))
    lines = chain.dump(journal(directory).entries())
    contents.text(bundle.JOURNAL_FILE, lines)
    found = chain.read(lines.encode())
    predicate = Predicate(
        run="upgrade-1", deployment="prod", created_at=NOW, created_by="jane@host", liftlock="0", key="",
        journal_entries=found.entries, journal_head=found.head,
    )  # fmt: skip
    return bundle.seal(directory / "bundle", contents, predicate, key), Path(f"{key}.pub")
