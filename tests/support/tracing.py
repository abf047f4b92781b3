"""Whether this machine lets a process fetch a socket of another one that is not its descendant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _allowed() -> bool:
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


needs_tracing = pytest.mark.skipif(
    not _allowed(), reason="kernel.yama.ptrace_scope keeps one user's processes apart, and the tests do not run as root"
)
