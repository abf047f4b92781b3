"""The journal in a bundle: the journal's own digests, recomputed without it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from liftlock.evidence import chain
from liftlock.model.journal import Kind
from liftlock.model.secret import remember
from tests.support.evidence import journal


def test_the_chain_of_a_real_journal_holds(tmp_path: Path) -> None:
    entries = journal(tmp_path).entries()
    found = chain.read(chain.dump(entries).encode())
    assert (found.entries, found.head, found.withheld, found.problem) == (4, entries[-1].digest, (), "")
    assert chain.read(b"").head == chain.GENESIS


@pytest.mark.parametrize(
    ("field", "value"),
    [("run", "other"), ("kind", "failed"), ("step", "x"), ("at", "2020"), ("payload", "{}"), ("previous", "0" * 64)],
)
def test_a_changed_entry_is_named(tmp_path: Path, field: str, value: str) -> None:
    lines = chain.dump(journal(tmp_path).entries()).splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), field: value})
    assert "entry 2" in chain.read("\n".join(lines).encode()).problem


def test_removed_doubled_and_foreign_lines_are_found(tmp_path: Path) -> None:
    lines = chain.dump(journal(tmp_path).entries()).encode().splitlines(keepends=True)
    assert "entry 2" in chain.read(b"".join([lines[0], *lines[2:]])).problem
    assert "entry 2" in chain.read(b"".join([lines[0], lines[0]])).problem
    assert "line 3" in chain.read(b"".join([*lines[:2], b"nonsense\n"])).problem
    cut = chain.read(b"".join(lines[:3]))
    assert cut.entries == 3 and not cut.problem  # the statement names the last entry: see test_bundle


def test_what_has_become_a_secret_is_withheld_and_the_chain_holds(tmp_path: Path) -> None:
    entries = journal(tmp_path)
    word = f"canary-{uuid.uuid4().hex}"
    entries.append("upgrade-1", Kind.NOTE, "n", {"word": word})
    entries.append("upgrade-1", Kind.NOTE, "n", {"word": "after"})
    remember(word)
    text = chain.dump(entries.entries())
    assert word not in text
    found = chain.read(text.encode())
    assert (found.entries, found.withheld, found.problem) == (6, (5,), "")
