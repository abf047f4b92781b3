"""Do the clocks agree?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts, known
from liftlock.model.finding import Finding, Severity

_TOLERATED = 5.0
_FUTURE = 300.0


class ClocksAgree(Check):
    """The database server's clock is within 5 seconds of this machine's, and no run starts in the future.

    Journal, backups and retention are ordered by time; a clock that jumped back makes the newest backup look old.
    """

    code = "LLC019"
    title = "Clocks"
    severity = Severity.WARNING

    def answer(self, facts: Facts) -> Finding:
        """Fail with the difference."""
        wrong = []
        for role, ahead in facts.clock_ahead.items():
            seconds = known(ahead)
            if abs(seconds) > _TOLERATED:
                side = "ahead of" if seconds > 0 else "behind"
                wrong.append(f"the clock of the {role} database is {abs(seconds):.0f} s {side} this machine's")
        newest = facts.newest_run
        if newest is not None and known(newest) > facts.now + _FUTURE:
            wrong.append(f"the newest run starts {known(newest) - facts.now:.0f} s in the future")
        if wrong:
            return self.failed("; ".join(wrong), "Synchronise the clocks (NTP) before upgrading.")
        return self.passed()
