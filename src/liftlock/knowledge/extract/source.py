"""Python source evaluated by reading it: names followed through imports, constants computed, calls kept as calls.

This knows nothing of MLflow. What cannot be told without running the program is `Unknown`, never a guess.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from liftlock.knowledge.extract.archive import Archive

_DEPTH = 40


@dataclass(frozen=True)
class Unknown:
    """A value that only the running program knows; `text` is the expression."""

    text: str


@dataclass(frozen=True)
class Import:
    """A name bound by an import: the module, and the name in it (None: the module itself)."""

    module: str
    name: str | None


@dataclass(frozen=True)
class ModuleValue:
    """A module, ours (`mlflow.cli`) or foreign (`click`)."""

    name: str


@dataclass(frozen=True)
class Defined:
    """A function or class of the program."""

    module: str
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Foreign:
    """Something of a package outside the program, such as `click.option`."""

    path: str


@dataclass(frozen=True)
class Called:
    """A call that was not computed: what is called (dotted path), with evaluated arguments."""

    path: str
    args: tuple[Any, ...]
    keywords: dict[str, Any] = field(hash=False)


Binding = ast.expr | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | Import


@dataclass
class Module:
    """One parsed file: `bindings` are its module-level names, the last one winning."""

    name: str
    file: str
    is_package: bool
    tree: ast.Module
    bindings: dict[str, Binding]


def parse(text: bytes, file: str = "<source>") -> ast.Module:
    """The syntax tree of a file. Old releases hold invalid escapes, which newer Pythons warn of on the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text, file)


def module_name(file: str) -> str:
    """`mlflow/a/b.py` -> `mlflow.a.b`; a package's `__init__.py` gives the package."""
    parts = file.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is loaded, branches included; not those for type checkers only."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            if not _type_checking(node.test):
                yield from statements(node.body)
            yield from statements(node.orelse)
        elif isinstance(node, ast.Try):
            # handlers first: what the body binds is what an installed program has
            for part in (*(handler.body for handler in node.handlers), node.body, node.orelse, node.finalbody):
                yield from statements(part)
        elif isinstance(node, ast.With | ast.For | ast.While):
            yield from statements(node.body)


