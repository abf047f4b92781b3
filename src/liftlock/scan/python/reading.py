"""What expressions say: strings with holes, and the expressions inside one, names followed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from liftlock.scan.python.scopes import Scope, called, children

_DEEP = 4
# Objects of pathlib that pytest hands to tests.
_PATHS = frozenset({"tmp_path", "tmpdir"})
_SAME = frozenset({"str", "Path", "PosixPath", "PurePath", "abspath", "realpath", "fspath"})
_OWN = frozenset({"absolute", "resolve", "as_posix", "expanduser", "__str__", "rstrip", "strip"})


def text_of(node: ast.expr) -> str | None:
    """A string, with NUL for what an f-string, `+`, `%` or `.format` puts in; None for what is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        if left is None and right is None:
            return None
        return f"{left if left is not None else chr(0)}{right if right is not None else chr(0)}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        left = text_of(node.left)
        return re.sub(r"%\(?\w*\)?[sdr]", "\0", left) if left is not None else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        left = text_of(node.func.value)
        return re.sub(r"\{[^{}]*\}", "\0", left) if left is not None else None
    return None


class Reading:
    """Reads expressions of one scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def bound(self, node: ast.expr) -> ast.expr:
        """What a name is bound to when that happens once; anything else as it is."""
        for _ in range(_DEEP):
            if not isinstance(node, ast.Name):
                return node
            scope: Scope | None = self._scope
            while scope is not None and node.id not in scope.bindings:
                scope = scope.parent
            bindings = scope.bindings[node.id] if scope is not None else []
            if len(bindings) != 1 or bindings[0].how != "value" or bindings[0].index >= 0:
                return node
            value = bindings[0].node
            if not isinstance(value, ast.expr):
                return node
            node = value
        return node

    def texts(self, node: ast.expr) -> list[str]:
        """All strings a name may stand for, its default as a parameter among them; one or none for anything else."""
        scope: Scope | None = self._scope
        while isinstance(node, ast.Name) and scope is not None and node.id not in scope.bindings:
            scope = scope.parent
        if not isinstance(node, ast.Name) or scope is None or len(scope.bindings[node.id]) == 1:
            nodes: list[ast.AST | None] = [node]
        else:
            nodes = [each.node for each in scope.bindings[node.id] if each.how == "value" and each.index < 0]
        found = [self.text(each) for each in nodes if isinstance(each, ast.expr)]
        return [each for each in found if each]

    def text(self, node: ast.expr) -> str | None:
        """A string or a path as text, NUL for what is not known; None for what is neither."""
        return self._text(node, 0)

    def _text(self, node: ast.expr, depth: int) -> str | None:
        node = self.bound(node)
        if depth > _DEEP:
            return None
        if isinstance(node, ast.Name):
            return "/\0" if node.id in _PATHS else None
        if isinstance(node, ast.JoinedStr):
            parts = [each.value if isinstance(each, ast.FormattedValue) else each for each in node.values]
            return "".join(self._piece(each, depth) for each in parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
            left, right = self._piece(node.left, depth), self._piece(node.right, depth)
            return f"{left}/{right}" if isinstance(node.op, ast.Div) else left + right
        if isinstance(node, ast.Call):
            return self._called(node, depth)
        return text_of(node)

    def _piece(self, node: ast.expr, depth: int) -> str:
        found = self._text(node, depth + 1)
        return "\0" if found is None else found

    def _called(self, node: ast.Call, depth: int) -> str | None:
        name = called(node)
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name == "join" and owner is not None and getattr(owner, "attr", getattr(owner, "id", "")) == "path":
            return "/".join(self._piece(each, depth) for each in node.args)
        if name == "as_uri" and owner is not None:
            return f"file://{self._piece(owner, depth)}"
        if name in _SAME and len(node.args) == 1:
            return self._text(node.args[0], depth + 1)
        if name in _OWN and owner is not None:
            return self._text(owner, depth + 1)
        return text_of(node)

    def inside(self, node: ast.expr) -> list[ast.expr]:
        """An expression and all below it, with what names in it are bound to."""
        return list(self._inside(node, 0))

    def _inside(self, node: ast.expr, depth: int) -> Iterator[ast.expr]:
        node = self.bound(node)
        todo: list[ast.AST] = [node]
        while todo:
            current = todo.pop()
            if isinstance(current, ast.expr):
                yield current
            if isinstance(current, ast.Name) and depth < _DEEP and (value := self.bound(current)) is not current:
                yield from self._inside(value, depth + 1)
            todo += children(current)
