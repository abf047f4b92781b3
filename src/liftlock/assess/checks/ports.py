"""Is the server's port ours?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts, known
from liftlock.model.finding import Finding
from liftlock.runtimes import process_tree


class PortIsOurs(Check):
    """The server's port is free, or held by the server of this deployment and nobody else."""

    code = "LLC018"
    title = "Port of the server"

    def answer(self, facts: Facts) -> Finding:
        """Fail when a stranger listens there."""
        port = facts.config.server.port
        if facts.running is None:
            if known(facts.port_free):
                return self.passed(f"{port} is free")
            holders = ", ".join(map(process_tree.describe, facts.port_holders)) or "a process of another user"
            return self.failed(f"no server runs, but {port} is taken by {holders}", "Stop it or change server.port.")
        members = process_tree.family(known(facts.running).handle)
        strangers = [pid for pid in facts.port_holders if pid not in members]
        if strangers:
            names = ", ".join(map(process_tree.describe, strangers))
            return self.failed(
                f"{port} is also held by {names}", "Workers of an earlier server? Stop them, they would keep the port."
            )
        return self.passed(f"{port} is held by the server alone")
