"""What says that code knows which release it runs on, and what is MLflow by its path."""

from __future__ import annotations

import ast
import re
from collections.abc import Container

from liftlock.scan.python.scopes import children

_MISSING = frozenset({"ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException"})
_VERSION = re.compile(r"mlflow.*version|version.*mlflow|_MLFLOW\w*\d|MLFLOW_VERSION|is_mlflow|IS_MLFLOW", re.DOTALL)
_HAS = re.compile(r"\bhasattr\((?P<owner>.*?), *['\"](?P<name>\w+)['\"]\)")


def is_mlflow(path: str) -> bool:
    """Whether a module path is one of MLflow."""
    return path == "mlflow" or path.startswith("mlflow.")


def asks(text: str, names: Container[str]) -> bool:
    """Whether the source of a condition or decorator asks for MLflow's version, or for one of `names` in something."""
    if _VERSION.search(text) is not None:
        return True
    return any("mlflow" in found["owner"] or found["name"] in names for found in _HAS.finditer(text))


def may_guard(test: ast.expr) -> bool:
    """Whether a condition is worth being looked at whole."""
    todo: list[ast.AST] = [test]
    while todo:
        each = todo.pop()
        word = each.id if isinstance(each, ast.Name) else each.attr if isinstance(each, ast.Attribute) else ""
        if word == "hasattr" or "version" in word.lower():
            return True
        todo += children(each)
    return False


def catches(handler: ast.ExceptHandler) -> bool:
    """Whether a handler is for a name or module that is missing."""
    if handler.type is None:
        return True
    names = {each.id for each in ast.walk(handler.type) if isinstance(each, ast.Name)}
    names |= {each.attr for each in ast.walk(handler.type) if isinstance(each, ast.Attribute)}
    return bool(names & _MISSING)


def imports_mlflow(body: list[ast.stmt]) -> bool:
    """Whether a `try:` imports something of MLflow."""
    return any(
        (isinstance(each, ast.ImportFrom) and is_mlflow(each.module or ""))
        or (isinstance(each, ast.Import) and any(is_mlflow(alias.name) for alias in each.names))
        for each in body
    )  # fmt: skip


def is_route(node: ast.expr) -> bool:
    """Whether a decorator makes a function answer a path: the path is its own."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in (
        "route", "get", "post", "put", "patch", "delete", "api_route", "head", "websocket",
    )  # fmt: skip


def leaves(body: list[ast.stmt]) -> bool:
    """Whether a block ends what it stands in, so that what follows is its `else`."""
    return isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
