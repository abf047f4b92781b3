"""All checks, found by walking the package: adding a file adds a check."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

from liftlock.assess import checks
from liftlock.assess.check import Check
from liftlock.assess.facts import Facts
from liftlock.model.finding import Finding


@functools.cache
def registry() -> tuple[Check, ...]:
    """Every check, by code. Raises ValueError when two share one."""
    found: dict[str, Check] = {}
    for module_info in pkgutil.iter_modules(checks.__path__, checks.__name__ + "."):
        module = importlib.import_module(module_info.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Check) and kind.__module__ == module.__name__:
                if kind.code in found:
                    raise ValueError(f"two checks are called {kind.code}")
                found[kind.code] = kind()
    return tuple(found[code] for code in sorted(found))


def assess(facts: Facts) -> tuple[Finding, ...]:
    """The findings of all checks, by code."""
    return tuple(check.check(facts) for check in registry())
