"""Another process that holds a deployment's lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HOLD = """
import sys
from pathlib import Path
from liftlock.engine.lock import exclusive
with exclusive(Path(sys.argv[1]), "hold it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(directory: Path) -> subprocess.Popen[str]:
    """Until its standard input ends, or it is killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "held\n"
    return child
