"""Which URIs name a store in plain files."""

from __future__ import annotations

import re

from liftlock.scan.model import Confidence

_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")
_HOLE = ("\0", "$", "{", "<", "%")


def in_files(uri: str) -> Confidence | None:
    """How sure it is that a tracking or registry URI (NUL for unknown parts) is a file store; None when it is not."""
    text = uri.strip().strip("'\"")
    if text.startswith("file:"):
        return Confidence.CERTAIN
    if _SCHEME.match(text):
        return None
    if text.startswith(_HOLE):
        return Confidence.LIKELY if re.search(r"[/\\]mlruns[/\\]?$", text) else None
    local = text.startswith(("/", "./", "../", "~/", ".\\", "..\\")) or re.match(r"[A-Za-z]:[\\/]", text)
    return Confidence.CERTAIN if local or text == "." or re.search(r"(?:^|[/\\])mlruns[/\\]?$", text) else None
