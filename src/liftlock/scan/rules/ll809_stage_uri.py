"""A model URI that ends in a stage."""

from __future__ import annotations

import re

from liftlock.scan.model import Code, Verdict
from liftlock.scan.rules.base import Rule


def _rename(found: re.Match[str]) -> str:
    stage = found["stage"].lower()
    return f"@{stage}" if stage in ("production", "staging") else ""


RULE = Rule(
    code=Code(
        code="LL809", title="A model URI with a stage", before='mlflow.pyfunc.load_model("models:/m/Production")',
        after='mlflow.pyfunc.load_model("models:/m@production")',
        text="It still works, with a warning. The alias has to be set first; --unsafe changes the URI.",
    ),
    verdict=Verdict.DEPRECATED, symbol="models:/<name>/<stage>",
    pattern=re.compile(r"(?<=models:)(?P<name>/[^/@\s\"'`]+)/(?P<stage>Production|Staging|Archived)\b(?![/\w-])",
                       re.IGNORECASE),
    rename=_rename, safe=False,
)  # fmt: skip
