"""The door to uv: find its program, run it with the user's own package sources, explain its failures."""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import uv as uv_package

from liftlock.errors import CommandFailed, ReleaseError
from liftlock.proc import Completed, run
from liftlock.releases.children import clean_environment
from liftlock.releases.sources import find_sources

_ASKING = threading.Lock()
_UNREACHABLE = re.compile(
    r"error sending request|failed to fetch|dns error|connection (refused|reset)|timed out|tcp connect"
    r"|network is unreachable|status code 5\d\d|\(50[0-9]|connection error|name resolution",
    re.IGNORECASE,
)


class IndexUnreachable(ReleaseError):
    """The package index did not answer; trying again may help."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the package index could not be reached: {detail}",
            hint="Check the network and the index that uv or pip is configured to use, then try again.",
            retryable=True,
        )


def uv(
    arguments: Sequence[str | Path], *, timeout: float = 600.0, what: str = "uv", stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:  # fmt: skip
    """Run uv to its end. Raises IndexUnreachable, or CommandFailed with uv's own words."""
    environment = clean_environment({"UV_NO_PROGRESS": "1", **find_sources().for_uv(), **(env or {})})
    try:
        return run(
            [_program(), "--color", "never", *arguments],
            timeout=timeout, env=environment, stdin=stdin, what=what,
        )  # fmt: skip
    except CommandFailed as error:
        if _UNREACHABLE.search(error.output):
            raise IndexUnreachable(explain(error.output)) from error
        raise


def _program() -> str:
    """uv's program. Python's sysconfig, which says where it lies, is not ready for two first questions at once."""
    with _ASKING:
        return uv_package.find_uv_bin()


def pip_index(arguments: Sequence[str], *, timeout: float = 120.0) -> Completed:
    """Run `pip index ...`: pip knows logins, proxies and certificates. Ours where we have one, else through uv."""
    environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", **find_sources().for_pip()}
    words = ["index", *arguments]
    what = "the package index query"
    if importlib.util.find_spec("pip") is None:
        return uv(["tool", "run", "pip", *words], timeout=timeout, what=what, env=environment)
    return run([sys.executable, "-m", "pip", *words], timeout=timeout, env=clean_environment(environment), what=what)


def explain(output: str) -> str:
    """uv's reason on one line: its `cause:` or `Because` sentences without the frame around them."""
    flat = " ".join(line.strip(" ×╰─▶│├·") for line in output.splitlines() if line.strip())  # noqa: RUF001 - uv's marks
    for mark in ("cause: ", "Because "):
        if mark in flat:
            rest = flat[flat.index(mark) :]
            return rest.removeprefix("cause: ").strip()
    return flat.removeprefix("error: ").strip() or "it printed nothing"
