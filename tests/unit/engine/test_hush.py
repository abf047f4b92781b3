"""While putting back signals are not heard by liftlock, but they are by what it starts."""

from __future__ import annotations

import signal
import subprocess
import sys

SCRIPT = """
import os, signal, subprocess
from liftlock.engine.executor import _interruptible

with _interruptible() as hush:
    hush()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    print(subprocess.run(["sh", "-c", "grep SigIgn /proc/self/status"], capture_output=True, text=True).stdout)
"""


def test_a_child_started_while_putting_back_hears_its_signals() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ignored = int(done.stdout.split()[1], 16)
    assert not ignored & (1 << (signal.SIGTERM - 1)) and not ignored & (1 << (signal.SIGINT - 1))
