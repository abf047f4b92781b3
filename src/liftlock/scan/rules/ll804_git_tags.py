"""Two tags of a run that are no longer written."""

from __future__ import annotations

import re

from liftlock.scan.model import Code, Verdict
from liftlock.scan.rules.base import Rule

_NOW = {"mlflow.gitBranchName": "mlflow.source.git.branch", "mlflow.gitRepoURL": "mlflow.source.git.repoURL"}


def _rename(found: re.Match[str]) -> str:
    return _NOW[found[0]]


RULE = Rule(
    code=Code(
        code="LL804", title="A tag that is no longer written", before='run.data.tags["mlflow.gitRepoURL"]',
        after='run.data.tags["mlflow.source.git.repoURL"]',
        text="New runs lack the tag, so a lookup raises KeyError and a search finds nothing. Releases before wrote "
        "both tags.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="mlflow.gitRepoURL", pattern=re.compile(r"\bmlflow\.git(?:BranchName|RepoURL)\b"),
    rename=_rename,
)  # fmt: skip
