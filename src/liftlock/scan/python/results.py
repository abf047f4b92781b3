"""What calls give, and what is taken out of them: results, elements, contexts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from liftlock.scan.python import objects
from liftlock.scan.python.scopes import Function, Scope, called, returns
from liftlock.scan.python.values import Foreign, Local, Many, Name, Object, Value, Values, instance, typed

if TYPE_CHECKING:
    from liftlock.scan.python.infer import Inference

_IMPORTER = re.compile(r"import|lazy", re.IGNORECASE)  # import_module, LazyLoader, guard_import, ...
_MODULE = re.compile(r"mlflow(?:\.[a-z_]\w*)*")
_ELEMENTS = frozenset({"list", "sorted", "reversed", "tuple", "set", "iter", "cast", "filter"})
_MOST = 20  # elements of a dict
_FIRST = frozenset({"next", "max", "min", "copy", "deepcopy"})


class Results:
    """The part of an inference that follows calls."""

    def __init__(self, infer: Inference) -> None:
        self._infer = infer

    def call(self, node: ast.Call, scope: Scope) -> Iterable[Value]:
        """What a call gives: by the names of some builtins, or by what is called."""
        name = called(node)
        first = node.args[0] if node.args else None
        module = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        if _MODULE.fullmatch(module) and _IMPORTER.search(name):
            return (Name(module),)
        if name == "getattr" and len(node.args) >= 2:
            second = node.args[1]
            if isinstance(second, ast.Constant) and isinstance(second.value, str):
                owners = self._infer.values(node.args[0], scope)
                return [value for owner in owners for value in self._infer.member(owner, second.value)]
        if isinstance(node.func, ast.Name) and node.args and name in _ELEMENTS:
            return self._infer.values(node.args[1 if name in ("cast", "filter") and len(node.args) > 1 else 0], scope)
        if name in _FIRST and node.args:
            found = self._infer.values(node.args[0], scope)
            return [Object(each.path) if isinstance(each, Many) else each for each in found]
        if name == "partial" and node.args:
            return self._infer.values(node.args[0], scope)
        if name == "super" and isinstance(node.func, ast.Name):
            return self._super(scope)
        made: list[Value] = []
        for value in self._infer.values(node.func, scope):
            made += self._result(value, node)
        return made

    def _super(self, scope: Scope) -> Iterable[Value]:
        current: Scope | None = scope
        while current is not None and current.kind != "class":
            current = current.parent
        if current is None or not isinstance(current.node, ast.ClassDef):
            return ()
        found: list[Value] = []
        for base in current.node.bases:
            for value in self._infer.values(base, current.parent or current):
                found += instance(value)
        return found

    def _result(self, value: Value, node: ast.Call) -> Iterable[Value]:
        match value:
            case Name():
                path = objects.plain(value.path)
                if path.endswith(".search_runs") and path != f"{objects.CLIENT}.search_runs":
                    given = {each.arg: getattr(each.value, "value", None) for each in node.keywords}
                    listed = given.get("output_format") == "list"
                    return (Many(objects.RUN),) if listed else ()
                if known := objects.returned(path):
                    return typed(known)
                last = path.rpartition(".")[2]
                if last.lstrip("_")[:1].isupper():
                    return (Object(path),)
                return ()
            case Local(kind="class"):
                return (Local("object", value.scope),)
            case Local(kind="function"):
                assert isinstance(value.scope.node, Function)
                return self.returned(value.scope.node, value.scope)
            case Foreign():
                return (value,)
        return ()

    def returned(self, node: Function, scope: Scope) -> Values:
        """What a function of the tree returns, or yields when it manages a context."""
        if node.returns is not None:
            found = tuple(self._infer.annotated(node.returns, scope))
            decorators = " ".join(ast.unparse(each) for each in node.decorator_list)
            managed = "contextmanager" in decorators or "fixture" in decorators
            if found:
                return tuple(Object(each.path) if managed and isinstance(each, Many) else each for each in found)
        values: list[Value] = []
        for value, _ in returns(node):
            values += self._infer.values(value, scope)
        return tuple(values)

    def entered(self, found: Values) -> Iterable[Value]:
        """What `with` binds."""
        entered: list[Value] = []
        for each in found:
            if isinstance(each, Local) and each.kind == "object":
                inner = tuple(self._infer.class_member(each, "__enter__", 0))
                for method in inner:
                    if isinstance(method, Local) and method.kind == "function":
                        assert isinstance(method.scope.node, Function)
                        entered += self.returned(method.scope.node, method.scope)
            else:
                entered.append(each)
        return entered

    def elements(self, node: ast.expr, found: Values, index: int, scope: Scope) -> Iterable[Value]:
        """What a loop over it, or a place of it, gives."""
        if isinstance(node, ast.Call) and called(node) == "enumerate" and index == 1 and node.args:
            found, index = self._infer.values(node.args[0], scope), -1
        if isinstance(node, ast.Call) and called(node) == "zip" and 0 <= index < len(node.args):
            found, index = self._infer.values(node.args[index], scope), -1
        if index >= 0:
            return ()
        return [Object(each.path) for each in found if isinstance(each, Many)]

    def place(self, node: ast.expr, scope: Scope, index: int) -> Iterable[Value]:
        """One place of a tuple that a local function returns."""
        if not isinstance(node, ast.Call):
            return ()
        found: list[Value] = []
        for value in self._infer.values(node.func, scope):
            if isinstance(value, Local) and value.kind == "function" and isinstance(value.scope.node, Function):
                for returned, _ in returns(value.scope.node):
                    if isinstance(returned, ast.Tuple) and index < len(returned.elts):
                        found += self._infer.values(returned.elts[index], value.scope)
        return found

    def subscript(self, node: ast.Subscript, scope: Scope) -> Iterable[Value]:
        """What an element or a slice is."""
        found = self._infer.values(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            return found
        if not found and isinstance(node.value, ast.Name):
            return [each for value in _held(node, scope) for each in self._infer.values(value, scope)]
        return [Object(each.path) for each in found if isinstance(each, Many)]


def _held(node: ast.Subscript, scope: Scope) -> list[ast.expr]:
    """What an element of a dict may be whose name is bound once: the one of a literal key, or any."""
    assert isinstance(node.value, ast.Name)
    current: Scope | None = scope
    while current is not None and node.value.id not in current.bindings:
        current = current.parent
    bindings = current.bindings[node.value.id] if current is not None else []
    held = bindings[0].node if len(bindings) == 1 and bindings[0].how == "value" else None
    if not isinstance(held, ast.Dict):
        return []
    wanted = node.slice.value if isinstance(node.slice, ast.Constant) else None
    keys = [key.value if isinstance(key, ast.Constant) else None for key in held.keys]
    chosen = [value for key, value in zip(keys, held.values, strict=True) if wanted is None or key == wanted]
    return chosen[:_MOST]
