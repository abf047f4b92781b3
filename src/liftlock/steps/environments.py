"""Build both sides' environments before anything else: the new release, and a frozen replica of the old one."""

from __future__ import annotations

from pathlib import Path

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ReleaseError
from liftlock.releases.environment import Environment
from liftlock.steps.migrate import Warmth
from liftlock.steps.site import Site


class BuildEnvironments(BaseStep):
    """Build, prove and keep the target's environment; freeze the old one and rebuild it from its lock.

    The way back needs the old release as it ran (re-resolving it from an index is not a rollback), so its lock is
    rebuilt now, while nothing depends on it. Where it cannot be (local packages), the person's own environment
    stays the way back and the result says so.
    """

    name = "build-environments"
    title = "build and prove both releases' environments"

    def __init__(self, site: Site, warmth: Warmth | None = None) -> None:
        """`warmth` gets the target's environment as soon as there is one, to warm up a worker meanwhile."""
        self.site = site
        self.warmth = warmth

    def probe(self, context: Context) -> Probe:
        """Done when what was noted still exists."""
        noted = context.noted("environments")
        return Probe.DONE if noted and Path(noted["new_python"]).exists() else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Takes seconds from the cache, a minute or two from the index."""
        environments = self.site.environments
        observed = environments.observe(self.site.old_python)
        drivers = {store.uri.engine for store in self.site.stores.values()}
        with side_effect("build target environment"):
            new = environments.build(
                self.site.jump.target,
                requirements=environments.carried(observed, drivers),
                drivers=drivers,
                observer=context.observer,
            )
            environments.keep(new, by=context.run)
        if self.warmth is not None:
            self.warmth.begin(new)
        replica, reason = self._replica(observed)
        if replica is not None:
            environments.keep(replica, by=context.run)
        context.note(
            "environments",
            {
                "new_python": str(new.python),
                "new_lock_digest": new.lock_digest,
                "old_python": str(self.site.old_python),
                "old_lock_digest": observed.lock_digest,
                "old_replica": str(replica.python) if replica else None,
                "old_replica_digest": replica.lock_digest if replica else None,
                "old_replica_reason": reason,
            },
        )

    def result(self, context: Context) -> Payload:
        """Interpreters and lock digests of both sides."""
        return context.noted("environments") or {}

    def undo(self, context: Context) -> None:
        """Let the cache drop them when it wants to; nothing else was touched."""
        if self.warmth is not None:
            self.warmth.close()
        self.site.environments.release(context.run)

    def _replica(self, observed: Environment) -> tuple[Environment | None, str]:
        if observed.unlocked:
            return None, f"not on the package index: {', '.join(observed.unlocked)}"
        try:
            with side_effect("rebuild old environment"):
                return self.site.environments.rebuild(observed.lock, observed.python_version), ""
        except ReleaseError as error:
            return None, error.message
