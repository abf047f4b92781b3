"""Run a gate as a process of its own: settings as JSON in the first argument, a seeded bug to apply in the second."""

from __future__ import annotations

import sys

from liftlock.gate import serve
from liftlock.gate.model import Settings
from liftlock.model.codec import from_json

if __name__ == "__main__":
    if len(sys.argv) > 2:
        exec(sys.argv[2])
    serve.run(from_json(sys.argv[1], Settings), ready=lambda *_: print("ready", flush=True))
