"""The names of a Python module: which scope binds them, where, and to what expression."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Binding:
    """One place that binds a name. `how` is import, value, annotation, element, enter, function, class, parameter, or
    rest (`*given`, `**given`).

    `certain`: it stands in no branch, so it ends what an earlier binding in the same scope said.
    """

    line: int
    how: str
    node: ast.AST | None
    certain: bool
    path: str = ""
    index: int = -1


@dataclass
class Scope:
    """A module, class or function body."""

    kind: str
    node: ast.AST | None
    parent: Scope | None
    module: Module
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    attributes: dict[str, list[tuple[ast.expr, Scope, str]]] = field(default_factory=dict)  # of a class: self.x = ...
    keys: dict[str, list[ast.Constant]] = field(default_factory=dict)  # of x["key"] = ...
    stated: set[str] = field(default_factory=set)  # global and nonlocal names

    def bind(self, name: str, binding: Binding) -> None:
        """Add a binding."""
        target = self
        if name in self.stated:
            while target.parent is not None and target.kind != "module":
                target = target.parent
        target.bindings.setdefault(name, []).append(binding)


@dataclass
class Module:
    """One parsed file."""

    path: str
    name: str
    is_package: bool
    tree: ast.Module
    scope: Scope = field(init=False)
    scopes: dict[int, Scope] = field(default_factory=dict)
    calls: dict[str, list[tuple[ast.Call, Scope]]] = field(default_factory=dict)  # by the last name called
    called: dict[int, ast.Call] = field(default_factory=dict)  # by what is called
    names: dict[str, list[ast.Name]] = field(default_factory=dict)
    fixtures: dict[str, tuple[Function, Scope]] = field(default_factory=dict)
    runs: tuple[str, ...] = ()  # notebooks it runs in its own scope
    mentions: bool = True

    def __post_init__(self) -> None:
        self.scope = Scope("module", self.tree, None, self)
        _Builder(self).body(self.tree.body, self.scope, 0)


class _Builder:
    def __init__(self, module: Module) -> None:
        self._module = module

    def body(self, body: list[ast.stmt], scope: Scope, depth: int) -> None:
        for node in body:
            self._statement(node, scope, depth)

    def _statement(self, node: ast.stmt, scope: Scope, depth: int) -> None:
        certain = depth == 0
        if isinstance(node, Function | ast.ClassDef):
            self._definition(node, scope, certain)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                path = alias.name if alias.asname else name
                scope.bind(name, Binding(node.lineno, "import", alias, certain, path))
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                path = f"{base}:{alias.name}"
                scope.bind(alias.asname or alias.name, Binding(node.lineno, "import", alias, certain, path))
        elif isinstance(node, ast.Global | ast.Nonlocal):
            scope.stated.update(node.names)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._target(target, node.value, "value", scope, certain)
        elif isinstance(node, ast.AnnAssign):
            self._target(node.target, node.annotation, "annotation", scope, certain)
            if node.value is not None:
                self._target(node.target, node.value, "value", scope, False)
        elif isinstance(node, ast.AugAssign):
            self._target(node.target, None, "value", scope, False)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._target(node.target, node.iter, "element", scope, certain)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                if item.optional_vars is not None:
                    self._target(item.optional_vars, item.context_expr, "enter", scope, certain)
        for name in node._fields:
            value = getattr(node, name)
            if name in ("body", "orelse", "finalbody") and isinstance(value, list):
                deeper = 0 if isinstance(node, ast.With | ast.AsyncWith) else 1
                self.body(value, scope, depth + deeper)
            elif name == "handlers":
                for handler in value:
                    if handler.type is not None:
                        self._expression(handler.type, scope)
                    self.body(handler.body, scope, depth + 1)
            elif name == "cases":
                for case in value:
                    self.body(case.body, scope, depth + 1)
            elif name == "items":
                for item in value:
                    self._expression(item.context_expr, scope)
            elif isinstance(value, ast.expr):
                self._expression(value, scope)

    def _definition(self, node: Function | ast.ClassDef, scope: Scope, certain: bool) -> None:
        inner = Scope("class" if isinstance(node, ast.ClassDef) else "function", node, scope, self._module)
        self._module.scopes[id(node)] = inner
        how = "class" if isinstance(node, ast.ClassDef) else "function"
        scope.bind(node.name, Binding(node.lineno, how, node, certain))
        for decorator in node.decorator_list:
            self._expression(decorator, scope)
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                self._expression(base, scope)
        else:
            given = node.args
            for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
                inner.bind(argument.arg, Binding(node.lineno, "parameter", argument, True))
            for rest in (given.vararg, given.kwarg):
                if rest is not None:
                    inner.bind(rest.arg, Binding(node.lineno, "rest", rest, True))
            for default in (*given.defaults, *given.kw_defaults):
                if default is not None:
                    self._expression(default, scope)
            if any("fixture" in ast.unparse(each) for each in node.decorator_list):
                self._module.fixtures[node.name] = (node, inner)
        self.body(node.body, inner, 0)

    def _expression(self, node: ast.expr, scope: Scope) -> None:
        """Bindings inside an expression (comprehensions, `:=`, lambdas), and calls by name."""
        todo: list[ast.AST] = [node]
        while todo:
            current = todo.pop()
            if isinstance(current, ast.comprehension):
                self._target(current.target, current.iter, "element", scope, False)
            elif isinstance(current, ast.NamedExpr):
                self._target(current.target, current.value, "value", scope, False)
            elif isinstance(current, ast.Name):
                self._module.names.setdefault(current.id, []).append(current)
                continue
            elif isinstance(current, ast.Call):
                self._module.called[id(current.func)] = current
                name = called(current)
                if name:
                    self._module.calls.setdefault(name, []).append((current, scope))
            elif isinstance(current, ast.Constant):
                continue
            todo += children(current)

    def _target(
        self, target: ast.expr, value: ast.expr | None, how: str, scope: Scope, certain: bool, index: int = -1
    ) -> None:
        line = target.lineno
        if isinstance(target, ast.Name):
            scope.bind(target.id, Binding(line, how, value, certain, index=index))
        elif isinstance(target, ast.Tuple | ast.List):
            matching = value.elts if isinstance(value, ast.Tuple | ast.List) and how == "value" else []
            for place, each in enumerate(target.elts):
                if len(matching) == len(target.elts):
                    self._target(each, matching[place], how, scope, certain)
                else:
                    self._target(each, value, how, scope, certain, place)
        elif isinstance(target, ast.Attribute) and value is not None and index < 0:
            owner = target.value
            holder = _class_of(scope) if isinstance(owner, ast.Name) and owner.id in ("self", "cls") else None
            if holder is not None:
                holder.attributes.setdefault(target.attr, []).append((value, scope, how))
            elif isinstance(owner, ast.Name | ast.Attribute):
                key = ast.unparse(target)
                self._module.scope.attributes.setdefault(key, []).append((value, scope, how))
        elif isinstance(target, ast.Subscript):
            if isinstance(target.value, ast.Name) and isinstance(target.slice, ast.Constant):
                scope.keys.setdefault(target.value.id, []).append(target.slice)
        elif isinstance(target, ast.Starred):
            self._target(target.value, None, how, scope, certain)


_NAMES_ONLY = frozenset({
    "ctx", "op", "ops", "id", "attr", "arg", "name", "asname", "module", "level", "names", "kind", "type_comment",
    "is_async", "conversion", "simple", "rest", "lineno", "kwd_attrs", "tag", "type_ignores",
})  # fmt: skip
_GAPS = frozenset({ast.Dict, ast.arguments})  # their lists may hold None
_FIELDS: dict[type, tuple[str, ...]] = {ast.Constant: (), ast.MatchSingleton: ()}


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes directly below one, without contexts and operators, which say nothing here."""
    kind = node.__class__
    fields = _FIELDS.get(kind)
    if fields is None:
        _FIELDS[kind] = fields = tuple(name for name in node._fields if name not in _NAMES_ONLY)
    found: list[Any] = []
    for name in fields:
        value = getattr(node, name)
        if value.__class__ is list:
            found += value
        elif value is not None:
            found.append(value)
    return [each for each in found if each is not None] if kind in _GAPS else found


def _class_of(scope: Scope) -> Scope | None:
    current: Scope | None = scope
    while current is not None:
        if current.kind == "class":
            return current
        current = current.parent
    return None


def called(node: ast.Call) -> str:
    """The last name of what is called: `f` of `a.b.f()`."""
    function = node.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def returns(node: Function) -> Iterator[tuple[ast.expr, bool]]:
    """The expressions a function returns (False) or yields (True), its inner functions left out."""
    todo: list[ast.AST] = list(node.body)
    while todo:
        current = todo.pop()
        if isinstance(current, ast.Return):
            if current.value is not None:
                yield current.value, False
        elif isinstance(current, ast.Expr | ast.Assign | ast.AnnAssign):
            if isinstance(current.value, ast.Yield) and current.value.value is not None:
                yield current.value.value, True
        elif isinstance(current, _BLOCKS):
            todo += [each for each in children(current) if isinstance(each, _INSIDE)]


_BLOCKS = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith, ast.ExceptHandler, ast.Match,
    ast.match_case,
)  # fmt: skip
_INSIDE = (ast.stmt, ast.ExceptHandler, ast.match_case)
