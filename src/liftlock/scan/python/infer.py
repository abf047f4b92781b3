"""What an expression means: a name of MLflow, an object of one of its classes, or something of the scanned tree."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from liftlock.scan.python import objects
from liftlock.scan.python.scopes import Binding, Function, Module, Scope, called, returns

_DEPTH = 14
_IMPORTERS = frozenset({
    "import_module", "__import__", "importorskip", "LazyLoader", "lazy_import", "import_optional_dependency",
})  # fmt: skip
_UNBOUND = {"mlflow": "mlflow", "MlflowClient": objects.CLIENT}
_ELEMENTS = frozenset({"list", "sorted", "reversed", "tuple", "set", "iter", "cast", "filter"})
_FIRST = frozenset({"next", "max", "min", "copy", "deepcopy"})


@dataclass(frozen=True)
class Name:
    """A name of MLflow by the path it was reached under: a module, class or function."""

    path: str


@dataclass(frozen=True)
class Object:
    """An object of a class of MLflow."""

    path: str


@dataclass(frozen=True)
class Many:
    """A sequence of objects of a class of MLflow."""

    path: str


@dataclass(frozen=True)
class Foreign:
    """Something of another package."""

    path: str


@dataclass(frozen=True, eq=False)
class Local:
    """A module, class, function of the scanned tree, or an object of such a class."""

    kind: str  # module, class, function, object
    scope: Scope
    bound: bool = False


Value = Name | Object | Many | Foreign | Local
Values = tuple[Value, ...]


class Index:
    """The parsed modules of a scan, by path; finds the one an import means."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules: dict[str, Module] = {}
        self._by_tail: dict[str, list[Module]] = {}
        for module in modules:
            self.modules[module.path] = module
            self._by_tail.setdefault(module.name.rpartition(".")[2], []).append(module)

    def find(self, name: str, importer: Module) -> Module | None:
        """The module an absolute or relative import names, or None."""
        if name.startswith("."):
            level = len(name) - len(name.lstrip("."))
            folder = posixpath.dirname(importer.path)
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            rest = name.lstrip(".").replace(".", "/")
            base = posixpath.join(folder, rest) if rest else folder
            return self.modules.get(f"{base}.py") or self.modules.get(posixpath.join(base, "__init__.py"))
        if name == "mlflow" or name.startswith("mlflow."):
            return None
        for module in self._by_tail.get(name.rpartition(".")[2], ()):
            if module.name == name or module.name.endswith(f".{name}"):
                return module
        return None


