"""Where liftlock keeps what it fetched and built."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """The directory, when nobody says otherwise."""
    if named := os.environ.get("LIFTLOCK_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liftlock"
