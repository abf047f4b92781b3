"""Environment variables: declared objects with their defaults, and names that only appear as texts."""

from __future__ import annotations

import ast
import re

from liftlock.knowledge.extract.facts import Fact, Section, shortened
from liftlock.knowledge.extract.source import Program

_LONG = 80
DECLARED = "mlflow.environment_variables"
NAME = re.compile(r"_?MLFLOW_[A-Z][A-Z0-9_]*[A-Z0-9]")


def declared(program: Program) -> Section:
    """`NAME` -> `type = default` of every `_EnvironmentVariable("NAME", type, default)` (from 1.28 on)."""
    module = program.module(DECLARED)
    found: Section = {}
    for node in module.tree.body if module is not None else ():
        call = getattr(node, "value", None)
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
            continue
        if not call.func.id.endswith("EnvironmentVariable"):
            continue
        name = program.evaluate(call.args[0], DECLARED)
        if isinstance(name, str):
            assert module is not None
            given = [ast.unparse(argument) for argument in call.args[1:]]
            given += [ast.unparse(entry.value) for entry in call.keywords]
            if call.func.id.startswith("_Boolean"):
                given.insert(0, "bool")
            found[name] = Fact(" = ".join(shortened(text, _LONG, _LONG) for text in given), module.file)
    return found
