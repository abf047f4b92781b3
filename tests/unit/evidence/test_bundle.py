"""A bundle: every change is found, secrets never get in, and standard tools alone can check it."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.cli.evidence import command
from liftlock.errors import LiftlockError, Refused, UsageError
from liftlock.evidence import bundle, signing
from liftlock.model.finding import Finding, Outcome
from liftlock.model.secret import Secret
from tests.support.evidence import needs_ssh_keygen, sealed, summary


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return sealed(tmp_path_factory.mktemp("evidence"))


@pytest.fixture
def copy(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "copy"))


def judge(directory: Path, key: Path) -> tuple[Finding, ...]:
    return bundle.verify(directory, signing.public_key(key))


def bad(directory: Path, key: Path) -> set[str]:
    return {each.code for each in judge(directory, key) if each.outcome is Outcome.FAIL}


def test_an_untouched_bundle_passes(made: tuple[Path, Path]) -> None:
    assert {each.outcome for each in judge(*made)} == {Outcome.PASS}
    signer = {each.code: each.outcome for each in bundle.verify(made[0])}["LLE004"]
    assert signer is Outcome.UNKNOWN
    statement, found = bundle.read(made[0])
    assert found == summary() and statement.predicate.deployment == "prod"
    assert json.loads((made[0] / "statement.json").read_text())["_type"] == "https://in-toto.io/Statement/v1"


def flips(directory: Path, positions: Callable[[Path], list[int]]) -> list[tuple[Path, int, int]]:
    return [
        (path, at, mask)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        for at in positions(path)
        for mask in (1, 0x20)  # 0x20 turns a letter's case, which hexadecimal digits and armour may survive
    ]


def found(directory: Path, key: Path, path: Path, at: int, mask: int) -> bool:
    data = path.read_bytes()
    path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
    try:
        return bool(bad(directory, key))
    finally:
        path.write_bytes(data)


def test_a_changed_byte_is_found_in_every_file(copy: Path, made: tuple[Path, Path]) -> None:
    random.seed(6)
    chosen = flips(copy, lambda path: sorted(random.sample(range(path.stat().st_size), 6)))
    assert len({path for path, _, _ in chosen}) == 7
    for path, at, mask in chosen:
        assert found(copy, made[1], path, at, mask), (path.name, at, mask)
    assert not bad(copy, made[1])


@pytest.mark.soak
def test_every_changed_byte_is_found(copy: Path, made: tuple[Path, Path]) -> None:
    for path, at, mask in flips(copy, lambda path: list(range(path.stat().st_size))):
        assert found(copy, made[1], path, at, mask), (path.name, at, mask)


def test_a_signature_has_one_spelling(copy: Path, made: tuple[Path, Path]) -> None:
    """Whitespace, the last character's unused bits, another line width: all decode to the same signature."""
    path = copy / "statement.json.sig"
    text = path.read_text()
    body = text.splitlines()
    joined = "".join(body[1:-1])
    for other in (
        text + "\n", text.replace("\n", "\r\n"), "\n" + text, text.replace(body[1], body[1] + " "),
        "\n".join([body[0], joined, body[-1], ""]),
    ):  # fmt: skip
        path.write_text(other, newline="")
        assert bad(copy, made[1]) >= {"LLE003"}, other


@pytest.mark.parametrize("name", ["statement.json.sig", "SHA256SUMS", "key.pub", "journal.jsonl", "summary.md"])
def test_a_removed_file_is_found(copy: Path, made: tuple[Path, Path], name: str) -> None:
    (copy / name).unlink()
    found = {each.code: each.message for each in judge(copy, made[1]) if each.outcome is Outcome.FAIL}
    assert f"{name} is missing" in found["LLE002"]


def test_an_added_file_link_or_directory_is_found(copy: Path, made: tuple[Path, Path]) -> None:
    extra = copy / "extra"
    cases: list[tuple[Callable[[], object], Callable[[], object], str]] = [
        (lambda: extra.write_text(""), extra.unlink, "extra was added"),
        (extra.mkdir, extra.rmdir, "extra is an empty directory"),
        (lambda: extra.symlink_to("summary.md"), extra.unlink, "extra is not a plain file"),
        (lambda: os.mkfifo(extra), extra.unlink, "extra is not a plain file"),
    ]
    for make, undo, words in cases:
        make()
        messages = [each.message for each in judge(copy, made[1]) if each.outcome is Outcome.FAIL]
        assert messages == [words]
        undo()
    assert not bad(copy, made[1])


def test_a_bundle_signed_anew_by_another_is_not_the_trusted_one(made: tuple[Path, Path], tmp_path: Path) -> None:
    forged, own = sealed(tmp_path, operator="somebody else")
    assert not bad(forged, own)
    assert bad(forged, made[1]) == {"LLE003", "LLE004"}


def test_entries_cut_off_at_the_end_are_missed(copy: Path, made: tuple[Path, Path]) -> None:
    path = copy / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert bad(copy, made[1]) == {"LLE002", "LLE005"}


