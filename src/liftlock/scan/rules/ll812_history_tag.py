"""The tag of a run that lists the models it logged."""

from __future__ import annotations

import re

from liftlock.scan.model import Code, Verdict
from liftlock.scan.rules.base import Rule

RULE = Rule(
    code=Code(
        code="LL812", title="The list of a run's models is no longer a tag",
        before='run.data.tags["mlflow.log-model.history"]', after="run.outputs.model_outputs",
        text="New runs lack the tag, so a lookup raises KeyError, and what iterates over it sees no model. A run's "
        "outputs, or mlflow.search_logged_models, name them.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="mlflow.log-model.history",
    pattern=re.compile(r"\bmlflow\.log-model\.history\b"),
)  # fmt: skip
