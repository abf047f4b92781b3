"""Is the server up?"""

from __future__ import annotations

from liftlock.assess.check import Check, DoesNotApply
from liftlock.assess.facts import Facts, known
from liftlock.model.finding import Finding, Severity


class ServerHealthy(Check):
    """The `mlflow server` of this deployment runs and answers `/health` with 200.

    A server that does not run is no obstacle to an upgrade (SKIPPED); one that runs and does not answer is.
    """

    code = "LLC001"
    title = "Server process and /health"
    severity = Severity.ERROR

    def answer(self, facts: Facts) -> Finding:
        """Fail when a process exists but does not answer, or somebody else answers."""
        if facts.running is None:
            if facts.healthy:
                return self.failed(
                    f"{facts.config.server.host}:{facts.config.server.port} answers, but no `mlflow server` was found",
                    "Does it run as another user or in a container? Run liftlock where it can see the process.",
                )
            raise DoesNotApply("no server runs")
        running = known(facts.running)
        if not facts.healthy:
            return self.failed(
                f"PID {running.handle.pid} runs, but {running.url}/health does not answer 200",
                "Look at the server's log: `liftlock server logs`.",
            )
        return self.passed(f"MLflow {running.release} answers at {running.url}", pid=running.handle.pid)