def test_another_predicate_or_a_newer_format_is_not_believed(copy: Path, made: tuple[Path, Path]) -> None:
    path = copy / "statement.json"
    data = json.loads(path.read_text())
    for changed in (
        {**data, "predicateType": "urn:other"}, {**data, "_type": "x"}, {**data, "more": 1},
        {**data, "predicate": {**data["predicate"], "format": 2}},
    ):  # fmt: skip
        path.write_text(json.dumps(changed))
        assert bad(copy, made[1]) == {"LLE001"}
    path.write_text("{")
    assert bad(copy, made[1]) == {"LLE001"}


def test_standard_tools_check_it(made: tuple[Path, Path], tmp_path: Path) -> None:
    sums = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=made[0], capture_output=True, text=True)
    assert sums.returncode == 0 and sums.stdout.count(": OK") == 6
    signers = tmp_path / "signers"
    signers.write_text(f"evidence {made[1].read_text()}")
    words: list[str | Path] = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "evidence", "-n", "liftlock-evidence"]
    with (made[0] / "statement.json").open("rb") as statement:
        checked = subprocess.run(
            [*words, "-s", made[0] / "statement.json.sig"], stdin=statement, capture_output=True, text=True
        )
    assert checked.returncode == 0 and "Good" in checked.stdout
    for subject in json.loads((made[0] / "statement.json").read_text())["subject"]:
        assert f"{subject['digest']['sha256']}  {subject['name']}\n" in (made[0] / "SHA256SUMS").read_text()


def test_secrets_are_redacted_or_refused() -> None:
    word = f"canary-{uuid.uuid4().hex}"
    Secret(word)
    contents = bundle.Contents()
    contents.text("a.txt", f"x {word} y")
    contents.json("b.json", {"k": [f'"{word}"']})
    with pytest.raises(Refused, match=r"c\.bin holds a secret"):
        contents.raw("c.bin", b"\xff" + word.encode())
    assert all(word.encode() not in data for data in contents.files.values())
    assert json.loads(contents.files["b.json"]) == {"k": ['"***"']}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", ".", "a b", "a\nb", "", "SHA256SUMS", "a//b", "a/./b"])
def test_a_file_name_cannot_lead_out(name: str) -> None:
    with pytest.raises(UsageError):
        bundle.Contents().raw(name, b"")


def test_it_never_overwrites_and_no_bundle_is_said_so(made: tuple[Path, Path], tmp_path: Path) -> None:
    statement, _ = bundle.read(made[0])
    with pytest.raises(Refused, match="already exists"):
        bundle.seal(made[0], bundle.Contents(), statement.predicate, made[1])
    for act in (bundle.read, bundle.verify):
        with pytest.raises(bundle.BadEvidence, match="is no evidence"):
            act(tmp_path)


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_ssh_keygen()
    key = signing.ensure_key(tmp_path / "k" / "key", owner="me")
    assert key.stat().st_mode & 0o777 == 0o600 and signing.ensure_key(key, owner="me") == key
    public = signing.public_key(key)
    assert public == signing.public_key(Path(f"{key}.pub"))
    listed = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True).stdout
    assert signing.fingerprint(public) in listed
    for text in ("nonsense", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 %%%"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(UsageError):
            signing.public_key(tmp_path / "bad")
    with pytest.raises(UsageError):
        signing.public_key(tmp_path / "missing")
    signature = signing.sign(b"text", key)
    signing.check(b"text", signature, public)
    with pytest.raises(signing.BadSignature):
        signing.check(b"Text", signature, public)
    elsewhere = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "file"], input=b"text", capture_output=True
    ).stdout.decode()
    with pytest.raises(signing.BadSignature):  # made for another purpose
        signing.check(b"text", elsewhere, public)
    for text in (
        "",
        "-----BEGIN SSH SIGNATURE-----\n%\n-----END SSH SIGNATURE-----\n",
        base64.b64encode(b"x").decode(),
    ):
        with pytest.raises(signing.BadSignature):
            signing.check(b"text", text, public)
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", locked], check=True)
    with pytest.raises(Refused) as caught:
        signing.sign(b"text", locked)
    assert "ssh-add" in caught.value.hint
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LiftlockError, match="ssh-keygen is not installed"):
        signing.sign(b"text", key)


def test_a_hostile_bundle_cannot_steer_the_terminal(tmp_path: Path) -> None:
    forged, key = sealed(tmp_path, operator="jane\x1b[2J\x1b]0;owned\x07\u202e")
    (forged / "x\x1b[31m").write_text("")
    shown = [["show", str(forged), "--format", form] for form in ("markdown", "html", "json")]
    for words in (*shown, ["verify", str(forged), "--key", str(key)]):
        done = CliRunner().invoke(command, words, standalone_mode=False)
        assert done.exception is None and done.stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout), words
