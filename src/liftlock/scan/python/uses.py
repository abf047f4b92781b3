"""All uses of MLflow in one module: names, calls, and strings that are commands, endpoints or variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from liftlock.scan.arguments import Call, Judged
from liftlock.scan.hits import Hit, Tools
from liftlock.scan.model import Confidence, Judgement, Verdict
from liftlock.scan.python import objects
from liftlock.scan.python.infer import Foreign, Inference, Name, Object, Value
from liftlock.scan.python.scopes import Function, Module, Scope, called, children
from liftlock.scan.python.strings import Strings
from liftlock.scan.text import Lines

_PATCHERS = frozenset({"patch", "setattr", "patch_object", "import_module", "__import__", "importorskip", "LazyLoader"})
_CLIENT = re.compile(r"(?:^|_)(?:mlflow|client|mlf|mlclient|tracking)(?:_|$|client)", re.IGNORECASE)
_MISSING = frozenset({"ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException"})
_VERSION = re.compile(
    r"mlflow.*version|version.*mlflow|_MLFLOW\w*\d|MLFLOW_VERSION|hasattr|is_mlflow|IS_MLFLOW", re.DOTALL
)


_NOTABLE = frozenset({
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.If, ast.IfExp, ast.While,
    ast.Try, ast.Expr, ast.Attribute, ast.Name, ast.Call, ast.Constant, ast.JoinedStr, ast.List, ast.Tuple,
    ast.Subscript,
})  # fmt: skip


class Uses:
    """The visitor of one module."""

    def __init__(self, module: Module, text: str, inference: Inference, tools: Tools) -> None:
        self._module, self._text = module, text
        self._infer, self._judge = inference, tools.judge
        self._lines = Lines(text)
        self._ascii = text.isascii()
        self._strings = Strings(tools, self.place)
        self.hits: list[Hit] = []
        self._guards: list[str] = []  # sources of conditions and `try:` around the current node
        self._seen: set[tuple[str, int, int]] = set()
        self._called = module.called
        self._uses = module.names
        self._heuristic = self._imports_mlflow()

    def run(self) -> list[Hit]:
        """Visit everything."""
        self._visit_body(self._module.tree.body, self._module.scope)
        return sorted(self.hits, key=lambda hit: (hit.start, hit.end, hit.judgement.code))

    def place(self, line: int, column: int) -> int:
        """The offset of a line (from 1) and a column in UTF-8 bytes, as `ast` counts."""
        start = self._lines.starts[line - 1]
        if self._ascii:
            return start + column
        text = self._lines.line(line)
        return start + len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore"))

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
                self._import(node, scope)
                return True
            case ast.If() | ast.IfExp() | ast.While():
                self._guarded(node, scope, ast.unparse(node.test) if self._may_guard(node.test) else "")
                return True
            case ast.Try():
                caught = any(_catches(handler) for handler in node.handlers)
                self._guards.append("try" if caught else "")
                self._visit_body(node.body, scope)
                self._guards.pop()
                # What stands in a handler of a missing name is the way for the other releases.
                self._guards.append("handler" if caught and _imports(node.body) else "")
                for handler in node.handlers:
                    self._visit_body(handler.body, scope)
                self._guards.pop()
                self._visit_body([*node.orelse, *node.finalbody], scope)
                return True
            case ast.Expr(value=ast.Constant()):
                return True  # a docstring
            case ast.Attribute():
                self._attribute(node, scope)
            case ast.Name():
                self._name(node, scope)
            case ast.Call():
                self._call(node, scope)
            case ast.Subscript(value=ast.Attribute(attr="environ") | ast.Name(id="environ")):
                self._add(self._strings.subscript(node))
            case ast.Constant(value=str()):
                self._add(self._strings.constant(node))
                return True
            case ast.JoinedStr():
                self._add(self._strings.joined(node))
            case ast.List() | ast.Tuple():
                self._add(self._strings.listed(node))
        return False

    def _definition(self, node: Function | ast.ClassDef, scope: Scope) -> None:
        inner = self._module.scopes[id(node)]
        for decorator in node.decorator_list:
            skip = self._strings.skip
            self._strings.skip = _is_route(decorator)
            self._visit(decorator, scope)
            self._strings.skip = skip
        if isinstance(node, ast.ClassDef):
            for each in (*node.bases, *node.keywords):
                self._visit(each, scope)
        else:
            self._visit(node.args, scope)
            if node.returns is not None:
                self._visit(node.returns, scope)
            if _VERSION.search(" ".join(ast.unparse(each) for each in node.decorator_list)):
                self._guards.append("decorated for some releases")
                self._visit_body(node.body, inner)
                self._guards.pop()
                return
        self._visit_body(node.body, inner)

    def _may_guard(self, test: ast.expr) -> bool:
        return any(
            isinstance(each, ast.Attribute | ast.Name | ast.Call)
            and (
                "version" in (getattr(each, "attr", "") or getattr(each, "id", "")).lower()
                or getattr(getattr(each, "func", None), "id", "") == "hasattr"
            )
            for each in ast.walk(test)
        )

    def _guarded(self, node: ast.If | ast.IfExp | ast.While, scope: Scope, test: str) -> None:
        self._visit(node.test, scope)
        guard = f"if {test}" if _VERSION.search(test) else ""
        self._guards.append(guard)
        for part in (node.body, node.orelse):
            if isinstance(part, list):
                self._visit_body(part, scope)
            else:
                self._visit(part, scope)
        self._guards.pop()

    # -- Names --------------------------------------------------------------------------------------------------------

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        del scope
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and (node.level or not _ours(module)):
            return
        for alias in node.names:
            if isinstance(node, ast.Import) and not _ours(alias.name):
                continue
            path = f"{module}.{alias.name}" if module else alias.name
            if alias.name == "*":
                path = module
            start = self.place(alias.lineno, alias.col_offset)
            end = self.place(alias.end_lineno or alias.lineno, alias.end_col_offset or 0)
            found = self._nearest(path)
            if found is None:
                continue
            judgement = found
            edits: tuple[tuple[int, int, str], ...] = ()
            renamed = judgement.rename and judgement.symbol == path and isinstance(node, ast.ImportFrom)
            if renamed and self._all_fit(alias.asname or alias.name, judgement):
                edits = ((start, start + len(alias.name), judgement.rename),)
            self._put(Hit(judgement, start, end, edits), importing=True)

    def _nearest(self, path: str) -> Judgement | None:
        """The judgement of a path or of the first of its owners that is gone."""
        parts = path.split(".")
        for length in range(2, len(parts) + 1):
            found = self._judge.name(".".join(parts[:length]))
            if found is not None and (found.verdict is not Verdict.DEPRECATED or length == len(parts)):
                return found if found.code != "LL104" else None
        return None

    def _attribute(self, node: ast.Attribute, scope: Scope) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        values = self._infer.values(node.value, scope)
        end = self.place(node.end_lineno or node.lineno, node.end_col_offset or 0)
        start = end - len(node.attr)
        for value in values:
            judgement = self._member(value, node.attr, node, scope)
            if judgement is not None and (judgement.code != "LL104" or id(node) in self._called):
                if any(isinstance(other, Foreign) for other in values):
                    judgement = _likely(judgement)
                edits = ((start, end, judgement.rename),) if self._fits(node, judgement) else ()
                self._put(Hit(judgement, start, end, edits))
                return
        if not values:
            self._guess(node, start, end)

    def _member(self, value: Value, name: str, node: ast.Attribute, scope: Scope) -> Judgement | None:
        if isinstance(value, Name):
            if self._assigned(node):
                return None
            path = f"{value.path}.{name}"
            owner = objects.plain(value.path)
            if value.path.count(".") and owner.rpartition(".")[2][:1].islower() and self._is_function(value.path):
                return None  # an attribute of a function
            return self._judge.name(path)
        if isinstance(value, Object):
            return _shown(self._judge.name(f"{value.path}.{name}", member=True))
        if getattr(value, "kind", "") in ("object", "class"):
            for inherited in self._infer.member(value, name):
                if isinstance(inherited, Name) and inherited.path.endswith(f".{name}"):
                    return _shown(self._judge.name(inherited.path, member=True))
        del scope
        return None

    def _is_function(self, path: str) -> bool:
        for surface in (
            self._judge.history.surface(self._judge.history.old),
            self._judge.history.surface(self._judge.history.new),
        ):
            found = surface.definition(path)
            if found is not None:
                return found.kind == "function"
        return False

    def _assigned(self, node: ast.Attribute) -> bool:
        """Whether the tree itself puts this attribute on the module."""
        attributes = self._module.scope.attributes
        return bool(attributes) and ast.unparse(node) in attributes

    def _name(self, node: ast.Name, scope: Scope) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        values = self._infer.values(node, scope)
        if len(values) != 1 or not isinstance(values[0], Name) or "." not in values[0].path:
            return
        path = values[0].path
        judgement = self._nearest(path)
        if judgement is None:
            return
        if not path.endswith(f".{node.id}") and judgement.symbol.rpartition(".")[2] != node.id:
            edits: tuple[tuple[int, int, str], ...] = ()
        else:
            start = self.place(node.lineno, node.col_offset)
            edits = ((start, start + len(node.id), judgement.rename),) if self._all_fit(node.id, judgement) else ()
        start = self.place(node.lineno, node.col_offset)
        self._put(Hit(judgement, start, start + len(node.id), edits))

    def _guess(self, node: ast.Attribute, start: int, end: int) -> None:
        """An object whose type is not known, called like a client, with a method only MLflow's client ever had."""
        if not self._heuristic:
            return
        owner = node.value
        made = isinstance(owner, ast.Call)
        if isinstance(owner, ast.Call):
            owner = owner.func
        name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
        if node.attr in ("run_uuid",) and name in ("info", "run_info"):
            judgement = self._judge.name(f"{objects.INFO}.{node.attr}", member=True)
        elif _CLIENT.search(name) and not (made and name.lower() in ("client", "resource")):
            judgement = self._judge.name(f"{objects.CLIENT}.{node.attr}", member=True)
            if judgement is None or judgement.code == "LL104" or node.attr.startswith("_"):
                return
        else:
            return
        shown = _shown(judgement)
        if shown is not None:
            self._put(Hit(_likely(shown), start, end, ((start, end, shown.rename),) if self._fits(node, shown) else ()))

    def _fits(self, node: ast.expr, judgement: Judgement) -> bool:
        """Whether the new name may stand here: for a function, only where it is called with arguments it takes."""
        if not judgement.rename or judgement.code != "LL101":
            return bool(judgement.rename)
        call = self._called.get(id(node))
        if call is None:
            return False
        owner = judgement.symbol.rpartition(".")[0]
        given = Call(
            len(call.args), tuple(each.arg for each in call.keywords if each.arg),
            any(isinstance(each, ast.Starred) for each in call.args), any(each.arg is None for each in call.keywords),
        )  # fmt: skip
        return self._judge.arguments.accepts(f"{owner}.{judgement.rename}", given)

    def _all_fit(self, name: str, judgement: Judgement) -> bool:
        """Whether the new name may stand for every use of an imported one."""
        return all(self._fits(each, judgement) for each in self._uses.get(name, ())) and bool(judgement.rename)

    def _imports_mlflow(self) -> bool:
        return any(
            binding.how == "import" and _ours(binding.path.partition(":")[0].lstrip("."))
            for scope in (self._module.scope, *self._module.scopes.values())
            for bindings in scope.bindings.values()
            for binding in bindings
        )

    # -- Calls --------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, scope: Scope) -> None:
        name = called(node)
        self._add(self._strings.call(node, name))
        if name in ("getattr", "hasattr") and len(node.args) >= 2:
            self._literal_attribute(node, scope, name)
        elif name in _PATCHERS or name == "object":
            self._patched(node, scope)
        function: ast.expr = node.func
        shift = 0
        if name == "partial" and node.args:
            function, shift = node.args[0], 1
        for value in self._infer.values(function, scope):
            path = self._callable(value)
            if path:
                self._arguments(node, path, scope, shift, certain=isinstance(value, Name))
                return

    def _callable(self, value: Value) -> str:
        if isinstance(value, Name) and "." in value.path:
            return value.path
        return ""

    def _arguments(self, node: ast.Call, path: str, scope: Scope, shift: int, *, certain: bool) -> None:
        del certain
        keywords: dict[str, tuple[int, int]] = {}
        starstar = False
        for keyword in node.keywords:
            if keyword.arg is not None:
                start = self.place(keyword.lineno, keyword.col_offset)
                keywords[keyword.arg] = (start, start + len(keyword.arg))
            else:
                literal, whole = self._literal_keys(keyword.value, scope)
                starstar = starstar or not whole
                keywords.update(literal)
        positional = 0
        for argument in node.args[shift:]:
            if isinstance(argument, ast.Starred):
                break
            positional += 1
        star = any(isinstance(each, ast.Starred) for each in node.args)
        call = Call(positional, tuple(keywords), star, starstar or shift == 1)
        for judged in self._judge.arguments.judge(path, call):
            self._argument(judged, node, keywords, shift, call)

    def _argument(
        self, judged: Judged, node: ast.Call, keywords: dict[str, tuple[int, int]], shift: int, call: Call
    ) -> None:
        judgement = _shown(judged.judgement)
        assert judgement is not None
        if judged.keyword:
            start, end = keywords[judged.keyword]
            quoted = self._text[start] in "'\""
            edits: tuple[tuple[int, int, str], ...] = ()
            if judgement.rename and judgement.rename not in keywords and not quoted:
                edits = ((start, end, judgement.rename),)
            self._put(Hit(judgement, start, end, edits))
        elif judged.position >= 0:
            argument = node.args[judged.position + shift]
            start = self.place(argument.lineno, argument.col_offset)
            end = self.place(argument.end_lineno or argument.lineno, argument.end_col_offset or 0)
            edits = ()
            last = judged.position + shift == len(node.args) - 1
            if judgement.rename and last and judgement.rename not in keywords and not call.star:
                edits = ((start, start, f"{judgement.rename}="),)
            self._put(Hit(judgement, start, end, edits))
        else:
            function = node.func
            end = self.place(function.end_lineno or function.lineno, function.end_col_offset or 0)
            name = called(node)
            self._put(Hit(judgement, max(end - len(name), 0), end))

    def _literal_keys(self, node: ast.expr, scope: Scope) -> tuple[dict[str, tuple[int, int]], bool]:
        """The keys that can be seen behind `**`, with the place of each, and whether they are all there are."""
        if isinstance(node, ast.Name):
            return self._named_keys(node.id, scope)
        found: dict[str, tuple[int, int]] = {}
        whole = True
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    inner, seen = self._literal_keys(value, scope)
                    found |= inner
                    whole = whole and seen
                elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                    found[key.value] = self._place_of(key)
                else:
                    whole = False
            return found, whole
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
            for keyword in node.keywords:
                if keyword.arg is None:
                    whole = False
                else:
                    start = self.place(keyword.lineno, keyword.col_offset)
                    found[keyword.arg] = (start, start + len(keyword.arg))
            return found, whole
        return {}, False

    def _named_keys(self, name: str, scope: Scope) -> tuple[dict[str, tuple[int, int]], bool]:
        """The keys of a dict with a name that is bound once, and those assigned to it by literal."""
        current: Scope | None = scope
        while current is not None and name not in current.bindings:
            current = current.parent
        bindings = current.bindings[name] if current is not None else []
        if len(bindings) != 1 or bindings[0].how != "value" or current is None:
            return {}, False
        value = bindings[0].node
        if not isinstance(value, ast.Dict | ast.Call):
            return {}, False
        found, whole = self._literal_keys(value, current)
        for key in current.keys.get(name, ()):
            found.setdefault(str(key.value), self._place_of(key))
        return found, whole

    def _place_of(self, node: ast.expr) -> tuple[int, int]:
        start = self.place(node.lineno, node.col_offset)
        return start, self.place(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def _literal_attribute(self, node: ast.Call, scope: Scope, name: str) -> None:
        literal = node.args[1]
        if not isinstance(literal, ast.Constant) or not isinstance(literal.value, str) or name == "hasattr":
            return
        if len(node.args) > 2:
            return  # a default: the code knows that it may be missing
        for value in self._infer.values(node.args[0], scope):
            judgement = None
            if isinstance(value, Name):
                judgement = self._judge.name(f"{value.path}.{literal.value}")
            elif isinstance(value, Object):
                judgement = _shown(self._judge.name(f"{value.path}.{literal.value}", member=True))
            if judgement is not None and judgement.code != "LL104":
                self._put(self._on(literal, judgement))
                return

    def _patched(self, node: ast.Call, scope: Scope) -> None:
        """`patch("mlflow.evaluate")`, `patch("pkg.tracking.mlflow.evaluate")`, `patch.object(mlflow, "evaluate")`."""
        first = node.args[0] if node.args else None
        second = node.args[1] if len(node.args) > 1 else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            found = re.search(r"(?:^|\.)(mlflow(?:\.\w+)+)$", first.value)
            judgement = self._nearest(found[1]) if found is not None else None
            if judgement is not None and judgement.verdict is not Verdict.DEPRECATED:
                if found is not None and found.start(1) > 0:
                    judgement = _likely(judgement)
                self._put(self._on(first, judgement))
        elif first is not None and isinstance(second, ast.Constant) and isinstance(second.value, str):
            for value in self._infer.values(first, scope):
                if isinstance(value, Name):
                    judgement = self._judge.name(f"{value.path}.{second.value}")
                    if (
                        judgement is not None
                        and judgement.code != "LL104"
                        and judgement.verdict is not Verdict.DEPRECATED
                    ):
                        self._put(self._on(second, _shown(judgement) or judgement))

    def _on(self, node: ast.expr, judgement: Judgement) -> Hit:
        start = self.place(node.lineno, node.col_offset)
        return Hit(judgement, start, self.place(node.end_lineno or node.lineno, node.end_col_offset or 0))

    # -- Results ------------------------------------------------------------------------------------------------------

    def _add(self, hits: Iterator[Hit]) -> None:
        for hit in hits:
            self._put(hit)

    def _put(self, hit: Hit, *, importing: bool = False) -> None:
        guarded = [each for each in self._guards if each]
        judgement = hit.judgement
        if guarded and judgement.code.startswith(("LL1", "LL2")):
            conditional = any(each != "try" for each in guarded)
            if conditional or (importing and "try" in guarded):
                return  # the code asks before it uses the name
        key = (judgement.code, hit.start, hit.end)
        if key not in self._seen:
            self._seen.add(key)
            self.hits.append(hit)


def _ours(path: str) -> bool:
    return path == "mlflow" or path.startswith("mlflow.")


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {each.id for each in ast.walk(handler.type) if isinstance(each, ast.Name)}
    names |= {each.attr for each in ast.walk(handler.type) if isinstance(each, ast.Attribute)}
    return bool(names & _MISSING)


def _imports(body: list[ast.stmt]) -> bool:
    return any(
        (isinstance(each, ast.ImportFrom) and _ours(each.module or ""))
        or (isinstance(each, ast.Import) and any(_ours(alias.name) for alias in each.names))
        for each in body
    )  # fmt: skip


def _is_route(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in (
        "route", "get", "post", "put", "patch", "delete", "api_route", "head", "websocket",
    )  # fmt: skip


def _likely(judgement: Judgement) -> Judgement:
    from msgspec.structs import replace

    return replace(judgement, confidence=Confidence.LIKELY)


def _shown(judgement: Judgement | None) -> Judgement | None:
    """A judgement of a client's method under the path people write."""
    if judgement is None or objects.CLIENT not in judgement.symbol:
        return judgement
    from msgspec.structs import replace

    short = "mlflow.MlflowClient"
    return replace(
        judgement, symbol=judgement.symbol.replace(objects.CLIENT, short),
        message=judgement.message.replace(objects.CLIENT, short),
    )  # fmt: skip
