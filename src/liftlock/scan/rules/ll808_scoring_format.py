"""The content type of the scoring server takes no format any more."""

from __future__ import annotations

import re

from liftlock.scan.model import Code, Verdict
from liftlock.scan.rules.base import Rule

RULE = Rule(
    code=Code(
        code="LL808", title="A scoring request of 1.x",
        before="curl -H 'Content-Type: application/json; format=pandas-split' -d '{...}' $URL/invocations",
        after="curl -H 'Content-Type: application/json' -d '{\"dataframe_split\": {...}}' $URL/invocations",
        text="The server answers 415 to a content type with format=, and wants the data below dataframe_split, "
        "dataframe_records, instances or inputs.",
    ),
    verdict=Verdict.BREAKS, symbol="format=pandas-split",
    pattern=re.compile(r"\bapplication/json\s*;\s*format=pandas-(?:split|records)(?:-\w+)?\b"),
)  # fmt: skip
