"""The copy a rehearsal works on: every database snapshotted live and restored beside itself; dropped at the end."""

from __future__ import annotations

from collections.abc import Mapping

from liftlock import files
from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Probe
from liftlock.model.deployment import Role
from liftlock.steps.backup import tidy
from liftlock.steps.site import Site
from liftlock.stores.interface import Store


class MakePlace(BaseStep):
    """The directory of a rehearsal: the first step, so that it is the last to be taken back."""

    name = "place"
    title = "make a directory for the rehearsal"

    def __init__(self, site: Site) -> None:
        self.site = site

    def probe(self, context: Context) -> Probe:
        """Done when it is there."""
        return Probe.DONE if self.site.state_directory.is_dir() else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Make it, private."""
        with side_effect("make rehearsal directory"):
            files.private_directory(self.site.state_directory)

    def undo(self, context: Context) -> None:
        """Remove it with all that is in it."""
        with side_effect("remove rehearsal directory"):
            files.remove_tree(self.site.state_directory)


class CopyStores(BaseStep):
    """Snapshot the live databases and restore them into the site's scratch stores."""

    name = "copy"
    title = "copy the databases beside themselves"

    def __init__(self, site: Site, live: Mapping[Role, Store]) -> None:
        self.site = site
        self.live = live

    def probe(self, context: Context) -> Probe:
        """A copy is cheap to make anew, so anything that is there is half-way."""
        there = [store for store in self.site.stores.values() if store.exists()]
        return Probe.PARTIAL if there else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Nobody who writes to the live databases has to wait."""
        tidy(self.live.values())
        for role, store in self.live.items():
            place = files.private_directory(self.site.state_directory / "copies" / role.value)
            with side_effect(f"snapshot {role.value} for rehearsal"):
                snapshot = store.snapshot(place, observer=context.observer)
            with side_effect(f"restore {role.value} for rehearsal"):
                self.site.stores[role].restore(snapshot, place, observer=context.observer)
            files.remove_tree(place)

    def undo(self, context: Context) -> None:
        """Drop the copies, and what copying left in the live databases."""
        tidy(self.live.values())
        for store in self.site.stores.values():
            with side_effect("drop rehearsal database"):
                store.drop()
