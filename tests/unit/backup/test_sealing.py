from __future__ import annotations

import subprocess
from pathlib import Path

import pyrage
import pytest

from liftlock.backup import catalog
from liftlock.backup.create import Sources, create
from liftlock.backup.restore import Targets, restore
from liftlock.backup.sealing import Identities, Recipients
from liftlock.backup.verify import verify
from liftlock.errors import BackupError, UsageError
from liftlock.model.deployment import Role
from liftlock.model.finding import Outcome, blocking
from liftlock.model.secret import Secret
from tests.support.backups import deployment, only_artifacts

PHRASE = Secret("open sesame 93")


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return deployment(tmp_path)


def test_with_a_key_every_payload_is_encrypted_and_age_itself_opens_it(sources: Sources, tmp_path: Path) -> None:
    key = pyrage.x25519.Identity.generate()
    made = create(sources, tmp_path / "backups", encrypt_to=Recipients(keys=(str(key.to_public()),)))
    home = tmp_path / "backups" / made.id
    plain = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file() and path.suffix != ".age"}
    assert plain == {"manifest.json", "README.txt", "SHA256SUMS", "artifacts/0.inventory.jsonl"}
    for path in home.rglob("*.age"):
        assert path.read_bytes().startswith(b"age-encryption.org/v1\n")
    opened = pyrage.decrypt((home / "artifacts/0/1/model/weights 4.bin.age").read_bytes(), [key])
    assert opened == b"\4" * 4000
    assert subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=home).returncode == 0
    identities = Identities(keys=(Secret(str(key)),))
    assert not blocking(verify(tmp_path / "backups", made.id, stores=sources.stores, identities=identities))
    assert catalog.find(tmp_path / "backups", made.id).verified_at
    (tmp_path / "mlflow.db").unlink()
    (tmp_path / "mlartifacts/1/model/weights 4.bin").unlink()
    restore(tmp_path / "backups", made.id, Targets(sources.stores, sources.artifacts), identities=identities)
    assert (tmp_path / "mlartifacts/1/model/weights 4.bin").read_bytes() == b"\4" * 4000
    saved = catalog.find(tmp_path / "backups", made.id).store(Role.TRACKING)
    assert (
        saved and saved.fingerprint and not sources.stores[Role.TRACKING].fingerprint().differences(saved.fingerprint)
    )
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [made.id], "no decrypted copy stays"


def test_a_passphrase_locks_a_key_that_later_sets_take_over(sources: Sources, tmp_path: Path) -> None:
    backups, some = tmp_path / "backups", only_artifacts(sources)
    first = create(some, backups, encrypt_to=Recipients(passphrase=PHRASE))
    assert not blocking(verify(backups, first.id, stores={}, identities=Identities(passphrase=PHRASE)))
    second = create(some, backups, encrypt_to=Recipients(passphrase=PHRASE))
    assert (second.base, second.artifacts[0].linked_files) == (first.id, 12)
    other = create(some, backups, encrypt_to=Recipients(passphrase=Secret("another phrase")))
    assert (other.base, other.artifacts[0].linked_files) == (None, 0)
    unencrypted = create(some, backups)
    assert unencrypted.base is None
    with pytest.raises(BackupError, match="not both encrypted"):
        create(some, backups, base=first.id)
    for path in backups.rglob("*"):
        if path.is_file():
            assert PHRASE.reveal().encode() not in path.read_bytes()


def test_without_the_right_key_nothing_is_opened_and_nothing_marked(sources: Sources, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    made = create(sources, backups, encrypt_to=Recipients(passphrase=PHRASE))
    stranger = Identities(keys=(Secret(str(pyrage.x25519.Identity.generate())),))
    for identities, message in (
        (None, "is encrypted"),
        (stranger, "none of the keys given opens it"),
        (Identities(passphrase=Secret("wrong phrase")), "passphrase does not open"),
    ):
        found = verify(backups, made.id, stores=sources.stores, identities=identities)
        assert [one.outcome for one in found][1:] == [Outcome.PASS, Outcome.UNKNOWN, Outcome.UNKNOWN]
        assert message in found[-1].message
        before = (tmp_path / "mlflow.db").read_bytes()
        with pytest.raises(BackupError, match=message):
            restore(backups, made.id, Targets(sources.stores, sources.artifacts), identities=identities)
        assert (tmp_path / "mlflow.db").read_bytes() == before
    assert catalog.find(backups, made.id).verified_at is None


def test_malformed_keys_are_usage_errors_and_leave_nothing(sources: Sources, tmp_path: Path) -> None:
    for recipients in (Recipients(keys=("age1nonsense",)), Recipients()):
        with pytest.raises(UsageError):
            create(sources, tmp_path / "backups", encrypt_to=recipients)
    assert not list((tmp_path / "backups").iterdir())
