"""Transitions and the state file."""

from __future__ import annotations

from pathlib import Path

import pytest

from liftlock.gate import machine, state
from liftlock.gate.model import Address, GateError, Phase, Stale, State

OLD, NEW = Address(host="127.0.0.1", port=1), Address(host="::1", port=2)


def switched(target: Address = NEW, before: State | None = None) -> State:
    held = machine.hold(before or machine.first(OLD), (before or machine.first(OLD)).generation, "me")
    return machine.switch(held, held.generation, target, writes=0, at="now")


def test_a_switch_and_the_way_back() -> None:
    there = switched()
    assert (there.phase, there.upstream, there.generation) == (Phase.SWITCHED, NEW, 3)
    assert there.switch is not None
    assert (there.switch.holder, there.switch.source, there.switch.target) == ("me", OLD, NEW)
    back = switched(OLD, there)
    assert (back.phase, back.upstream, back.generation) == (Phase.SWITCHED, OLD, 5)


@pytest.mark.parametrize("before", [machine.first(OLD), switched()])
def test_letting_go_returns_to_where_it_was(before: State) -> None:
    held = machine.hold(before, before.generation, "me")
    after = machine.let_go(held)
    assert (after.phase, after.upstream, after.holder) == (before.phase, before.upstream, "")
    assert after.generation == before.generation + 2
    assert machine.recovered(held) == after
    assert machine.recovered(before) == before


def test_refusals() -> None:
    first = machine.first(OLD)
    held = machine.hold(first, 1, "me")
    for act in (
        lambda: machine.hold(first, 2, "x"),
        lambda: machine.holding(first, 1),
        lambda: machine.holding(held, 1),
        lambda: machine.switch(held, 1, NEW, writes=0, at=""),
    ):
        with pytest.raises(Stale):
            act()
    for code, act in (
        ("held", lambda: machine.hold(held, 2, "x")),
        ("undrained", lambda: machine.switch(held, 2, NEW, writes=1, at="")),
        ("same", lambda: machine.switch(held, 2, OLD, writes=0, at="")),
    ):
        with pytest.raises(GateError) as error:
            act()
        assert error.value.code == code


def test_the_state_file_keeps_everything_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert state.load(path) is None
    state.store(path, switched())
    assert state.load(path) == switched()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "{}", '{"generation": 1}', "\0\0\0"])
def test_a_damaged_state_is_never_guessed(text: str, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(GateError):
        state.load(path)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1/"])
def test_addresses(text: str) -> None:
    assert Address.parse(text) == OLD
    assert Address.parse("[::1]:2") == NEW
    assert str(NEW) == "[::1]:2"


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:x", "host:70000", "https://h:1", "http://h:1/path"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Address.parse(text)
