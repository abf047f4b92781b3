"""Waiting for what is away for a moment: a database that restarts, a migration worker that was killed.

Work that is repeated as a whole (an epoch, a stretch of a comparison) does no harm when it is repeated, so it need not
fail because a server was restarted under it.
"""

from __future__ import annotations

from collections.abc import Callable

from liftlock import clock
from liftlock.errors import ReleaseError, StoreError
from liftlock.model.progress import Observer, Progress

PASSING = (StoreError, ReleaseError)
_PAUSE = 0.5


class Patience:
    """`seconds` from the first failure after a success until a failure is believed."""

    def __init__(self, observer: Observer, *, seconds: float = 60.0) -> None:
        self._observer = observer
        self._seconds = seconds
        self._since: float | None = None

    def well(self) -> None:
        """Something worked: whatever fails next is new."""
        self._since = None

    def bear(self, error: StoreError | ReleaseError) -> None:
        """Pause, to try again. Raises the error when it will not pass, or has not for too long."""
        now = clock.monotonic()
        if self._since is None:
            self._since = now
        if not error.retryable or now - self._since > self._seconds:
            raise error
        self._observer(Progress(work=f"waiting: {error.message}"))
        clock.sleep(_PAUSE)


def patiently(work: Callable[[], None], observer: Observer) -> None:
    """Do work that may be repeated as a whole. Raises its StoreError or ReleaseError when that will not pass."""
    patience = Patience(observer)
    while True:
        try:
            return work()
        except PASSING as error:
            patience.bear(error)
