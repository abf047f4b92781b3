"""All uses of MLflow in one module: names, calls, and strings that are commands, endpoints or variables."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from liftlock.scan.hits import Hit, Tools
from liftlock.scan.python.calls import Calls
from liftlock.scan.python.context import Context
from liftlock.scan.python.guards import asks, catches, imports_mlflow, is_route, leaves, may_guard
from liftlock.scan.python.infer import Inference
from liftlock.scan.python.names import Names
from liftlock.scan.python.scopes import Function, Module, Scope, children
from liftlock.scan.python.strings import Strings


class Uses:
    """The visitor of one module."""

    def __init__(self, module: Module, text: str, inference: Inference, tools: Tools) -> None:
        self._module = module
        self._context = Context(module, text, inference, tools)
        self._strings = Strings(tools, self._context.place, text)
        self._names = Names(self._context)
        self._calls = Calls(self._context, self._names, self._strings)
        self._guards = self._context.guards
        self._looks: dict[type, Callable[[Any, Scope], bool]] = {
            ast.FunctionDef: self._function, ast.AsyncFunctionDef: self._function, ast.ClassDef: self._function,
            ast.Import: self._import, ast.ImportFrom: self._import, ast.If: self._condition,
            ast.IfExp: self._condition, ast.While: self._condition, ast.Try: self._try, ast.Expr: self._expression,
            ast.Attribute: self._attribute, ast.Name: self._name, ast.Call: self._call, ast.Constant: self._constant,
            ast.JoinedStr: self._text, ast.List: self._list, ast.Tuple: self._list, ast.Dict: self._mapping,
            ast.Subscript: self._subscript, ast.Assign: self._assignment, ast.BinOp: self._addition,
        }  # fmt: skip

    def run(self) -> list[Hit]:
        """Visit everything."""
        self._visit_body(self._module.tree.body, self._module.scope)
        return sorted(self._context.hits, key=lambda hit: (hit.start, hit.end, hit.judgement.code))

    # -- Walking ------------------------------------------------------------------------------------------------------

    def _visit_body(self, body: list[ast.stmt], scope: Scope) -> None:
        asked = 0
        for node in body:
            self._visit(node, scope)
            if (
                isinstance(node, ast.If)
                and leaves(node.body)
                and may_guard(node.test)
                and self._asks(ast.unparse(node.test))
            ):
                self._guards.append("left before")  # what follows is for the other releases
                asked += 1
        del self._guards[len(self._guards) - asked :]

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        look = self._looks.get(node.__class__)
        if look is not None and look(node, scope):
            return
        for child in children(node):
            self._visit(child, scope)

    # Each looks at one kind of node; True when what is below it has been looked at too.

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> bool:
        del scope
        self._names.imported(node)
        return True

    def _attribute(self, node: ast.Attribute, scope: Scope) -> bool:
        self._names.attribute(node, scope)
        return False

    def _name(self, node: ast.Name, scope: Scope) -> bool:
        self._names.name(node, scope)
        return True

    def _call(self, node: ast.Call, scope: Scope) -> bool:
        self._calls.call(node, scope)
        return False

    def _expression(self, node: ast.Expr, scope: Scope) -> bool:
        del scope
        if isinstance(node.value, ast.Call):
            self._context.discarded.add(id(node.value))
        return isinstance(node.value, ast.Constant)  # a docstring

    def _constant(self, node: ast.Constant, scope: Scope) -> bool:
        del scope
        if isinstance(node.value, str):
            self._context.add(self._strings.constant(node))
        return True

    def _text(self, node: ast.JoinedStr, scope: Scope) -> bool:
        del scope
        self._context.add(self._strings.joined(node))
        return False

    def _list(self, node: ast.List | ast.Tuple, scope: Scope) -> bool:
        del scope
        self._context.add(self._strings.listed(node))
        return False

    def _mapping(self, node: ast.Dict, scope: Scope) -> bool:
        del scope
        self._context.add(self._strings.mapping(node))
        return False

    def _addition(self, node: ast.BinOp, scope: Scope) -> bool:
        del scope
        self._context.add(self._strings.added(node))
        return False

    def _subscript(self, node: ast.Subscript, scope: Scope) -> bool:
        del scope
        owner = node.value
        if isinstance(owner, ast.Attribute | ast.Name) and _last(owner) == "environ":
            self._context.add(self._strings.subscript(node))
        elif isinstance(owner, ast.Call) and isinstance(node.slice, ast.Constant) and node.slice.value == 0:
            self._context.firsts[id(owner)] = node
        return False

    def _assignment(self, node: ast.Assign, scope: Scope) -> bool:
        del scope
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            owner = target.value
            if isinstance(owner, ast.Attribute | ast.Name) and _last(owner) == "environ":
                self._context.add(self._strings.variable(str(target.slice.value), node.value))
        return False

    def _try(self, node: ast.Try, scope: Scope) -> bool:
        caught = any(catches(handler) for handler in node.handlers)
        self._guards.append("try" if caught else "")
        self._visit_body(node.body, scope)
        self._guards.pop()
        # What stands in a handler of a missing name is the way for the other releases.
        self._guards.append("handler" if caught and imports_mlflow(node.body) else "")
        for handler in node.handlers:
            self._visit_body(handler.body, scope)
        self._guards.pop()
        self._visit_body([*node.orelse, *node.finalbody], scope)
        return True

    def _function(self, node: Function | ast.ClassDef, scope: Scope) -> bool:
        self._definition(node, scope)
        return True

    def _condition(self, node: ast.If | ast.IfExp | ast.While, scope: Scope) -> bool:
        self._guarded(node, scope, ast.unparse(node.test) if may_guard(node.test) else "")
        return True

    def _asks(self, text: str) -> bool:
        return asks(text, self._context.judge.history.by_last)

    def _definition(self, node: Function | ast.ClassDef, scope: Scope) -> None:
        inner = self._module.scopes[id(node)]
        for decorator in node.decorator_list:
            skip = self._strings.skip
            self._strings.skip = is_route(decorator)
            self._visit(decorator, scope)
            self._strings.skip = skip
        if isinstance(node, ast.ClassDef):
            for each in (*node.bases, *node.keywords):
                self._visit(each, scope)
        else:
            self._visit(node.args, scope)
            if node.returns is not None:
                self._visit(node.returns, scope)
            if self._asks(" ".join(ast.unparse(each) for each in node.decorator_list)):
                self._guards.append("decorated for some releases")
                self._visit_body(node.body, inner)
                self._guards.pop()
                return
        self._visit_body(node.body, inner)

    def _guarded(self, node: ast.If | ast.IfExp | ast.While, scope: Scope, test: str) -> None:
        self._visit(node.test, scope)
        guard = f"if {test}" if self._asks(test) else ""
        self._guards.append(guard)
        for part in (node.body, node.orelse):
            if isinstance(part, list):
                self._visit_body(part, scope)
            else:
                self._visit(part, scope)
        self._guards.pop()


def _last(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id
