"""From a situation to a plan. Pure: same input, same plan; nothing is looked at, nothing is done."""

from __future__ import annotations

import hashlib
from types import ModuleType

import msgspec

from liftlock.errors import Refused, UsageError
from liftlock.model.codec import to_json
from liftlock.model.plan import Plan, PlannedStep, Strategy
from liftlock.model.release import JumpKind
from liftlock.plan.estimates import estimate, total
from liftlock.plan.situation import Situation
from liftlock.plan.strategies import in_place, online, rolling, standard

# Best first.
_BUILT: tuple[ModuleType, ...] = (in_place, rolling, online, standard)


def plan(situation: Situation) -> Plan:
    """The plan for a situation. Raises Refused for a jump that cannot be made, UsageError for a wrong request."""
    _refuse_illegal(situation)
    refused = {module.STRATEGY: module.offered(situation) for module in _BUILT}
    chosen = _choose(situation, refused)
    steps = tuple(
        PlannedStep(
            name=each.name,
            title=each.title,
            reversibility=each.reversibility,
            holds_writes=each.holds_writes,
            estimate=estimate(each.name, situation),
        )
        for each in chosen.outline(situation)
    )
    draft = Plan(
        id="",
        created_at=situation.now,
        deployment_digest=situation.deployment.digest,
        deployment_name=situation.deployment.name,
        jump=situation.jump,
        strategy=chosen.STRATEGY,
        reasons=(*_reasons(situation, chosen.STRATEGY), *situation.notes),
        not_offered={strategy.value: reason for strategy, reason in refused.items() if reason},
        steps=steps,
        point_of_no_return=chosen.POINT_OF_NO_RETURN,
        window=total(tuple(step.estimate for step in steps if step.holds_writes)),
    )
    return msgspec.structs.replace(draft, id=identity(draft))


def identity(made: Plan) -> str:
    """The id of a plan, which follows from everything else in it: an edited plan has another."""
    text = to_json(msgspec.structs.replace(made, id=""))
    return f"plan-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _refuse_illegal(situation: Situation) -> None:
    jump = situation.jump
    if jump.target < jump.source:
        raise Refused(
            f"MLflow {jump.target} is older than the running {jump.source}",
            hint="A downgrade is not an upgrade: `liftlock rollback` goes back to the release before.",
        )
    if jump.kind is JumpKind.NONE:
        raise Refused(f"MLflow {jump.target} is what runs already")
    if situation.foreign_revision is not None:
        raise Refused(
            f"the database is at revision {situation.foreign_revision}, which MLflow {jump.target} does not know",
            hint="It was written by a newer release, or is not MLflow's; choose a newer target.",
        )


def _choose(situation: Situation, refused: dict[Strategy, str]) -> ModuleType:
    if situation.wanted is None:
        possible = (module for module in _BUILT if not refused[module.STRATEGY])
        return next(module for module in possible if module is not rolling or not rolling.second_thoughts(situation))
    reason = refused[situation.wanted]
    if reason:
        raise UsageError(f"strategy {situation.wanted} is not possible here: {reason}")
    return next(module for module in _BUILT if module.STRATEGY is situation.wanted)


def _reasons(situation: Situation, strategy: Strategy) -> tuple[str, ...]:
    jump = situation.jump
    said = [f"{jump.source} to {jump.target} is a {jump.kind.value} jump"]
    for role, revisions in (("tracking", jump.tracking), ("auth", jump.auth)):
        if revisions:
            said.append(f"{len(revisions)} {role} migrations, to {revisions[-1]}")
    if strategy is Strategy.IN_PLACE:
        said.append("no migration lies between the releases, so a restart is enough")
    elif strategy is Strategy.ROLLING:
        stall = rolling.stall_seconds(situation)
        said.append(f"both releases can share the database: migrated in one transaction, {stall:.1f} s (rehearsed)")
    elif strategy is Strategy.ONLINE:
        said.append("the schema changes: a second database is migrated and kept equal, writes are held for the switch")
        if not rolling.offered(situation) and (thoughts := rolling.second_thoughts(situation)):
            said.append(thoughts)
    elif situation.wanted is None:
        said.append("the schema changes, so writes are held while it is migrated")
    return tuple(said)
