"""Every curated row against the catalogue: it was there before, and is not in the release it names."""

from __future__ import annotations

import functools

import pytest

from liftlock.errors import UsageError
from liftlock.knowledge import behaviours, breaks
from liftlock.knowledge.behaviours import Behaviour
from liftlock.knowledge.breaks import Break, Effect, Kind
from liftlock.knowledge.catalogue import load
from liftlock.knowledge.catalogue_api import Surface
from liftlock.model.release import Release

_SECTION = {Kind.CLI: "cli", Kind.OPTION: "cli", Kind.REST: "rest", Kind.ENVIRONMENT: "environment"}


def release(text: str) -> Release:
    return Release.parse(text)


@functools.cache
def surface(number: int) -> Surface:
    catalogue = load()
    return Surface(catalogue.section("api", catalogue.releases[number]))


def has(entry: Break, number: int, parameter: str = "") -> bool:
    catalogue = load()
    if entry.kind in _SECTION:
        return catalogue.coded(_SECTION[entry.kind]).fact(entry.path, number) is not None
    if not parameter:
        return surface(number).definition(entry.path) is not None
    found = surface(number).parameters(entry.path)
    assert found is not None, f"{entry.path} has no signature in {catalogue.releases[number]}"
    return parameter in {each.name for each in found}


def label(entry: Break | Behaviour) -> str:
    return f"{entry.path}-{entry.removed}" if isinstance(entry, Break) else entry.since


@pytest.mark.parametrize("entry", [each for each in breaks.load() if each.effect is not Effect.DEPRECATED], ids=label)
def test_it_was_there_and_is_gone(entry: Break) -> None:
    first = load().number(entry.release)
    for parameter in entry.parameters or ("",):
        assert has(entry, first - 1, parameter), "was not there in the release before"
        assert not has(entry, first, parameter), "is still there"


@pytest.mark.parametrize("entry", breaks.deprecated(release("99")), ids=label)
def test_what_is_deprecated_is_still_there(entry: Break) -> None:
    found = surface(len(load().releases) - 1).definition(entry.path)
    assert found is not None
    for parameter in entry.parameters:
        assert parameter in found.text or any(parameter in mark for mark in found.marks), found


@pytest.mark.parametrize("entry", behaviours.load(), ids=label)
def test_evidence_appears_first_in_the_release_named(entry: Behaviour) -> None:
    catalogue = load()
    catalogue.require(entry.release)
    assert entry.action and entry.source
    if entry.evidence is not None:
        number, fact = catalogue.coded(entry.evidence[0]).history(entry.evidence[1])[0]
        assert fact is not None and catalogue.releases[number] == entry.release


def test_between_takes_what_lies_on_the_way() -> None:
    paths = {entry.path for entry in breaks.between(release("2.9.2"), release("3.4.0"))}
    assert {"mlflow.gluon", "mlflow.fastai", "mlflow.recipes", "mlflow.get_last_active_trace"} <= paths
    assert not paths & {"mlflow.list_experiments", "mlflow.diviner"}
    assert breaks.between(release("3.4.0"), release("2.9.2")) == ()
    assert [entry.since for entry in behaviours.between(release("3.4.0"), release("3.6.0"))] == [
        "3.5.0", "3.5.0", "3.6.0",
    ]  # fmt: skip


_ROW = "[[break]]\nkind='function'\npath='mlflow.x'\nremoved='2.0.1'\neffect='error'\nreplacement='y'\nsource='s'\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_ROW + _ROW, "twice"), (_ROW.replace("error", "boom"), "boom"),
        (_ROW.replace("2.0.1", "two"), "not a version"),
        (_ROW + "parameters=['a']\n", "parameters"), (_ROW.replace("source='s'", ""), "source"), ("x = =", "line 2"),
    ],
)  # fmt: skip
def test_malformed_breaks(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        breaks.parse("format=1\n" + text, "breaks.toml")


def test_malformed_behaviours() -> None:
    with pytest.raises(UsageError, match=r"behaviours\.toml.*who"):
        behaviours.parse("format=1\n[[behaviour]]\nsince='3.0'\ntitle='t'\naction='a'\nsource='s'\n", "behaviours.toml")
