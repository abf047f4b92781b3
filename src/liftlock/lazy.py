"""Libraries that are loaded when something of them is used: a command that needs none of them should not wait for them.

if TYPE_CHECKING:
    import psutil
else:
    psutil = Lazy("psutil")
"""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """Stands for a module of this name; whatever is asked of it is asked of the module, which is imported then."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
