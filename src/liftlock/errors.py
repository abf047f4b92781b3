"""The errors liftlock raises on purpose: fields instead of prose, a hint, and the exit status they end in.

Exit statuses are the command line's contract: 0 done, 1 findings, 2 usage or configuration, 3 refused and
nothing was changed, 4 failed and put back as it was, 5 needs a person.
"""

from __future__ import annotations


class LiftlockError(Exception):
    """What went wrong (one line), what to do about it, and whether trying again may help.

    The command line prints `message` and `hint` and exits with `exit_status`; nothing else is shown
    unless `--debug` is given. Messages never contain a secret: pass redacted forms only.
    """

    exit_status: int = 3

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retryable = retryable

    def __str__(self) -> str:
        return self.message


class UsageError(LiftlockError):
    """The words of the command or the configuration are wrong; nothing was looked at or changed."""

    exit_status = 2


class Refused(LiftlockError):
    """A precondition does not hold, so nothing was changed."""

    exit_status = 3


class PutBack(LiftlockError):
    """An upgrade failed and everything was put back as it was."""

    exit_status = 4


class NeedsPerson(LiftlockError):
    """liftlock stopped on purpose because going on would be guessing; the hint says what to do."""

    exit_status = 5


class StoreError(LiftlockError):
    """A database could not be reached, read, copied or restored."""


class StoreCorrupt(StoreError):
    """A database file or dump is damaged."""


class ReleaseError(LiftlockError):
    """An MLflow release does not exist, cannot be installed, or its own code failed."""


class ServerError(LiftlockError):
    """A tracking server could not be found, started, stopped or reached."""


class ArtifactError(LiftlockError):
    """Artifacts could not be read, copied or verified."""


class BackupError(LiftlockError):
    """A backup set is missing, unfinished, damaged or cannot be written."""


class JournalError(LiftlockError):
    """The journal is damaged, newer than this program, or owned by somebody else."""


class CommandFailed(LiftlockError):
    """A child process ended with a status other than zero or ran past its deadline.

    `argv` and `output` are redacted; `status` is None when the deadline passed.
    """

    def __init__(self, message: str, *, argv: tuple[str, ...], status: int | None, output: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.argv = argv
        self.status = status
        self.output = output
