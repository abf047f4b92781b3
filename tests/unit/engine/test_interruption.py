"""A signal ends the work at once; while putting back liftlock hears none, but what it starts does."""

from __future__ import annotations

import signal
import subprocess
import sys

SCRIPT = """
import os, signal, subprocess
from liftlock.engine.interruption import interruptible

with interruptible() as hush:
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


LOST = """
import queue, signal, threading, time
from liftlock.engine.interruption import Interrupted, interruptible

def other():
    time.sleep(0.3)
    # As when it comes just before the main thread begins to wait: the call that waits does not end.
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)

threading.Thread(target=other, daemon=True).start()
began = time.monotonic()
try:
    with interruptible():
        queue.Queue().get(timeout=30)
except Interrupted as error:
    print(error, time.monotonic() - began < 10)
"""


def test_a_signal_that_wakes_nobody_is_sent_again() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["SIGTERM", "True"], done.stderr
