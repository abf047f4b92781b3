"""Bring the other side to where this one is, while people write."""

from __future__ import annotations

from collections.abc import Callable

from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.online.control import Control
from liftlock.online.converge import Pace, converge
from liftlock.online.flow import Flow
from liftlock.online.patience import patiently
from liftlock.online.translate import Translator

Flows = Callable[[Context], tuple[Flow, ...]]


class Converge(BaseStep):
    """Epochs until hardly anything is left; more of them follow until the cut-over."""

    def __init__(self, flows: Flows, pace: Callable[[], Pace], control: Control, *, name: str, title: str) -> None:
        self.flows = flows
        self.pace = pace
        self.control = control
        self.name = name
        self.title = title

    def probe(self, context: Context) -> Probe:
        """Where the last one stopped does not matter."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """May take as long as people write quickly; can be paused."""
        flows = self.flows(context)
        for flow in flows:
            if isinstance(flow.rules, Translator) and flow.rules.translation.whole:
                patiently(flow.refresh, context.observer)
        keys = converge(flows, self.pace(), self.control, observer=context.observer)
        context.note(self.name, {"keys": keys})

    def result(self, context: Context) -> Payload:
        """How many rows came over."""
        return context.noted(self.name) or {}