def _type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports(node: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> Iterator[tuple[str, Import]]:
    """The names an import statement binds; `from x import *` gives the name `*`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield alias.asname, Import(alias.name, None)
            else:
                head = alias.name.partition(".")[0]
                yield head, Import(head, None)
        return
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        cut = len(parts) - node.level + (1 if is_package else 0)
        base = ".".join([*parts[:cut], *([base] if base else [])])
    for alias in node.names:
        yield alias.asname or alias.name, Import(base, alias.name)


class Program:
    """The Python files of an archive, parsed when first needed."""

    def __init__(self, archive: Archive, root: str = "mlflow") -> None:
        self.archive = archive
        self.root = root
        self.files = {
            module_name(name): name for name in archive.names if name.endswith(".py") and name.startswith(f"{root}/")
        }
        self._modules: dict[str, Module] = {}

    def module(self, name: str) -> Module | None:
        """A module by its dotted name, or None when the archive has none."""
        if name not in self.files:
            return None
        if name not in self._modules:
            file = self.files[name]
            tree = parse(self.archive.read(file), file)
            found = Module(name, file, file.endswith("__init__.py"), tree, {})
            found.bindings.update(_bindings(found))
            self._modules[name] = found
        return self._modules[name]

    def lookup(self, module: str, name: str, depth: int = 0) -> Any:
        """The value of a module-level name."""
        if depth > _DEPTH:
            return Unknown(name)
        found = self.module(module)
        if found is None:
            return Foreign(f"{module}.{name}") if not self._ours(module) else Unknown(f"{module}.{name}")
        binding = found.bindings.get(name)
        if binding is None:
            below = f"{module}.{name}"
            return ModuleValue(below) if below in self.files else Unknown(below)
        if isinstance(binding, Import):
            return self._imported(binding, depth)
        if isinstance(binding, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return Defined(module, binding)
        return self.evaluate(binding, module, depth=depth + 1)

    def _imported(self, binding: Import, depth: int) -> Any:
        if binding.name is None:
            return ModuleValue(binding.module)
        if binding.module in self.files:
            below = f"{binding.module}.{binding.name}"
            owner = self.module(binding.module)
            assert owner is not None
            if below in self.files and owner.bindings.get(binding.name) in (None, binding):
                return ModuleValue(below)  # `from a import b` inside a itself, or b is only a file of a
            return self.lookup(binding.module, binding.name, depth + 1)
        if self._ours(binding.module):
            return Unknown(f"{binding.module}.{binding.name}")
        return Foreign(f"{binding.module}.{binding.name}")

    def _ours(self, module: str) -> bool:
        return module == self.root or module.startswith(f"{self.root}.")

    def evaluate(self, node: ast.expr, module: str, env: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
        """The value of an expression in a module; `env` holds local names. Never raises for odd source."""
        if depth > _DEPTH:
            return Unknown(ast.unparse(node))
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            return Unknown(ast.unparse(node))
        return method(node, module, env or {}, depth + 1)

    def _constant(self, node: ast.Constant, module: str, env: Mapping[str, Any], depth: int) -> Any:
        del module, env, depth
        return node.value

    def _name(self, node: ast.Name, module: str, env: Mapping[str, Any], depth: int) -> Any:
        if node.id in env:
            return env[node.id]
        found = self.lookup(module, node.id, depth)
        known = self.module(module)
        if isinstance(found, Unknown) and known is not None and node.id not in known.bindings:
            return Foreign(f"builtins.{node.id}")
        return found

    def _attribute(self, node: ast.Attribute, module: str, env: Mapping[str, Any], depth: int) -> Any:
        return self.attribute(self.evaluate(node.value, module, env, depth), node.attr, depth)

    def attribute(self, base: Any, name: str, depth: int = 0) -> Any:
        """`base.name` for an evaluated base."""
        if isinstance(base, ModuleValue):
            return self.lookup(base.name, name, depth)
        if isinstance(base, Foreign):
            return Foreign(f"{base.path}.{name}")
        if isinstance(base, Called) and base.path.endswith(".LazyLoader") and isinstance(base.args[-1], str):
            return self.attribute(ModuleValue(base.args[-1]), name, depth)
        if isinstance(base, Called) and name == "name" and base.args:
            return base.args[0]  # an environment variable object knows its name
        if isinstance(base, Defined) and isinstance(base.node, ast.ClassDef):
            for statement in base.node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    assert isinstance(statement, ast.Assign)
                    return self.evaluate(statement.value, base.module, {}, depth)
                if isinstance(statement, ast.FunctionDef) and statement.name == name:
                    return Defined(base.module, statement)
        if isinstance(base, str) and name == "value":
            return base  # a member of an enumeration of texts
        return Unknown(f"{base}.{name}")

    def _joinedstr(self, node: ast.JoinedStr, module: str, env: Mapping[str, Any], depth: int) -> Any:
        parts = []
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                found = self.evaluate(value.value, module, env, depth)
                parts.append(str(found) if isinstance(found, str | int) else "{" + ast.unparse(value.value) + "}")
            else:
                parts.append(str(self.evaluate(value, module, env, depth)))
        return "".join(parts)

    def _binop(self, node: ast.BinOp, module: str, env: Mapping[str, Any], depth: int) -> Any:
        left = self.evaluate(node.left, module, env, depth)
        right = self.evaluate(node.right, module, env, depth)
        if isinstance(node.op, ast.Add):
            if isinstance(left, list | tuple) and isinstance(right, list | tuple):
                return [*left, *right]
            if isinstance(left, str) and isinstance(right, str):
                return left + right
            if isinstance(left, list | tuple) or isinstance(right, list | tuple):
                # one side of a concatenated table is not known: say so inside it, do not lose the other side
                return [*(left if isinstance(left, list | tuple) else [left]),
                        *(right if isinstance(right, list | tuple) else [right])]  # fmt: skip
        if isinstance(node.op, ast.Mult) and isinstance(left, int | float) and isinstance(right, int | float):
            return left * right
        return Unknown(ast.unparse(node))

    def _tuple(self, node: ast.Tuple, module: str, env: Mapping[str, Any], depth: int) -> Any:
        return tuple(self._elements(node.elts, module, env, depth))

    def _list(self, node: ast.List, module: str, env: Mapping[str, Any], depth: int) -> Any:
        return self._elements(node.elts, module, env, depth)

    _set = _list

    def _elements(self, nodes: list[ast.expr], module: str, env: Mapping[str, Any], depth: int) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                value = self.evaluate(node.value, module, env, depth)
                found.extend(value if isinstance(value, list | tuple) else [value])
            else:
                found.append(self.evaluate(node, module, env, depth))
        return found

    def _dict(self, node: ast.Dict, module: str, env: Mapping[str, Any], depth: int) -> Any:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                continue
            known = self.evaluate(key, module, env, depth)
            found[known if isinstance(known, str | int) else ast.unparse(key)] = self.evaluate(
                value, module, env, depth
            )
        return found

    def _subscript(self, node: ast.Subscript, module: str, env: Mapping[str, Any], depth: int) -> Any:
        base = self.evaluate(node.value, module, env, depth)
        key = self.evaluate(node.slice, module, env, depth)
        if isinstance(base, dict) and isinstance(key, str | int) and key in base:
            return base[key]
        return Unknown(ast.unparse(node))

    def _ifexp(self, node: ast.IfExp, module: str, env: Mapping[str, Any], depth: int) -> Any:
        del module, env, depth
        return Unknown(ast.unparse(node))

    def _listcomp(self, node: ast.ListComp, module: str, env: Mapping[str, Any], depth: int) -> Any:
        source = self.evaluate(node.generators[0].iter, module, env, depth) if len(node.generators) == 1 else None
        if not isinstance(source, list | tuple):
            return Unknown(ast.unparse(node))
        return [
            self.evaluate(node.elt, module, {**env, **bound}, depth)
            for bound in self.bind(node.generators[0].target, source)
        ]

    @staticmethod
    def bind(target: ast.expr, source: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """The local names of a loop's target, once per element that fits."""
        for element in source:
            if isinstance(target, ast.Name):
                yield {target.id: element}
                continue
            if not isinstance(target, ast.Tuple) or not isinstance(element, list | tuple):
                continue
            if len(element) == len(target.elts):
                pairs = zip(target.elts, element, strict=True)
                yield {name.id: value for name, value in pairs if isinstance(name, ast.Name)}

    def _call(self, node: ast.Call, module: str, env: Mapping[str, Any], depth: int) -> Any:
        args = tuple(self._elements(node.args, module, env, depth))
        keywords = {
            entry.arg: self.evaluate(entry.value, module, env, depth)
            for entry in node.keywords
            if entry.arg is not None
        }
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            text = self.evaluate(node.func.value, module, env, depth)
            if isinstance(text, str) and all(isinstance(value, str | int) for value in (*args, *keywords.values())):
                return text.format(*args, **keywords)
        called = self.evaluate(node.func, module, env, depth)
        if isinstance(called, Defined) and not isinstance(called.node, ast.ClassDef):
            return self.inline(called, args, keywords, depth)
        if isinstance(called, Defined):
            return Called(f"{called.module}.{called.node.name}", args, keywords)
        return Called(called.path if isinstance(called, Foreign) else ast.unparse(node.func), args, keywords)

    def inline(self, function: Defined, args: tuple[Any, ...], keywords: Mapping[str, Any], depth: int = 0) -> Any:
        """What a small function returns: its last `return` with its plain assignments; else the call itself."""
        node = function.node
        path = f"{function.module}.{node.name}"
        if isinstance(node, ast.ClassDef) or not node.body or not isinstance(node.body[-1], ast.Return):
            return Called(path, args, dict(keywords))
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        env: dict[str, Any] = {}
        for name, default in zip(reversed(names), reversed(node.args.defaults), strict=False):
            env[name] = self.evaluate(default, function.module, {}, depth)
        for argument, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if value is not None:
                env[argument.arg] = self.evaluate(value, function.module, {}, depth)
        env.update(zip(names, args, strict=False))
        env.update(keywords)
        for statement in node.body:
            if isinstance(statement, ast.ImportFrom):
                for name, bound in imports(statement, function.module, is_package=False):
                    env[name] = self._imported(bound, depth)
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                value = self.evaluate(statement.value, function.module, env, depth)
                if not isinstance(value, Unknown | Called):
                    env[statement.targets[0].id] = value
        returned = node.body[-1].value
        if returned is None:
            return None
        value = self.evaluate(returned, function.module, env, depth)
        if isinstance(value, Called) and value.path == "re.sub" and isinstance(returned, ast.Call):
            return value.args[2] if len(value.args) > 2 else value  # rewriting of a path's placeholders
        return value


def _bindings(module: Module) -> Iterator[tuple[str, Binding]]:
    for node in statements(module.tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node, module.name, module.is_package)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
