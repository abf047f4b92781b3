from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from liftlock.pins.document import Document
from liftlock.pins.model import BadFile
from liftlock.pins.tracking import Tracking, Update, UpgradeStatus, read, security_row, updated

TEXT = """\
# what we run
current_version: "3.6.0"
container_image: ghcr.io/mlflow/mlflow:v3.6.0  # any registry
last_verified: 2026-01-05
safety_cves:
  - CVE-2024-37052  # pickle
  - CVE-2024-37053
  # and one more
  - CVE-2024-37054
release_notes_url: https://github.com/mlflow/mlflow/releases/tag/v3.6.0
upgrade_status: queued
mitigations: ["no models from strangers"]
verification_checklist:
- pytest tests/mlflow -q
owners: {dri: ml-lead}
ticket: OPS-1  # not ours
"""


def document(text: str = TEXT) -> Document:
    found = Document.decode("config/mlflow_release.yaml", text.encode())
    assert found is not None
    return found


def test_every_key_is_read() -> None:
    assert read(document()) == Tracking(
        current_version="3.6.0",
        container_image="ghcr.io/mlflow/mlflow:v3.6.0",
        last_verified="2026-01-05",
        safety_cves=("CVE-2024-37052", "CVE-2024-37053", "CVE-2024-37054"),
        release_notes_url="https://github.com/mlflow/mlflow/releases/tag/v3.6.0",
        upgrade_status=UpgradeStatus.QUEUED,
        mitigations=("no models from strangers",),
        verification_checklist=("pytest tests/mlflow -q",),
        owners={"dri": "ml-lead"},
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_update_changes_its_values_and_nothing_else(newline: str) -> None:
    update = Update(
        container_image="registry.example.org:5000/ml/mlflow:3.17.2",
        last_verified="2026-11-21",
        safety_cves=("CVE-2024-37052", "CVE-2026-10001"),
        upgrade_status=UpgradeStatus.SHIPPED,
    )
    after = updated(document(TEXT.replace("\n", newline)), update)
    assert after.text.replace(newline, "\n") == (
        TEXT.replace("ghcr.io/mlflow/mlflow:v3.6.0 ", "registry.example.org:5000/ml/mlflow:3.17.2 ")
        .replace("2026-01-05", "2026-11-21")
        .replace("  - CVE-2024-37053\n  # and one more\n  - CVE-2024-37054\n", "  - CVE-2026-10001\n")
        .replace("queued", "shipped")
    )
    assert updated(after, update).raw == after.raw


@pytest.mark.parametrize(
    "before",
    [
        "",
        "safety_cves:\n",
        "safety_cves: []\n",
        "safety_cves: [CVE-2024-37052]\n",
        "safety_cves:\n- CVE-2024-37052",
        "x: 1",
    ],
)
@pytest.mark.parametrize("cves", [(), ("CVE-2026-10001",), ("CVE-2024-37052", "GHSA-abcd-1234-wxyz")])
def test_a_list_in_any_style_becomes_the_new_one(before: str, cves: tuple[str, ...]) -> None:
    after = updated(document(f"current_version: 3.6.0\n{before}"), Update(safety_cves=cves))
    value = YAML(typ="safe", pure=True).load(after.text)
    assert tuple(value["safety_cves"] or ()) == cves and value["current_version"] == "3.6.0"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_mitigations_checklist_owners_watched_and_freeze_are_written(newline: str) -> None:
    update = Update(
        mitigations=("no models from strangers", "a proxy: with login"), watched=("3.18.0",), freeze="end of quarter",
        verification_checklist=("pytest tests/mlflow -q", "curl /health"), owners={"dri": "Jane Doe", "backup": "Joe"},
    )  # fmt: skip
    after = updated(document(TEXT.replace("\n", newline)), update)
    assert after.text.replace(newline, "\n") == (
        TEXT.replace('["no models from strangers"]', '[no models from strangers, "a proxy: with login"]')
        .replace("- pytest tests/mlflow -q\n", "- pytest tests/mlflow -q\n- curl /health\n")
        .replace("{dri: ml-lead}", "{dri: Jane Doe, backup: Joe}")
        + "watched: [3.18.0]\nfreeze: end of quarter\n"
    )
    thawed = read(updated(after, Update(freeze="", mitigations=())))
    assert (thawed.freeze, thawed.mitigations, thawed.watched) == ("", (), ("3.18.0",))
    assert thawed.owners == {"dri": "Jane Doe", "backup": "Joe"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("owners:\n    dri: ml-lead  # since May\n", "owners:\n    dri: Jane  # since May\n    backup: Joe\n"),
        ("owners:\n  dri: ml-lead", "owners:\n  dri: Jane\n  backup: Joe"),
        ("owners:\n", "owners: {dri: Jane, backup: Joe}\n"),
        ("owners: {}\n", "owners: {dri: Jane, backup: Joe}\n"),
        ("owners: {'dri': 'x', security: S}\n", "owners: {'dri': 'Jane', security: S, backup: Joe}\n"),
        ("", "owners: {dri: Jane, backup: Joe}\n"),
        ("owners:\n  dri:\n", "owners:\n  dri: Jane\n  backup: Joe\n"),
    ],
)
def test_owners_in_any_style_keep_what_was_not_named(before: str, after: str) -> None:
    found = updated(document(f"current_version: 3.6.0\n{before}"), Update(owners={"dri": "Jane", "backup": "Joe"}))
    assert found.text == f"current_version: 3.6.0\n{after}"


@pytest.mark.parametrize("text", ['it\'s: #1 "quoted"', "x: y", "- a", "true", "", "é ✅", "a\\b"])
def test_texts_that_yaml_would_misread_are_quoted(text: str) -> None:
    after = updated(document("container_image: 'a'\n"), Update(container_image=text))
    assert str(YAML(typ="rt", pure=True).load(after.text)["container_image"] or "").lower() == text.lower()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (2, "a: 1\nupgrade_status: maybe\n"),
        (1, "current_version: latest\n"),
        (1, "last_verified: 5 January\n"),
        (3, "safety_cves:\n- CVE-2024-37052\n- many\n"),
        (1, "safety_cves: CVE-2024-37052\n"),
        (1, "release_notes_url: see wiki\n"),
        (1, "owners: Jane\n"),
        (2, "owners:\n  dri: [Jane, Joe]\n"),
        (2, "watched:\n- newest\n"),
        (1, "- a\n"),
        (2, "a: [\n"),
    ],
)
def test_a_value_that_cannot_be_right_is_named(line: int, text: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(document(text))
    assert caught.value.line == line


def test_the_row_of_security_md() -> None:
    row = "| package | version | CVEs | status |\r\n"
    row += "| `mlflow` | 3.6.0 | CVE-2024-37052 | open |\r\n| six | 1 | - | ok |\r\n"
    update = Update(safety_cves=("CVE-2026-10001", "CVE-2026-10002"), status="queued | soon")
    assert security_row(document(row), update).text == row.replace(
        "| CVE-2024-37052 | open |", "| CVE-2026-10001 / CVE-2026-10002 | queued / soon |"
    )
    assert security_row(document("no table\n"), update).text == "no table\n"
