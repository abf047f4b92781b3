"""Which requests only read: by endpoint, not by verb, from a table with its source. Unknown means write."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import resources

from liftlock.model.codec import Value, from_builtins

_TABLE = "data/reads.toml"
_PLACEHOLDER = re.compile(r"\{\w+\}")
_REMEMBERED = 20_000


class Read(Value, frozen=True):
    """One endpoint that only reads: a verb, a path below each of `mounts`, the releases that have it, who serves it."""

    verb: str
    path: str
    mounts: tuple[str, ...]
    releases: str
    served: str


def table() -> tuple[Read, ...]:
    """The endpoints that only read, as shipped."""
    text = resources.files("liftlock.gate").joinpath(_TABLE).read_text(encoding="utf-8")
    return from_builtins(tomllib.loads(text)["read"], tuple[Read, ...])


class Classifier:
    """Says whether a request only reads. `static_prefix` is what `mlflow server --static-prefix` was given."""

    def __init__(self, reads: Iterable[Read], *, static_prefix: str = "") -> None:
        exact: set[tuple[bytes, bytes]] = set()
        patterns: dict[bytes, list[str]] = {}
        prefix = static_prefix.rstrip("/")
        for read in reads:
            # Flask answers HEAD wherever it answers GET.
            for verb in ("GET", "HEAD") if read.verb == "GET" else (read.verb,):
                for path in _paths(read, prefix):
                    if "{" in path:
                        pieces = [re.escape(piece) for piece in _PLACEHOLDER.split(path)]
                        patterns.setdefault(verb.encode(), []).append("[^?#]+".join(pieces))
                    else:
                        exact.add((verb.encode(), path.encode()))
        self._exact = frozenset(exact)
        self._patterns = {verb: re.compile("|".join(sorted(set(some))).encode()) for verb, some in patterns.items()}
        self._seen: dict[tuple[bytes, bytes], bool] = {}

    def reads(self, verb: bytes, path: bytes) -> bool:
        """Whether a request with this verb and raw path (no query) changes nothing; False when in doubt.

        The path is compared as it was sent: an escaped or doubled slash makes it unknown, hence a write.
        """
        key = (verb, path)
        if key in self._exact:
            return True
        known = self._seen.get(key)
        if known is None:
            pattern = self._patterns.get(verb)
            known = pattern is not None and pattern.fullmatch(path) is not None
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[key] = known
        return known


def _paths(read: Read, prefix: str) -> list[str]:
    plain = [mount + read.path for mount in read.mounts]
    return plain + ([prefix + path for path in plain] if prefix else [])