class Inference:
    """Evaluates expressions of one scan; results are kept."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: dict[tuple[int, int], Values] = {}
        self._keep: list[ast.AST] = []
        self._running: set[tuple[int, int]] = set()

    def values(self, node: ast.expr | None, scope: Scope) -> Values:
        """Everything an expression may mean, as far as it is known; empty when nothing is."""
        if node is None or isinstance(node, ast.Constant):
            return ()
        key = (id(node), id(scope))
        if key in self._kept:
            return self._kept[key]
        if key in self._running or len(self._running) > 60:
            return ()
        self._running.add(key)
        try:
            found = tuple(dict.fromkeys(self._values(node, scope)))
        finally:
            self._running.discard(key)
        self._kept[key] = found
        self._keep.append(node)
        return found

    def _values(self, node: ast.expr, scope: Scope) -> Iterable[Value]:
        match node:
            case ast.Name():
                return self.lookup(node.id, scope, node.lineno)
            case ast.Attribute():
                return self._attribute(node, scope)
            case ast.Call():
                return self._call(node, scope)
            case ast.Await() | ast.Starred() | ast.NamedExpr():
                return self.values(node.value, scope)
            case ast.BoolOp():
                return [value for each in node.values for value in self.values(each, scope)]
            case ast.IfExp():
                return [*self.values(node.body, scope), *self.values(node.orelse, scope)]
            case ast.Subscript():
                return self._subscript(node, scope)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return _many(self.values(node.elt, scope))
            case ast.List() | ast.Tuple() | ast.Set():
                return _many([value for each in node.elts[:5] for value in self.values(each, scope)])
            case ast.Dict():
                return _many([value for each in node.values[:20] for value in self.values(each, scope)])
            case ast.BinOp():
                return [*self.values(node.left, scope), *self.values(node.right, scope)]
        return ()

    # -- Names --------------------------------------------------------------------------------------------------------

    def lookup(self, name: str, scope: Scope, line: int) -> Values:
        """What a name means at a line of a scope."""
        current: Scope | None = scope
        own = True
        while current is not None:
            if name in current.bindings and (own or current.kind != "class"):
                return tuple(
                    value
                    for binding in _reaching(current.bindings[name], line if own else 1 << 30)
                    for value in self._bound(binding, current)
                )
            own = False
            current = current.parent
        for path in scope.module.runs:
            other = self._index.modules.get(path)
            if other is not None and other is not scope.module:
                found = self.lookup(name, other.scope, 1 << 30)
                if found:
                    return found
        # Bound nowhere: by a star import, an earlier block of a document, or a notebook that runs this one.
        return (Name(_UNBOUND[name]),) if name in _UNBOUND else ()

    def _bound(self, binding: Binding, scope: Scope) -> Iterable[Value]:
        node = binding.node
        match binding.how:
            case "import":
                return self.imported(binding.path, scope)
            case "function" | "class":
                return (Local(binding.how, scope.module.scopes[id(node)]),)
            case "parameter":
                assert isinstance(node, ast.arg)
                return self._parameter(node, scope)
            case "annotation":
                return self.annotated(node, scope) if isinstance(node, ast.expr) else ()
        if not isinstance(node, ast.expr):
            return ()
        found = self.values(node, scope)
        if binding.how == "element":
            return self._elements(node, found, binding.index, scope)
        if binding.how == "enter":
            return self._entered(found)
        if binding.index >= 0:
            elements = [Object(each.path) for each in found if isinstance(each, Many)]
            return [*elements, *self._tuple(node, scope, binding.index)]
        return found

    def imported(self, path: str, scope: Scope) -> Values:
        """What an import binds: `mlflow.tracking:MlflowClient`, `mlflow`, `.clients:make`."""
        module, _, name = path.partition(":")
        if module == "mlflow" or module.startswith("mlflow."):
            return (Name(f"{module}.{name}" if name else module),)
        target = self._index.find(module, scope.module)
        if not name:
            if target is not None and "." not in path:
                return (Local("module", target.scope),)
            return (Foreign(module),)
        inner = self._index.find(f"{module}.{name}" if not module.endswith(".") else f"{module}{name}", scope.module)
        if target is not None and name in target.scope.bindings:
            found = self.lookup(name, target.scope, 1 << 30)
            return found or (Foreign(f"{module}.{name}"),)
        if inner is not None:
            return (Local("module", inner.scope),)
        return (Foreign(f"{module}.{name}"),)

    def _parameter(self, node: ast.arg, scope: Scope) -> Iterable[Value]:
        function = scope.node
        assert isinstance(function, Function)
        if node.annotation is not None:
            found = tuple(self.annotated(node.annotation, scope))
            if found:
                return found
        owner = scope.parent
        arguments = [*function.args.posonlyargs, *function.args.args]
        first = arguments[0].arg if arguments else ""
        method = owner is not None and owner.kind == "class"
        if method and node.arg == first and first in ("self", "cls"):
            assert owner is not None
            return (Local("object" if first == "self" else "class", owner),)
        if (fixture := self._fixture(node.arg, scope)) is not None:
            return self._returned(*fixture)
        found_values: list[Value] = []
        place = next((i for i, each in enumerate(arguments) if each.arg == node.arg), -1)
        defaults = function.args.defaults
        offset = place - (len(arguments) - len(defaults))
        if place >= 0 and offset >= 0:
            found_values += self.values(defaults[offset], owner or scope)
        for call, where in scope.module.calls.get(function.name, ())[:12]:
            shift = 1 if method else 0
            given = next((each.value for each in call.keywords if each.arg == node.arg), None)
            if given is None and 0 <= place - shift < len(call.args):
                given = call.args[place - shift]
            if given is not None and not isinstance(given, ast.Starred):
                found_values += self.values(given, where)
        if method and function.name == "__init__" and owner is not None:
            assert isinstance(owner.node, ast.ClassDef)
            for call, where in scope.module.calls.get(owner.node.name, ())[:12]:
                given = next((each.value for each in call.keywords if each.arg == node.arg), None)
                if given is None and 0 <= place - 1 < len(call.args):
                    given = call.args[place - 1]
                if given is not None and not isinstance(given, ast.Starred):
                    found_values += self.values(given, where)
        return found_values

    def _fixture(self, name: str, scope: Scope) -> tuple[Function, Scope] | None:
        module = scope.module
        if name in module.fixtures:
            found = module.fixtures[name]
            return found if found[1] is not scope else None
        folder = posixpath.dirname(module.path)
        while True:
            conftest = self._index.modules.get(posixpath.join(folder, "conftest.py"))
            if conftest is not None and name in conftest.fixtures:
                return conftest.fixtures[name]
            if not folder:
                return None
            folder = posixpath.dirname(folder)

    def annotated(self, node: ast.expr, scope: Scope) -> Iterable[Value]:
        """Objects of the class an annotation names, through Optional, unions, quotes and sequences."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inner = ast.parse(node.value, mode="eval").body
            except (SyntaxError, ValueError):
                return ()
            for each in ast.walk(inner):
                if isinstance(each, ast.Name):
                    each.lineno = node.lineno
            return self.annotated(inner, scope)
        if isinstance(node, ast.BinOp):
            return [*self.annotated(node.left, scope), *self.annotated(node.right, scope)]
        if isinstance(node, ast.Subscript):
            name = ast.unparse(node.value).rpartition(".")[2]
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            found = [value for part in parts for value in self.annotated(part, scope)]
            if name in ("Optional", "Union", "Annotated", "Final", "ClassVar", "Type", "type"):
                return found
            if name in ("Dict", "dict", "Callable", "Mapping"):
                return ()
            return _many(found)
        if not isinstance(node, ast.Name | ast.Attribute):
            return ()
        return [made for value in self.values(node, scope) for made in _instance(value)]

    # -- Attributes, calls, elements ----------------------------------------------------------------------------------

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Iterable[Value]:
        assigned = scope.module.scope.attributes.get(_dotted(node), ()) if scope.module.scope.attributes else ()
        found: list[Value] = []
        for expression, where, how in assigned:
            found += self._held(expression, where, how)
        if found:
            return found
        for owner in self.values(node.value, scope):
            found += self.member(owner, node.attr)
        return found

    def member(self, owner: Value, name: str) -> Iterable[Value]:
        """What an attribute of a value means."""
        match owner:
            case Name():
                return (Name(f"{owner.path}.{name}"),)
            case Object():
                held = objects.held(owner.path, name)
                return _typed(held) if held else (Name(f"{owner.path}.{name}"),)
            case Foreign():
                return (Foreign(f"{owner.path}.{name}"),)
            case Local(kind="module"):
                return self.lookup(name, owner.scope, 1 << 30)
            case Local(kind="class") | Local(kind="object"):
                return self._class_member(owner, name, 0)
        return ()

    def _class_member(self, owner: Local, name: str, depth: int) -> Iterable[Value]:
        scope = owner.scope
        found: list[Value] = []
        for expression, where, how in scope.attributes.get(name, ()):
            found += self._held(expression, where, how)
        for binding in scope.bindings.get(name, ()):
            if binding.how == "function":
                inner = scope.module.scopes[id(binding.node)]
                assert isinstance(inner.node, Function)
                if any("property" in ast.unparse(each) for each in inner.node.decorator_list):
                    found += self._returned(inner.node, inner)
                else:
                    found.append(Local("function", inner, bound=True))
            else:
                found += self._bound(binding, scope)
        if found or name in scope.bindings or name in scope.attributes or depth > 5:
            return found
        assert isinstance(scope.node, ast.ClassDef)
        for base in scope.node.bases:
            for value in self.values(base, scope.parent or scope):
                if isinstance(value, Local) and value.kind in ("class", "object"):
                    found += self._class_member(Local(owner.kind, value.scope), name, depth + 1)
                elif isinstance(value, Name):
                    found.append(Name(f"{objects.plain(value.path)}.{name}"))
        return found

    def _held(self, value: ast.expr, scope: Scope, how: str) -> Iterable[Value]:
        if how == "annotation":
            return self.annotated(value, scope)
        found = self.values(value, scope)
        return self._entered(found) if how == "enter" else found if how == "value" else ()

    def _call(self, node: ast.Call, scope: Scope) -> Iterable[Value]:
        name = called(node)
        if name in _IMPORTERS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                path = first.value
                if path == "mlflow" or path.startswith("mlflow."):
                    return (Name(path),)
        if name == "getattr" and len(node.args) >= 2:
            second = node.args[1]
            if isinstance(second, ast.Constant) and isinstance(second.value, str):
                owners = self.values(node.args[0], scope)
                return [value for owner in owners for value in self.member(owner, second.value)]
        if isinstance(node.func, ast.Name) and node.args and name in _ELEMENTS:
            return self.values(node.args[1 if name in ("cast", "filter") and len(node.args) > 1 else 0], scope)
        if name in _FIRST and node.args:
            found = self.values(node.args[0], scope)
            return [Object(each.path) if isinstance(each, Many) else each for each in found]
        if name == "partial" and node.args:
            return self.values(node.args[0], scope)
        if name == "super" and isinstance(node.func, ast.Name):
            return self._super(scope)
        made: list[Value] = []
        for value in self.values(node.func, scope):
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
            for value in self.values(base, current.parent or current):
                found += _instance(value)
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
                    return _typed(known)
                last = path.rpartition(".")[2]
                if last.lstrip("_")[:1].isupper():
                    return (Object(path),)
                return ()
            case Local(kind="class"):
                return (Local("object", value.scope),)
            case Local(kind="function"):
                assert isinstance(value.scope.node, Function)
                return self._returned(value.scope.node, value.scope)
            case Foreign():
                return (value,)
        return ()

    def _returned(self, node: Function, scope: Scope) -> Values:
        if node.returns is not None:
            found = tuple(self.annotated(node.returns, scope))
            decorators = " ".join(ast.unparse(each) for each in node.decorator_list)
            managed = "contextmanager" in decorators or "fixture" in decorators
            if found:
                return tuple(Object(each.path) if managed and isinstance(each, Many) else each for each in found)
        values: list[Value] = []
        for value, _ in returns(node):
            values += self.values(value, scope)
        return tuple(values)

    def _entered(self, found: Values) -> Iterable[Value]:
        entered: list[Value] = []
        for each in found:
            if isinstance(each, Local) and each.kind == "object":
                inner = tuple(self._class_member(each, "__enter__", 0))
                for method in inner:
                    if isinstance(method, Local) and method.kind == "function":
                        assert isinstance(method.scope.node, Function)
                        entered += self._returned(method.scope.node, method.scope)
            else:
                entered.append(each)
        return entered

    def _elements(self, node: ast.expr, found: Values, index: int, scope: Scope) -> Iterable[Value]:
        if isinstance(node, ast.Call) and called(node) == "enumerate" and index == 1 and node.args:
            found, index = self.values(node.args[0], scope), -1
        if isinstance(node, ast.Call) and called(node) == "zip" and 0 <= index < len(node.args):
            found, index = self.values(node.args[index], scope), -1
        if index >= 0:
            return ()
        return [Object(each.path) for each in found if isinstance(each, Many)]

    def _tuple(self, node: ast.expr, scope: Scope, index: int) -> Iterable[Value]:
        """One place of a tuple that a local function returns."""
        if not isinstance(node, ast.Call):
            return ()
        found: list[Value] = []
        for value in self.values(node.func, scope):
            if isinstance(value, Local) and value.kind == "function" and isinstance(value.scope.node, Function):
                for returned, _ in returns(value.scope.node):
                    if isinstance(returned, ast.Tuple) and index < len(returned.elts):
                        found += self.values(returned.elts[index], value.scope)
        return found

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Iterable[Value]:
        found = self.values(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            return found
        return [Object(each.path) for each in found if isinstance(each, Many)]


def _dotted(node: ast.Attribute) -> str:
    parts = [node.attr]
    current: ast.expr = node.value
    while isinstance(current, ast.Attribute):
        parts.append(current.attr)
        current = current.value
    return ".".join([current.id, *reversed(parts)]) if isinstance(current, ast.Name) else ""


def _reaching(bindings: list[Binding], line: int) -> list[Binding]:
    """The bindings a use at a line may see; all of them when it stands before the first (a loop)."""
    before = [each for each in bindings if each.line <= line]
    if not before:
        return bindings
    last = max((number for number, each in enumerate(before) if each.certain and each.line < line), default=0)
    return before[last:]


def _instance(value: Value) -> Iterable[Value]:
    match value:
        case Name():
            last = value.path.rpartition(".")[2]
            return (Object(objects.plain(value.path)),) if last[:1].isupper() else ()
        case Local(kind="class"):
            return (Local("object", value.scope),)
        case Foreign():
            return (value,)
    return ()


def _typed(text: str) -> Values:
    return (Many(text[1:]),) if text.startswith("*") else (Object(text),)


def _many(values: Iterable[Value]) -> Values:
    return tuple(dict.fromkeys(Many(each.path) for each in values if isinstance(each, Object)))
