"""Compare every row of both sides while people write; nothing is cut over before they are equal."""

from __future__ import annotations

from typing import cast

from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.model.codec import to_builtins
from liftlock.model.finding import Finding, Outcome
from liftlock.online.verification import Comparable, verify
from liftlock.steps.converge import Flows
from liftlock.steps.sides import Sides
from liftlock.steps.verification import require


class VerifyAligned(BaseStep):
    """Every row and column of every table, against its translation; and the sink's own integrity."""

    def __init__(self, sides: Sides, flows: Flows, *, name: str, title: str) -> None:
        self.sides = sides
        self.flows = flows
        self.name = name
        self.title = title

    def probe(self, context: Context) -> Probe:
        """Asked anew after a crash: it changes nothing."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """One database after the other."""
        findings = []
        for flow in self.flows(context):
            done = verify(
                flow,
                cast(Comparable, flow.rules),
                self.sides.pace(),
                self.sides.control,
                observer=context.observer,
            )
            problems = flow.sink.store.check_integrity()
            ok = not done.wrong and not problems
            text = f"{done.rows} rows are equal" if ok else "; ".join([*done.differences, *problems][:5])
            findings.append(
                Finding(
                    code="LLV040",
                    title=f"{flow.role.value} database against its translation",
                    outcome=Outcome.PASS if ok else Outcome.FAIL,
                    message=text if ok else f"{done.wrong + len(problems)} differences: {text}",
                )
            )
        context.note(self.name, {"findings": to_builtins(findings)})
        require(findings)

    def result(self, context: Context) -> Payload:
        """The findings."""
        return context.noted(self.name) or {}
