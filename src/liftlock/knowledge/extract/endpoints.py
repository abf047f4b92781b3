"""What the server answers: endpoints of descriptors that have a handler, and routes added by hand.

Paths are written without a static prefix, their placeholders as `{name}`. The value says who serves it: `rpc
MESSAGE(TAKES) -> GIVES` (declared in a proto and handled; the fields of the request and of the answer, not of what is
inside them), `table` (a hand-written row of `get_endpoints()`), `flask` (`@app.route`),
`fastapi` (a router), `auth` (only with the basic-auth app). A descriptor without a handler is not served and left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from liftlock.knowledge.extract import descriptors
from liftlock.knowledge.extract.facts import Fact, Section
from liftlock.knowledge.extract.source import Called, Defined, Import, Module, Program, statements

_HANDLERS = "mlflow.server.handlers"
_APP = "mlflow.server"
_AUTH = "mlflow.server.auth"
_VERBS = frozenset({"get", "post", "put", "patch", "delete", "head", "options"})
_PLACEHOLDER = re.compile(r"<(?:[a-z]+:)?(\w+)>|\{[\w]+\.(\w+)\}|\{(\w+)(?::\w+)?\}")
# Flask serves HEAD and OPTIONS by itself; they are not listed.


def endpoints(program: Program) -> Section:
    """`VERB /path` -> who serves it."""
    found: Section = {}
    for verb, path, value, source in (
        *_declared(program), *_table(program), *_flask(program, _APP), *_routers(program), *_flask(program, _AUTH),
    ):  # fmt: skip
        found.setdefault(f"{verb} {normal(path)}", Fact(value, source))
    return found


def normal(path: str) -> str:
    """A path with `{name}` placeholders, however Flask, FastAPI or a proto writes them."""
    return _PLACEHOLDER.sub(lambda match: "{" + next(filter(None, match.groups())) + "}", path)


_Row = tuple[str, str, str, str]


def _declared(program: Program) -> Iterator[_Row]:
    handlers = program.module(_HANDLERS)
    table = handlers.bindings.get("HANDLERS") if handlers is not None else None
    if handlers is None or not isinstance(table, ast.Dict):
        return
    handled = {key.id for key in table.keys if isinstance(key, ast.Name)}
    served = _services(handlers)
    prefixes = _versioned(handlers)
    for name in program.archive.names:
        if not name.startswith("mlflow/protos/") or not name.endswith("_pb2.py"):
            continue
        for entry in descriptors.endpoints(program.archive.read(name)):
            if entry.service not in served or entry.request not in handled:
                continue
            major = entry.major if prefixes else 2
            for prefix in (f"/api/{major}.0", f"/ajax-api/{major}.0"):
                yield entry.verb, prefix + entry.path, _value(entry), name


def _value(entry: descriptors.Endpoint) -> str:
    gives = f" -> {', '.join(entry.gives)}" if entry.gives else ""
    return f"rpc {entry.service}.{entry.request}({', '.join(entry.takes)}){gives}"


def _services(handlers: Module) -> set[str]:
    """The services whose endpoints are registered: those named inside `get_endpoints`."""
    node = handlers.bindings.get("get_endpoints")
    assert isinstance(node, ast.FunctionDef)
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id.endswith("Service")}


def _versioned(handlers: Module) -> bool:
    """Whether paths carry the version a proto declares (3.0 on); before, all were `2.0`."""
    node = handlers.bindings.get("_get_paths")
    return isinstance(node, ast.FunctionDef) and any(argument.arg == "version" for argument in node.args.args)


def _table(program: Program) -> Iterator[_Row]:
    handlers = program.module(_HANDLERS)
    node = handlers.bindings.get("get_endpoints") if handlers is not None else None
    if handlers is None or not isinstance(node, ast.FunctionDef):
        return
    rows = program.inline(Defined(_HANDLERS, node), (), {})
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, tuple) and len(row) == 3 and isinstance(row[0], str):
            for verb in _verbs(row[2]):
                yield verb, row[0], "table", handlers.file


def _verbs(value: Any) -> tuple[str, ...]:
    return tuple(verb for verb in value if isinstance(verb, str)) if isinstance(value, list | tuple) else ("GET",)


def _flask(program: Program, name: str) -> Iterator[_Row]:
    """`@app.route(...)` of module level and `app.add_url_rule(...)` anywhere, loops over known tables unrolled."""
    module = program.module(name)
    if module is None:
        return
    kind = "auth" if name == _AUTH else "flask"
    for node in statements(module.tree.body):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "app.route":
                    yield from _rule(program, module, decorator, {}, kind)
            yield from _rules(program, module, node.body, {}, kind)


def _rules(
    program: Program, module: Module, body: Iterable[ast.stmt], env: dict[str, Any], kind: str
) -> Iterator[_Row]:
    for node in body:
        if isinstance(node, ast.For):
            source = program.evaluate(node.iter, module.name, env)
            for bound in program.bind(node.target, source if isinstance(source, list | tuple) else ()):
                yield from _rules(program, module, node.body, {**env, **bound}, kind)
        elif isinstance(node, ast.If):
            yield from _rules(program, module, [*node.body, *node.orelse], env, kind)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if isinstance(call.func, ast.Attribute) and call.func.attr == "add_url_rule":
                yield from _rule(program, module, call, env, kind)


def _rule(program: Program, module: Module, call: ast.Call, env: dict[str, Any], kind: str) -> Iterator[_Row]:
    keywords = {entry.arg: entry.value for entry in call.keywords}
    first = call.args[0] if call.args else keywords.get("rule")
    path = program.evaluate(first, module.name, env) if first is not None else None
    methods = keywords.get("methods")
    if not isinstance(path, str):
        return
    for verb in _verbs(program.evaluate(methods, module.name, env) if methods is not None else None):
        yield verb, path, kind, module.file


def _routers(program: Program) -> Iterator[_Row]:
    """Routes of the FastAPI routers that the server's application includes, with their prefixes."""
    app = program.module(f"{_APP}.fastapi_app")
    if app is None:
        return
    for prefix, router in _included(program, app):
        owner = program.module(router.module)
        if owner is None:
            continue
        made = program.lookup(router.module, router.name)
        own = made.keywords.get("prefix", "") if isinstance(made, Called) else ""
        base = prefix + (own if isinstance(own, str) else "")
        for node in statements(owner.tree.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    yield from _routed(program, owner, router.name, base, decorator)


def _routed(program: Program, owner: Module, router: str, base: str, decorator: ast.expr) -> Iterator[_Row]:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return
    verb = decorator.func.attr
    if verb not in _VERBS or ast.unparse(decorator.func.value) != router or not decorator.args:
        return
    path = program.evaluate(decorator.args[0], owner.name)
    if isinstance(path, str):
        yield verb.upper(), base + path, "fastapi", owner.file


class _Router:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


def _included(program: Program, app: Module) -> Iterator[tuple[str, _Router]]:
    for function in ast.walk(app.tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        yield from _includes(program, app, function.body, {})


def _includes(
    program: Program, app: Module, body: Iterable[ast.stmt], env: dict[str, Any]
) -> Iterator[tuple[str, _Router]]:
    for node in body:
        if isinstance(node, ast.For):
            source = program.evaluate(node.iter, app.name, env)
            for bound in program.bind(node.target, source if isinstance(source, list | tuple) else ()):
                yield from _includes(program, app, node.body, {**env, **bound})
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from _includes(program, app, node.body, env)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if isinstance(call.func, ast.Attribute) and call.func.attr == "include_router" and call.args:
                keyword = next((entry.value for entry in call.keywords if entry.arg == "prefix"), None)
                prefix = program.evaluate(keyword, app.name, env) if keyword is not None else ""
                where = _binding(app, call.args[0])
                if where is not None:
                    yield prefix if isinstance(prefix, str) else "", _Router(*where)


def _binding(app: Module, node: ast.expr) -> tuple[str, str] | None:

    bound = app.bindings.get(node.id) if isinstance(node, ast.Name) else None
    if isinstance(bound, Import) and bound.name is not None:
        return bound.module, bound.name
    return (app.name, node.id) if isinstance(node, ast.Name) and bound is not None else None
