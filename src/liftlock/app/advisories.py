"""`advisories`: the table, imported files, accepted risks and the deployment's own facts brought together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from liftlock import clock
from liftlock.app.catalogue import current
from liftlock.errors import UsageError
from liftlock.knowledge import advisories
from liftlock.knowledge.advisories import Report
from liftlock.model.deployment import Deployment
from liftlock.model.release import Release


def advise(
    source: str | None, target: str | None, *, said: Mapping[str, bool], deployment: Deployment | None = None,
    osv: Sequence[Path] = (), accepted: Path | None = None,
) -> Report:  # fmt: skip
    """What is known of a release, or of the hop to another.

    `said` are conditions a person answered; they win over the deployment's facts. Without `source` the deployment's
    release is meant. Raises UsageError for an unknown condition or a malformed file, ReleaseError for a release that
    the catalogue does not know.
    """
    table = advisories.load()
    if wrong := said.keys() - table.conditions.keys():
        raise UsageError(
            f"{', '.join(sorted(wrong))}: not a condition",
            hint=f"Conditions are: {', '.join(sorted(table.conditions))}.",
        )
    catalogue, _ = current()
    if source is None:
        if deployment is None:
            raise UsageError("which release runs is not known", hint="Give it with --from.")
        old = catalogue.require(deployment.server.release)
    else:
        old = catalogue.require(Release.parse(source))
    new = catalogue.require(Release.parse(target)) if target else old
    observed = [advisories.conditions_of(deployment, each) if deployment else {} for each in (old, new)]
    return advisories.report(
        old, new, as_of=table.as_of, known=catalogue.releases, today=clock.now().date(),
        advisories=advisories.merged(table.advisory, [each for path in osv for each in advisories.read_osv(path)]),
        before={**observed[0], **said}, after={**observed[1], **said},
        accepted=advisories.read_accepted(accepted) if accepted else (),
    )  # fmt: skip
