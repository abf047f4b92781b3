"""The catalogue against what the installed releases say of themselves; known gaps are named with reasons."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.knowledge.extract.endpoints import normal
from liftlock.knowledge.extract.facts import Section
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.proc import run
from liftlock.releases.children import clean_environment
from tests.support import report_surface
from tests.support.releases import OLD, auth_environment, environment, newest

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("releases")]
# Two more releases whose environments the other tests do not need: `make soak` builds them.
WHICH = ["old", *(pytest.param(name, marks=pytest.mark.soak) for name in ("2.22.5", "3.4.0")), "newest"]

# Served by Flask itself for the user interface's files (`static_folder`), not by a route in the source.
IMPLICIT_ROUTES = {"GET /build/{filename}"}


def version(which: str) -> str:
    if which == "newest":
        return newest()
    return OLD if which == "old" else which


@functools.cache
def running(which: str) -> dict[str, Any]:
    """What the program says, once without and once with the basic-auth application."""
    import tempfile

    found: dict[str, Any] = {}
    for auth in (False, True):
        with tempfile.TemporaryDirectory() as directory:
            extra = auth_environment(Path(directory)) if auth else {}
            done = run(
                [environment(version(which)).python, report_surface.__file__],
                timeout=120, env=clean_environment(extra), cwd=Path(directory),
            )  # fmt: skip
            found["with auth" if auth else "plain"] = json.loads(done.stdout.splitlines()[-1])
    return found


def known(which: str, section: str) -> Section:
    return load().section(section, Release.parse(version(which)))


def reported(rows: list[Any]) -> set[str]:
    return {f"{verb} {normal(path)}" for path, verbs in rows for verb in verbs}


@pytest.mark.parametrize("which", WHICH)
def test_commands_and_options(which: str) -> None:
    said = running(which)["plain"]
    mine = set(known(which, "cli"))
    assert set(said["commands"]) - mine == set()
    extra = {key for key in mine - set(said["commands"]) if key.split()[0] not in ("gateway", "ui")}
    # `gateway` is only registered when the `gateway` extra is installed; `ui` is resolved, not listed, by click
    assert extra == set()
    assert said["ui"] == "server"


@pytest.mark.parametrize("which", WHICH)
def test_endpoints_of_the_handler_table(which: str) -> None:
    mine = {key for key, fact in known(which, "rest").items() if fact.value.split()[0] in ("rpc", "table")}
    assert mine == reported(running(which)["plain"]["endpoints"])


@pytest.mark.parametrize("which", WHICH)
def test_every_route_of_the_whole_server(which: str) -> None:
    said = running(which)["plain"]
    mine = {key for key, fact in known(which, "rest").items() if fact.value != "auth"}
    assert mine == reported(said["rules"] + said["native"]) - IMPLICIT_ROUTES


@pytest.mark.parametrize("which", WHICH)
def test_routes_that_only_the_auth_application_adds(which: str) -> None:
    plain, auth = running(which)["plain"], running(which)["with auth"]
    added = reported(auth["rules"]) - reported(plain["rules"])
    mine = {key for key, fact in known(which, "rest").items() if fact.value == "auth"}
    assert mine and mine == added


@pytest.mark.parametrize("which", WHICH)
def test_environment_variables(which: str) -> None:
    declared = {key for key, fact in known(which, "environment").items() if fact.value != "text"}
    assert declared == set(running(which)["plain"]["environment"])


@pytest.mark.parametrize("which", WHICH)
def test_chains(which: str) -> None:
    said = running(which)["plain"]
    for role in (Role.TRACKING, Role.AUTH):
        assert list(load().chain(Release.parse(version(which)), role)) == (said[role.value] or [])
