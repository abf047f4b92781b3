"""All uses of MLflow in one module: names, calls, and strings that are commands, endpoints or variables."""

from __future__ import annotations

import ast

from liftlock.scan.hits import Hit, Tools
from liftlock.scan.python.calls import Calls
from liftlock.scan.python.context import Context
from liftlock.scan.python.guards import asks, catches, imports_mlflow, is_route, may_guard
from liftlock.scan.python.infer import Inference
from liftlock.scan.python.names import Names
from liftlock.scan.python.scopes import Function, Module, Scope, children
from liftlock.scan.python.strings import Strings

_NOTABLE = frozenset({
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.If, ast.IfExp, ast.While,
    ast.Try, ast.Expr, ast.Attribute, ast.Name, ast.Call, ast.Constant, ast.JoinedStr, ast.List, ast.Tuple,
    ast.Subscript, ast.Dict, ast.Assign,
})  # fmt: skip


class Uses:
    """The visitor of one module."""

    def __init__(self, module: Module, text: str, inference: Inference, tools: Tools) -> None:
        self._module = module
        self._context = Context(module, text, inference, tools)
        self._strings = Strings(tools, self._context.place, text)
        self._names = Names(self._context)
        self._calls = Calls(self._context, self._names, self._strings)
        self._guards = self._context.guards

    def run(self) -> list[Hit]:
        """Visit everything."""
        self._visit_body(self._module.tree.body, self._module.scope)
        return sorted(self._context.hits, key=lambda hit: (hit.start, hit.end, hit.judgement.code))

    # -- Walking ------------------------------------------------------------------------------------------------------

    def _visit_body(self, body: list[ast.stmt], scope: Scope) -> None:
        for node in body:
            self._visit(node, scope)

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        if node.__class__ in _NOTABLE and self._noted(node, scope):
            return
        for child in children(node):
            self._visit(child, scope)

    def _noted(self, node: ast.AST, scope: Scope) -> bool:
        """Look at one node; True when what is below it has been looked at too."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._definition(node, scope)
                return True
            case ast.Import() | ast.ImportFrom():
                self._names.imported(node)
                return True
            case ast.If() | ast.IfExp() | ast.While():
                self._guarded(node, scope, ast.unparse(node.test) if may_guard(node.test) else "")
                return True
            case ast.Try():
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
            case ast.Expr(value=ast.Constant()):
                return True  # a docstring
            case ast.Expr(value=ast.Call()):
                self._context.discarded.add(id(node.value))
            case ast.Dict():
                self._context.add(self._strings.mapping(node))
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=str() as key)) as target]):
                if "environ" in ast.unparse(target.value):
                    self._context.add(self._strings.variable(key, node.value))
            case ast.Attribute():
                self._names.attribute(node, scope)
            case ast.Name():
                self._names.name(node, scope)
            case ast.Call():
                self._calls.call(node, scope)
            case ast.Subscript(value=ast.Attribute(attr="environ") | ast.Name(id="environ")):
                self._context.add(self._strings.subscript(node))
            case ast.Subscript(value=ast.Call(), slice=ast.Constant(value=0)):
                self._context.firsts[id(node.value)] = node
            case ast.Constant(value=str()):
                self._context.add(self._strings.constant(node))
                return True
            case ast.JoinedStr():
                self._context.add(self._strings.joined(node))
            case ast.List() | ast.Tuple():
                self._context.add(self._strings.listed(node))
        return False

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
            if asks(" ".join(ast.unparse(each) for each in node.decorator_list)):
                self._guards.append("decorated for some releases")
                self._visit_body(node.body, inner)
                self._guards.pop()
                return
        self._visit_body(node.body, inner)

    def _guarded(self, node: ast.If | ast.IfExp | ast.While, scope: Scope, test: str) -> None:
        self._visit(node.test, scope)
        guard = f"if {test}" if asks(test) else ""
        self._guards.append(guard)
        for part in (node.body, node.orelse):
            if isinstance(part, list):
                self._visit_body(part, scope)
            else:
                self._visit(part, scope)
        self._guards.pop()
