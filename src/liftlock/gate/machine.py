"""The transitions of the gate as pure functions: state in, state out, or a refusal. No clock, no file, no socket."""

from __future__ import annotations

from msgspec.structs import replace

from liftlock.gate.model import Address, GateError, Phase, Stale, State, Switch


def first(upstream: Address) -> State:
    """The state of a gate that never ran."""
    return State(generation=1, phase=Phase.OPEN, upstream=upstream)


def recovered(state: State) -> State:
    """The state after a restart of the gate: a hold did not survive it, whoever held it must begin again."""
    return let_go(state) if state.phase is Phase.HOLDING else state


def hold(state: State, generation: int, holder: str) -> State:
    """Begin a hold. Raises Stale, or GateError `held` when somebody holds already."""
    if state.phase is Phase.HOLDING and state.generation == generation:
        raise GateError("writes are held already", code="held", hint=f"The holder is {state.holder!r}.")
    _same(state, generation)
    return replace(state, generation=generation + 1, phase=Phase.HOLDING, resting=state.phase, holder=holder)


def holding(state: State, generation: int) -> None:
    """Prove that the hold of this generation stands. Raises Stale otherwise."""
    if state.phase is not Phase.HOLDING:
        raise Stale(generation, state)
    _same(state, generation)


def let_go(state: State) -> State:
    """End a hold without a switch (release, lease run out, restart): back to the resting phase, same upstream."""
    return replace(state, generation=state.generation + 1, phase=state.resting, holder="")


def switch(state: State, generation: int, target: Address, *, writes: int, at: str) -> State:
    """The one commit point: traffic belongs to `target` from here on.

    `writes` is the number of writes in flight on the old side. Raises Stale when the hold is not the caller's any
    more, GateError `undrained` while writes are in flight, `same` when the target is the current upstream.
    """
    holding(state, generation)
    if writes:
        raise GateError(
            f"{writes} writes are still in flight on {state.upstream}",
            code="undrained", hint="Wait for them, or release and try again later.", retryable=True,
        )  # fmt: skip
    if target == state.upstream:
        raise GateError(f"traffic goes to {target} already", code="same")
    done = Switch(holder=state.holder, generation=generation + 1, source=state.upstream, target=target, at=at)
    return State(generation=generation + 1, phase=Phase.SWITCHED, upstream=target, resting=Phase.SWITCHED, switch=done)


def _same(state: State, generation: int) -> None:
    if state.generation != generation:
        raise Stale(generation, state)
