"""Terraform: variables, locals, images, and the `set` blocks of Helm releases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin, Syntax

_VARIABLE = re.compile(rf'\bvariable\s+"(?:{tokens.VARIABLE})"\s*\{{', re.IGNORECASE)
_DEFAULT = re.compile(rf'\bdefault\s*=\s*"(?P<version>{tokens.TAG})"')
_HELM = re.compile(r'\bresource\s+"helm_release"\s+"[^"]*mlflow[^"]*"\s*\{', re.IGNORECASE)
_SET = re.compile(
    rf'\bname\s*=\s*"(?:[\w-]+\.)*(?:image\.)?tag"\s*,?\s*value\s*=\s*"(?P<version>{tokens.TAG})"'
    rf'|\btag\s*[=:]\s*"?(?P<plain>{tokens.TAG})(?!\w|\.\w)'
)


class Terraform:
    """`*.tf`, `*.tfvars` and Terragrunt's `*.hcl`."""

    name = "terraform"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By suffix."""
        del head
        return path.suffix in (".tf", ".tfvars", ".hcl", ".tofu")

    def find(self, text: str) -> list[Pin]:
        """Defaults of variables, `mlflow_version = "2.9.2"`, images, and tags set on a release of MLflow's chart."""
        bare = tokens.without_comments(text, ("#", "//"))
        bare = re.sub(r"/\*.*?\*/", lambda found: re.sub(r"[^\r\n]", " ", found[0]), bare, flags=re.DOTALL)
        found = [
            *_inside(bare, _VARIABLE, _DEFAULT, "variable"),
            *_inside(bare, _HELM, _SET, "image"),
            *tokens.anything_in(bare),
        ]
        return tokens.without_overlaps(found)


def _inside(text: str, block: re.Pattern[str], value: re.Pattern[str], what: str) -> Iterator[Pin]:
    for opening in block.finditer(text):
        end = _end(text, opening.end())
        for found in value.finditer(text, opening.end(), end):
            group = found.lastgroup or "version"
            yield Pin(*found.span(group), found[group], "mlflow", Syntax.VERSION, what)


def _end(text: str, start: int) -> int:
    depth = 1
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return start + brace.start()
    return len(text)
