"""What expressions say: strings with holes, and the expressions inside one, names followed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from liftlock.scan.python.scopes import Binding, Function, Scope, called, children, returns
from liftlock.scan.python.values import Local

if TYPE_CHECKING:
    from liftlock.scan.python.infer import Inference

_DEEP = 4
_MOST = 12  # alternatives of one expression
# Objects of pathlib that pytest hands to tests.
_PATHS = frozenset({"tmp_path", "tmpdir"})
_SAME = frozenset({"str", "Path", "PosixPath", "PurePath", "abspath", "realpath", "fspath"})
# Functions whose last argument is a fallback.
_DEFAULTED = frozenset({"get", "getenv", "getattr", "pop", "setdefault", "env", "config"})
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
    """Reads expressions of one scope; with an inference also what other modules and objects of the tree hold."""

    def __init__(self, scope: Scope, infer: Inference | None = None) -> None:
        self._scope, self._infer = scope, infer

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
        """All strings an expression may stand for: names bound several times, defaults, either side of `or`."""
        found: list[str] = []
        for each, scope in islice(self._alternatives(node, 0), _MOST):
            text = Reading(scope, self._infer).text(each)
            if text and text not in found:
                found.append(text)
        return found

    def _alternatives(self, node: ast.expr, depth: int) -> Iterator[tuple[ast.expr, Scope]]:
        """The expressions one may stand for, each with the scope it stands in."""
        inner: list[tuple[ast.expr | None, Scope]] = []
        if isinstance(node, ast.Name):
            inner = self._named(node.id)
        elif isinstance(node, ast.Attribute):
            inner = self._held(node)
        elif isinstance(node, ast.BoolOp):
            inner = [(each, self._scope) for each in node.values]
        elif isinstance(node, ast.IfExp):
            inner = [(node.body, self._scope), (node.orelse, self._scope)]
        elif isinstance(node, ast.Call) and called(node) in _DEFAULTED and (fallback := _fallback(node)) is not None:
            inner = [(fallback, self._scope)]
        elif isinstance(node, ast.Call):
            inner = self._returned(node)
        found = [(each, scope) for each, scope in inner if each is not None and each is not node]
        if not found or depth > _DEEP:
            yield node, self._scope
        for each, scope in found[:_MOST] if depth <= _DEEP else ():
            yield from Reading(scope, self._infer)._alternatives(each, depth + 1)

    def _named(self, name: str) -> list[tuple[ast.expr | None, Scope]]:
        scope: Scope | None = self._scope
        while scope is not None and name not in scope.bindings:
            scope = scope.parent
        if scope is None:
            return []
        return [each for binding in scope.bindings[name] for each in self._given(binding, scope)]

    def _given(self, binding: Binding, scope: Scope) -> list[tuple[ast.expr | None, Scope]]:
        node = binding.node
        if binding.how == "value" and binding.index < 0 and isinstance(node, ast.expr):
            return [(node, scope)]
        if binding.how == "parameter" and isinstance(node, ast.arg) and isinstance(scope.node, Function):
            return [(_default(scope.node, node.arg), scope.parent or scope)]
        if binding.how == "import" and self._infer is not None:
            module, _, name = binding.path.partition(":")
            other = self._infer.module(module, scope) if name else None
            if other is not None and name in other.bindings:
                return Reading(other, self._infer)._named(name)
        return []

    def _returned(self, node: ast.Call) -> list[tuple[ast.expr | None, Scope]]:
        """What a function of the tree gives back."""
        found: list[tuple[ast.expr | None, Scope]] = []
        for each in self._infer.values(node.func, self._scope) if self._infer is not None else ():
            if isinstance(each, Local) and each.kind == "function" and isinstance(each.scope.node, Function):
                found += [(value, each.scope) for value, yielded in returns(each.scope.node) if not yielded]
        return found

    def _held(self, node: ast.Attribute) -> list[tuple[ast.expr | None, Scope]]:
        """What the tree puts into an attribute of its own modules, classes and objects."""
        found: list[tuple[ast.expr | None, Scope]] = []
        for owner in self._infer.values(node.value, self._scope) if self._infer is not None else ():
            if isinstance(owner, Local) and owner.kind in ("module", "class", "object"):
                for binding in owner.scope.bindings.get(node.attr, ()):
                    found += self._given(binding, owner.scope)
                found += [(value, at) for value, at, how in owner.scope.attributes.get(node.attr, ()) if how == "value"]
        return found

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


def _fallback(node: ast.Call) -> ast.expr | None:
    """What `getenv("X", fallback)` or `config("X", default=fallback)` gives when nothing else is there."""
    named = next((each.value for each in node.keywords if each.arg == "default"), None)
    return named or (node.args[-1] if len(node.args) > 1 else None)


def _default(function: Function, name: str) -> ast.expr | None:
    """The default of a parameter."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    pairs = list(zip(reversed(plain), reversed(arguments.defaults), strict=False))
    pairs += [(each, value) for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    return next((value for each, value in pairs if each.arg == name), None)
