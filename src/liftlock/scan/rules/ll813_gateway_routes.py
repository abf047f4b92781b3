"""A configuration of the AI Gateway that names routes."""

from __future__ import annotations

import re

from liftlock.scan.model import Code, Verdict
from liftlock.scan.rules.base import Rule

_NOW = {"route_type": "endpoint_type", "routes": "endpoints"}


def _rename(found: re.Match[str]) -> str:
    return _NOW[found[0]]


RULE = Rule(
    code=Code(
        code="LL813", title="A gateway configuration with routes", before="routes: [{name: chat, route_type: "
        "llm/v1/chat, ...}]", after="endpoints: [{name: chat, endpoint_type: llm/v1/chat, ...}]",
        text="The gateway refuses to start: `The 'routes' field is not supported in the configuration file`. Both "
        "names were accepted before.",
    ),
    verdict=Verdict.BREAKS, symbol="route_type",
    pattern=re.compile(
        r"\broute_type(?=[\"']?\s*:\s*[\"']?llm/v1/)"
        r"|\broutes(?=:\s*\n\s*-\s*name:[^\n]*\n\s*route_type\s*:)"
    ),
    rename=_rename,
)  # fmt: skip
