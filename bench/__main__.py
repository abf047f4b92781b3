"""`python -m bench [NAMES]`: run the measurements of these modules, or of all of them."""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import sys
from datetime import datetime

import bench


def names() -> list[str]:
    """Every module beside this one that measures something."""
    found = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_"))
    return [name for name in found if hasattr(importlib.import_module(f"bench.{name}"), "main")]


def main(wanted: list[str]) -> int:
    known = names()
    if unknown := sorted(set(wanted) - set(known)):
        print(f"no measurement {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    now = datetime.now().astimezone()
    print(
        f"{now:%Y-%m-%d %H:%M %Z}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    )
    missed = []
    for name in wanted or known:
        print(f"\n== {name}", flush=True)
        if importlib.import_module(f"bench.{name}").main():
            missed.append(name)
    if missed:
        print(f"\nbelow its goal: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
