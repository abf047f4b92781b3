"""Which Pythons a requirement's marker is about, compared with those a release runs on."""

from __future__ import annotations

import functools
from itertools import product

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet

_PYTHONS = tuple(f"3.{minor}" for minor in range(5, 20))
_SYSTEMS = (("linux", "posix", "Linux"), ("win32", "nt", "Windows"), ("darwin", "posix", "Darwin"))
_MACHINES = ("x86_64", "AMD64", "aarch64", "arm64")


@functools.lru_cache(maxsize=512)
def only_older(marker: str, runs_on: str) -> bool:
    """Whether a marker is true on some Python that `runs_on` (`>=3.10`) leaves out, and on none that it allows."""
    try:
        allowed = SpecifierSet(runs_on)
        parsed = Marker(marker)
        on = {python for python in _PYTHONS if _anywhere(parsed, python)}
    except (InvalidMarker, InvalidSpecifier, UndefinedComparison, UndefinedEnvironmentName):
        return False
    return bool(on) and not any(allowed.contains(f"{python}.50") for python in on)


def _anywhere(marker: Marker, python: str) -> bool:
    return any(
        marker.evaluate(
            {
                "python_version": python, "python_full_version": f"{python}.50", "sys_platform": system,
                "os_name": name, "platform_system": title, "platform_machine": machine, "extra": "",
            }
        )
        for (system, name, title), machine in product(_SYSTEMS, _MACHINES)
    )  # fmt: skip
