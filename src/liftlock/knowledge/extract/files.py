"""What one Python file defines and imports, read without the others. Equal files of two releases are read once."""

from __future__ import annotations

import ast
from typing import NamedTuple

from liftlock.knowledge.extract.facts import shortened
from liftlock.knowledge.extract.source import Import, imports, parse, statements
from liftlock.knowledge.extract.variables import NAME

_LONG = 60
# Decorators that change neither what a caller may pass nor what a name means.
_PLAIN = frozenset({
    "staticmethod", "classmethod", "property", "abstractmethod", "abc.abstractmethod", "wraps", "functools.wraps",
    "contextmanager", "contextlib.contextmanager", "lru_cache", "functools.lru_cache", "cached_property", "overload",
    "format_docstring", "developer_stable", "override", "dataclass", "dataclasses.dataclass", "total_ordering",
    "docstring_version_compatibility_warning", "functools.total_ordering", "cache", "functools.cache",
})  # fmt: skip


class Symbol(NamedTuple):
    """One name of a module: `kind` is f (function), c (class), a (attribute) or i (import).

    `text` is the signature, the bases, the value or the imported path; `marks` are decorators that matter;
    `members` are a class's own names.
    """

    kind: str
    text: str
    marks: tuple[str, ...] = ()
    members: tuple[tuple[str, Symbol], ...] = ()


class FileFacts(NamedTuple):
    """The module-level names of a file, its `__all__` (None: it has none), stars imported, and variable names."""

    symbols: dict[str, Symbol]
    exported: tuple[str, ...] | None
    stars: tuple[str, ...]
    literals: tuple[str, ...]


def read(source: bytes, module: str, is_package: bool) -> FileFacts:
    """The facts of one file."""
    tree = parse(source)
    symbols: dict[str, Symbol] = {}
    exported: list[str] | None = None
    stars: list[str] = []
    for node in statements(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, bound in imports(node, module, is_package):
                if name == "*":
                    stars.append(bound.module)
                else:
                    symbols[name] = Symbol("i", _imported(bound))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            symbols[node.name] = _function(node)
        elif isinstance(node, ast.ClassDef):
            symbols[node.name] = _class(node)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if not isinstance(target, ast.Name):
                    continue
                if target.id == "__all__":
                    exported = [*(exported or [] if isinstance(node, ast.AugAssign) else []), *_texts(node.value)]
                elif node.value is not None and not isinstance(node, ast.AugAssign):
                    symbols[target.id] = _assigned(node.value)
        elif (names := _extended(node)) is not None:
            exported = [*(exported or []), *names]
    literals = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value)
    }
    return FileFacts(symbols, tuple(exported) if exported is not None else None, tuple(stars), tuple(sorted(literals)))


def _imported(bound: Import) -> str:
    return bound.module if bound.name is None else f"{bound.module}.{bound.name}"


def _texts(node: ast.expr | None) -> list[str]:
    """The texts inside `__all__ = [...]`, computed parts left out (they name flavors, which are found otherwise)."""
    return [
        inner.value
        for inner in (ast.walk(node) if node is not None else ())
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    ]


def _extended(node: ast.stmt) -> list[str] | None:
    """`__all__.extend([...])` and `__all__.append(...)`."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not call.args:
        return None
    return _texts(call.args[0]) if ast.unparse(call.func) in ("__all__.extend", "__all__.append") else None


def _assigned(node: ast.expr) -> Symbol:
    """A value: a lazily loaded module and a plain name count as imports of what they stand for."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("LazyLoader") and node.args:
        last = node.args[-1]
        if isinstance(last, ast.Constant) and isinstance(last.value, str):
            return Symbol("i", last.value, ("lazy",))
    if isinstance(node, ast.Name | ast.Attribute):
        return Symbol("i", ast.unparse(node), ("local",))
    return Symbol("a", _short(node))


def _class(node: ast.ClassDef) -> Symbol:
    members: dict[str, Symbol] = {}
    for statement in statements(node.body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if _public(statement.name):
                members.setdefault(statement.name, _function(statement))
            if statement.name == "__init__":
                for inner in ast.walk(statement):
                    target = _own_attribute(inner)
                    if target is not None and _public(target):
                        members.setdefault(target, Symbol("a", "self"))
        elif isinstance(statement, ast.Assign):
            for target_node in statement.targets:
                if isinstance(target_node, ast.Name) and _public(target_node.id):
                    members[target_node.id] = Symbol("a", _short(statement.value))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name, value = statement.target.id, "" if statement.value is None else _short(statement.value)
            if _public(name):
                members[name] = Symbol("a", value)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    return Symbol("c", bases, _marks(node.decorator_list), tuple(members.items()))


def _own_attribute(node: ast.AST) -> str | None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            return target.attr
    return None


def _public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Symbol:
    marks = list(_marks(node.decorator_list))
    names = {ast.unparse(each) for each in node.decorator_list}
    if names & {"property", "cached_property", "functools.cached_property"} or any(
        name.endswith(".setter") for name in names
    ):
        return Symbol("a", "property", tuple(marks))
    for decorator in node.decorator_list:  # the signature is the wrapped function's
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in ("wraps", "functools.wraps"):
            marks.append(f"wraps({ast.unparse(decorator.args[0])})")
    if "staticmethod" in names:
        marks.append("static")
    if "classmethod" in names:
        marks.append("class")
    return Symbol("f", _signature(node.args), tuple(marks))


def _signature(arguments: ast.arguments) -> str:
    bare = ast.arguments(
        posonlyargs=[_bare(each) for each in arguments.posonlyargs],
        args=[_bare(each) for each in arguments.args],
        vararg=_bare(arguments.vararg) if arguments.vararg else None,
        kwonlyargs=[_bare(each) for each in arguments.kwonlyargs],
        kw_defaults=[_cut(each) if each is not None else None for each in arguments.kw_defaults],
        kwarg=_bare(arguments.kwarg) if arguments.kwarg else None,
        defaults=[_cut(each) for each in arguments.defaults],
    )
    return ast.unparse(bare)


def _bare(argument: ast.arg) -> ast.arg:
    return ast.arg(arg=argument.arg, annotation=None)


def _cut(node: ast.expr) -> ast.expr:
    return ast.parse(_short(node), mode="eval").body


def _short(node: ast.expr) -> str:
    return shortened(ast.unparse(node), _LONG)


def _marks(decorators: list[ast.expr]) -> tuple[str, ...]:
    """The decorators that may change a call: `deprecated(...)`, `experimental`, shims, and any unknown one."""
    found = []
    for node in decorators:
        call = node.func if isinstance(node, ast.Call) else node
        name = ast.unparse(call)
        if name in _PLAIN or name.endswith((".setter", ".deleter", ".getter")):
            continue
        telling = name.startswith(("deprecated", "request_id")) or name == "experimental"
        found.append(ast.unparse(node)[:200] if telling else name)
    return tuple(found)
