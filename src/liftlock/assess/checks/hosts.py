"""Will the target accept the names clients use?"""

from __future__ import annotations

import fnmatch

from liftlock.assess.check import Check, DoesNotApply, target_of
from liftlock.assess.facts import Facts
from liftlock.describe import launch, options
from liftlock.model.finding import Finding, Severity

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HostsAccepted(Check):
    """From 3.5 on MLflow answers 403 to a Host header it does not expect, while `/health` still says 200.

    liftlock sets the lists for the names in `server.public_names`. This check fails when lists that were given by
    hand lack one of them, or when the server listens to other machines and no name is known.
    """

    code = "LLC015"
    title = "Host and CORS lists"
    severity = Severity.WARNING

    def answer(self, facts: Facts) -> Finding:
        """Compare the public names with the lists the target will get."""
        target = target_of(facts)
        if target.release < launch.HOST_CHECK:
            raise DoesNotApply(f"MLflow {target.release} does not check Host headers")
        server = facts.config.server
        given = options.parse(server.arguments, server.environment)
        names = server.public_names
        if given.is_on("--disable-security-middleware", default=False):
            return self.passed("the check is turned off for this server")
        if not names:
            if server.host in _LOOPBACK:
                return self.passed("only reached over loopback; name public_names if a proxy stands in front")
            return self.failed(
                f"the server listens on {server.host}, but server.public_names is empty",
                "Name the hosts clients use, such as mlflow.example.com; addresses of private networks are accepted.",
            )
        hosts, origins = given.get("--allowed-hosts"), given.get("--cors-allowed-origins")
        wrong = [f"--allowed-hosts lacks {name}" for name in names if hosts and not _matches(name, hosts)]
        for name in names:
            if origins and not any(_matches(f"{scheme}://{name}", origins) for scheme in ("https", "http")):
                wrong.append(f"--cors-allowed-origins lacks https://{name}")
        if wrong:
            return self.failed("; ".join(wrong), "Add them to the lists in server.arguments or server.environment.")
        return self.passed(", ".join(names))


def _matches(name: str, listed: str) -> bool:
    return any(fnmatch.fnmatch(name, entry.strip()) for entry in listed.split(","))
