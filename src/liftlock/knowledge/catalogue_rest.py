"""What an endpoint takes and gives, as the catalogue has it, and what two releases' endpoints differ in. Pure.

Only endpoints declared in a proto say it, and only the fields of the request and of the answer themselves: the fields
of what is inside them (a run's, a model version's) are not compared, nor what the server makes of them.
"""

from __future__ import annotations

import re

from liftlock.model.codec import Value

_RPC = re.compile(r"rpc [\w.]+\((?P<takes>[^)]*)\)(?: -> (?P<gives>.*))?\Z")


class Fields(Value, frozen=True):
    """The fields an endpoint takes and gives."""

    takes: frozenset[str]
    gives: frozenset[str]


def fields(value: str) -> Fields | None:
    """The fields in the catalogue's value of an endpoint; None where it does not say them."""
    found = _RPC.match(value)
    if found is None:
        return None
    takes, gives = (frozenset(filter(None, (found[part] or "").split(", "))) for part in ("takes", "gives"))
    return Fields(takes=takes, gives=gives)


def lost(before: str, after: str) -> str | None:
    """What the newer of two values of an endpoint no longer takes or gives, in words (empty: nothing); None where one
    of them does not say. The server ignores a field it does not know, so nothing fails: it has no effect.
    """
    was, now = fields(before), fields(after)
    if was is None or now is None:
        return None
    return "; ".join(
        f"no longer {verb} {', '.join(sorted(gone))}"
        for verb, gone in (("takes", was.takes - now.takes), ("answers", was.gives - now.gives)) if gone
    )  # fmt: skip


def detail(before: str, after: str) -> str:
    """What changed between two values of an endpoint, in words; empty where they do not say."""
    was, now = fields(before), fields(after)
    if was is None or now is None:
        return ""
    new = (("takes", now.takes - was.takes), ("answers", now.gives - was.gives))
    said = [lost(before, after) or "", *(f"{verb} {', '.join(sorted(more))}" for verb, more in new if more)]
    return "; ".join(filter(None, said))
