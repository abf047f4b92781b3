"""The shipped catalogue against what is known of MLflow's releases by other means, and against damage."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import pytest

from liftlock.errors import ReleaseError
from liftlock.knowledge.catalogue import SECTIONS, Catalogue, load
from liftlock.model.deployment import Role
from liftlock.model.release import Release

# Read by hand from the published wheels: release -> tracking head, auth head.
HEADS = {
    "1.4.0": ("2b4d017a5e9b", None), "1.7.2": ("0a8213491aaa", None), "1.12.1": ("84291f40a231", None),
    "1.30.1": ("97727af70f4d", None), "2.0.1": ("97727af70f4d", None), "2.5.0": ("7f2a7d5fae7d", "8606fa83a998"),
    "2.9.2": ("acf3f17fdcc7", "8606fa83a998"), "2.22.5": ("0584bdc529eb", "8606fa83a998"),
    "3.0.0": ("6953534de441", "8606fa83a998"), "3.0.1": ("bda7b8c39065", "8606fa83a998"),
    "3.1.4": ("bda7b8c39065", "8606fa83a998"), "3.2.0": ("770bee3ae1dd", "8606fa83a998"),
    "3.3.2": ("1a0cddfcaa16", "8606fa83a998"), "3.4.0": ("71994744cf8e", "8606fa83a998"),
    "3.5.1": ("bf29a5ff90ea", "8606fa83a998"), "3.6.0": ("bf29a5ff90ea", "8606fa83a998"),
    "3.7.0": ("bf29a5ff90ea", "0965eb92f5f0"), "3.8.1": ("1bd49d398cd23", "0965eb92f5f0"),
    "3.9.0": ("d3e4f5a6b7c8", "a1b2c3d4e5f6"), "3.10.1": ("1b5f0d9ad7c1", "2ed73881770d"),
    "3.11.1": ("c3d6457b6d8a", "2ed73881770d"), "3.12.0": ("7d34483879f0", "c3d4e5f6a7b8"),
    "3.13.0": ("da6fb0208061", "f1a2b3c4d5e6"), "3.14.0": ("b7e4c1a90f23", "f1a2b3c4d5e6"),
    "3.15.2": ("6f8d9c3b2a1e", "f1a2b3c4d5e6"), "3.16.1": ("b7e2c1a4d9f3", "f1a2b3c4d5e6"),
    "3.17.2": ("dc11669786a5", "f1a2b3c4d5e6"), "3.18.0": ("f4a9b2c7d1e6", "f1a2b3c4d5e6"),
}  # fmt: skip


def release(text: str) -> Release:
    return Release.parse(text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    source = resources.files("liftlock.knowledge").joinpath("data/catalogue")
    with resources.as_file(source) as place:
        shutil.copytree(place, tmp_path / "catalogue")
    return tmp_path / "catalogue"


def test_it_holds_every_release_and_stays_small(copy: Path) -> None:
    catalogue = load()
    assert len(catalogue.releases) >= 140
    assert catalogue.releases[0] == release("1.0.0")
    assert list(catalogue.releases) == sorted(catalogue.releases)
    assert catalogue.contents.missing == {}
    assert sum(path.stat().st_size for path in copy.iterdir()) <= 500_000


@pytest.mark.parametrize("version", HEADS)
def test_heads(version: str) -> None:
    found = tuple(load().head(release(version), role) for role in (Role.TRACKING, Role.AUTH))
    assert found == HEADS[version]


def test_every_release_has_unbroken_chains_and_every_fact_a_source() -> None:
    catalogue = load()
    for each in catalogue.releases:
        assert catalogue.chain(each, Role.TRACKING), each
        catalogue.chain(each, Role.AUTH)
        assert catalogue.built(each) > "2019", each
    for section in SECTIONS:
        coded = catalogue.coded(section)
        for events in coded.events.values():
            for value, source in zip(events[1::3], events[2::3], strict=True):
                assert value == -1 or coded.texts[source], section


def test_migrations_lengths_of_the_tracking_chain() -> None:
    lengths = {"1.30.1": 19, "2.9.2": 23, "2.22.5": 28, "3.0.1": 31, "3.7.0": 40, "3.18.0": 70}
    assert {version: len(load().chain(release(version), Role.TRACKING)) for version in lengths} == lengths


@pytest.mark.parametrize(
    ("version", "floor"),
    [("1.0.0", ""), ("1.7.0", ">=2.7"), ("2.0.1", ">=3.8"), ("2.22.5", ">=3.9"), ("3.1.4", ">=3.9"),
     ("3.2.0", ">=3.10")],
)  # fmt: skip
def test_python_floors(version: str, floor: str) -> None:
    assert load().python(release(version)) == floor


def test_a_backport_is_published_after_the_newer_minors_it_follows() -> None:
    order = load().published()
    assert order.index(release("2.22.5")) > order.index(release("3.4.0"))
    assert order.index(release("1.30.1")) > order.index(release("2.0.1"))


def test_a_jump_lists_what_must_run_and_nothing_on_the_way_back() -> None:
    forth = load().jump(release("2.9.2"), release("3.17.2"))
    assert (len(forth.tracking), len(forth.auth)) == (44, 6)
    assert forth.tracking[-1] == "dc11669786a5"
    back = load().jump(release("3.17.2"), release("2.9.2"))
    assert not back.changes_schema
    assert not load().jump(release("2.8.0"), release("2.12.2")).changes_schema


def test_a_revision_is_decoded_by_its_database_never_by_its_id_alone() -> None:
    catalogue = load()
    assert catalogue.release_of_head("a1b2c3d4e5f6").ambiguous
    auth = catalogue.release_of_head("a1b2c3d4e5f6", Role.AUTH)
    assert auth.head_of == (release("3.9.0"),)
    tracking = catalogue.release_of_head("a1b2c3d4e5f6", tables={"experiments", "runs", "spans"})
    assert (tracking.role, tracking.head_of, tracking.since) == (Role.TRACKING, (), release("3.3.0"))
    assert catalogue.release_of_head("a1b2c3d4e5f6", tables={"users", "experiment_permissions"}).role is Role.AUTH
    assert catalogue.release_of_head("a1b2c3d4e5f6", tables={"experiments", "experiment_permissions"}).ambiguous


@pytest.mark.parametrize(
    ("revision", "first", "last"),
    [("4465047574b1", "2.15.0", "2.16.2"), ("bda7b8c39065", "3.0.1", "3.1.4"), ("bf29a5ff90ea", "3.5.0", "3.7.0")],
)  # fmt: skip
def test_revisions_people_report(revision: str, first: str, last: str) -> None:
    found = load().release_of_head(revision)
    assert (found.head_of[0], found.head_of[-1]) == (release(first), release(last))


def test_another_programs_revision_is_told_apart() -> None:
    found = load().release_of_head("v2.4.0.a")
    assert (found.role, found.head_of, found.since, found.ambiguous) == (None, (), None, False)
    assert "no revision of any MLflow" in found.message


def test_an_unknown_release_gets_its_nearest_names() -> None:
    with pytest.raises(ReleaseError, match=r"knows no MLflow 3\.7\.1") as caught:
        load().require(release("3.7.1"))
    assert "3.7.0" in caught.value.hint and "releases refresh" in caught.value.hint


@pytest.mark.parametrize("name", ["index.json", "tracking.json.xz"])
@pytest.mark.parametrize("how", ["cut", "noise", "gone"])
def test_a_damaged_catalogue_says_so(copy: Path, name: str, how: str) -> None:
    path = copy / name
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "noise":
        path.write_bytes(bytes(byte ^ 0x55 for byte in data))
    else:
        path.unlink()
    with pytest.raises(ReleaseError, match=name.replace(".", r"\.")) as caught:
        Catalogue(copy).chain(release("2.9.2"), Role.TRACKING)
    assert "refresh" in caught.value.hint
