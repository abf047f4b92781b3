"""What the expressions of a tree mean, followed through names, calls, attributes and files."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from liftlock.scan.python import objects
from liftlock.scan.python.index import Index
from liftlock.scan.python.results import Results
from liftlock.scan.python.scopes import Binding, Function, Scope
from liftlock.scan.python.values import Foreign, Local, Many, Name, Object, Value, Values, instance, many, typed

_UNBOUND = {"mlflow": "mlflow", "MlflowClient": objects.CLIENT}


class Inference:
    """Evaluates expressions of one scan; results are kept."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: dict[tuple[int, int], Values] = {}
        self._keep: list[ast.AST] = []
        self._running: set[tuple[int, int]] = set()
        self._bindings: dict[int, Values] = {}
        self._results = Results(self)

    def values(self, node: ast.expr | None, scope: Scope) -> Values:
        """Everything an expression may mean, as far as it is known; empty when nothing is."""
        if node is None or isinstance(node, ast.Constant):
            return ()
        if isinstance(node, ast.Name):
            return self.lookup(node.id, scope, node.lineno)
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
            case ast.Attribute():
                return self._attribute(node, scope)
            case ast.Call():
                return self._results.call(node, scope)
            case ast.Await() | ast.Starred() | ast.NamedExpr():
                return self.values(node.value, scope)
            case ast.BoolOp():
                return [value for each in node.values for value in self.values(each, scope)]
            case ast.IfExp():
                return [*self.values(node.body, scope), *self.values(node.orelse, scope)]
            case ast.Subscript():
                return self._results.subscript(node, scope)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return many(self.values(node.elt, scope))
            case ast.List() | ast.Tuple() | ast.Set():
                return many([value for each in node.elts[:5] for value in self.values(each, scope)])
            case ast.Dict():
                return many([value for each in node.values[:20] for value in self.values(each, scope)])
            case ast.BinOp():
                return [*self.values(node.left, scope), *self.values(node.right, scope)]
        return ()

    # -- Names --------------------------------------------------------------------------------------------------------

    def lookup(self, name: str, scope: Scope, line: int) -> Values:
        """What a name means at a line of a scope."""
        current: Scope | None = scope
        own = True
        while current is not None:
            bindings = current.bindings.get(name)
            if bindings is not None and (own or current.kind != "class"):
                reaching = _reaching(bindings, line if own else 1 << 30)
                if len(reaching) == 1:
                    return self._meaning(reaching[0], current)
                return tuple(dict.fromkeys(each for one in reaching for each in self._meaning(one, current)))
            own = False
            current = current.parent
        for other in self._index.run_by(scope.module) if scope.module.runs else ():
            if name in other.scope.bindings and (found := self.lookup(name, other.scope, 1 << 30)):
                return found
        # Bound nowhere: by a star import, an earlier block of a document, or a notebook that runs this one.
        return (Name(_UNBOUND[name]),) if name in _UNBOUND else ()

    def _meaning(self, binding: Binding, scope: Scope) -> Values:
        """What a binding gives, worked out once; nothing while that is under way, which ends a cycle."""
        known = self._bindings.get(id(binding))
        if known is None:
            self._bindings[id(binding)] = ()
            self._bindings[id(binding)] = known = tuple(dict.fromkeys(self._bound(binding, scope)))
        return known

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
            return self._results.elements(node, found, binding.index, scope)
        if binding.how == "enter":
            return self._results.entered(found)
        if binding.index >= 0:
            elements = [Object(each.path) for each in found if isinstance(each, Many)]
            return [*elements, *self._results.place(node, scope, binding.index)]
        return found

    def module(self, name: str, scope: Scope) -> Scope | None:
        """The scope of the module of the tree that an import in `scope` names."""
        found = self._index.find(name, scope.module)
        return found.scope if found is not None else None

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
        if (fixture := self._index.fixture(node.arg, scope)) is not None:
            return self._results.returned(*fixture)
        found_values: list[Value] = []
        place = next((i for i, each in enumerate(arguments) if each.arg == node.arg), -1)
        offset = place - (len(arguments) - len(function.args.defaults))
        if place >= 0 and offset >= 0:
            found_values += self.values(function.args.defaults[offset], owner or scope)
        found_values += self._given(scope, function.name, node.arg, place - method)
        if method and function.name == "__init__":
            assert owner is not None and isinstance(owner.node, ast.ClassDef)
            found_values += self._given(scope, owner.node.name, node.arg, place - 1)
        return found_values

    def _given(self, scope: Scope, callee: str, name: str, place: int) -> Iterable[Value]:
        """What the calls of a module give for a parameter."""
        found: list[Value] = []
        for call, where in scope.module.calls.get(callee, ())[:12]:
            given = next((each.value for each in call.keywords if each.arg == name), None)
            if given is None and 0 <= place < len(call.args):
                given = call.args[place]
            if given is not None and not isinstance(given, ast.Starred):
                found += self.values(given, where)
        return found

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
            return many(found)
        if not isinstance(node, ast.Name | ast.Attribute):
            return ()
        if (node.id if isinstance(node, ast.Name) else node.attr) in ("Any", "object"):
            return ()
        return [made for value in self.values(node, scope) for made in instance(value)]

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
                return typed(held) if held else (Name(f"{owner.path}.{name}"),)
            case Foreign():
                return (Foreign(f"{owner.path}.{name}"),)
            case Local(kind="module"):
                return self.lookup(name, owner.scope, 1 << 30)
            case Local(kind="class") | Local(kind="object"):
                return self.class_member(owner, name, 0)
        return ()

    def class_member(self, owner: Local, name: str, depth: int) -> Iterable[Value]:
        """A member of a class of the tree, or of an object of one, its bases included."""
        scope = owner.scope
        found: list[Value] = []
        for expression, where, how in scope.attributes.get(name, ()):
            found += self._held(expression, where, how)
        for binding in scope.bindings.get(name, ()):
            if binding.how == "function":
                inner = scope.module.scopes[id(binding.node)]
                assert isinstance(inner.node, Function)
                if any("property" in ast.unparse(each) for each in inner.node.decorator_list):
                    found += self._results.returned(inner.node, inner)
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
                    found += self.class_member(Local(owner.kind, value.scope), name, depth + 1)
                elif isinstance(value, Name):
                    found.append(Name(f"{objects.plain(value.path)}.{name}"))
        return found

    def inherited(self, owner: Local, name: str, depth: int = 0) -> Iterable[Name]:
        """A member that a class of the tree has from a class of MLflow; nothing for one it defines itself."""
        scope = owner.scope
        if name in scope.bindings or name in scope.attributes or depth > 5 or not isinstance(scope.node, ast.ClassDef):
            return []
        found: list[Name] = []
        for base in scope.node.bases:
            for value in self.values(base, scope.parent or scope):
                if isinstance(value, Local) and value.kind in ("class", "object"):
                    found += self.inherited(value, name, depth + 1)
                elif isinstance(value, Name):
                    found.append(Name(f"{objects.plain(value.path)}.{name}"))
        return found

    def _held(self, value: ast.expr, scope: Scope, how: str) -> Iterable[Value]:
        if how == "annotation":
            return self.annotated(value, scope)
        found = self.values(value, scope)
        return self._results.entered(found) if how == "enter" else found if how == "value" else ()


def _dotted(node: ast.Attribute) -> str:
    parts = [node.attr]
    current: ast.expr = node.value
    while isinstance(current, ast.Attribute):
        parts.append(current.attr)
        current = current.value
    return ".".join([current.id, *reversed(parts)]) if isinstance(current, ast.Name) else ""


def _reaching(bindings: list[Binding], line: int) -> list[Binding]:
    """The bindings a use at a line may see; all of them when it stands before the first (a loop)."""
    if len(bindings) == 1:
        return bindings
    before = [each for each in bindings if each.line <= line]
    if not before:
        return bindings
    last = max((number for number, each in enumerate(before) if each.certain and each.line < line), default=0)
    return before[last:]
