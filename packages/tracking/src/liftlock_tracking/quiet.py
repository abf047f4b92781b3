"""Log lines that say something once, then at most every minute: an outage must not fill the application's log."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

_log = logging.getLogger("liftlock_tracking")
_EVERY = 60.0
_last: dict[str, float] = {}
_held: dict[str, int] = {}
_lock = threading.Lock()


def warn(topic: str, text: str, *values: Any) -> None:
    """Log a warning unless this topic was warned about within the last minute; says how many were held back."""
    now = time.monotonic()
    with _lock:
        if now - _last.get(topic, -_EVERY) < _EVERY:
            _held[topic] = _held.get(topic, 0) + 1
            return
        _last[topic] = now
        held = _held.pop(topic, 0)
    _log.warning(text + (f" ({held} like it not shown)" if held else ""), *values)


def again(topic: str) -> None:
    """The matter is settled: the next line on this topic is shown at once."""
    with _lock:
        _last.pop(topic, None)
        _held.pop(topic, None)


def info(text: str, *values: Any) -> None:
    """Log a line that is rare by itself."""
    _log.info(text, *values)
