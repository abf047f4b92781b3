"""Names of MLflow in Python: imports, attributes, and methods of what is only called like a client."""

from __future__ import annotations

import ast
import re

from liftlock.scan.arguments import Call
from liftlock.scan.hits import Hit
from liftlock.scan.model import Judgement, Verdict
from liftlock.scan.python import moves, objects, stages
from liftlock.scan.python.context import Context, likely, shown
from liftlock.scan.python.guards import is_mlflow
from liftlock.scan.python.scopes import Scope
from liftlock.scan.python.values import Foreign, Local, Name, Object, Value

_KEPT = re.compile(r"\.(?:state|app|g|ctx|context|extensions|session_state)\.")  # what a framework keeps for others
_CLIENT = re.compile(r"(?:^|_)(?:mlflow|client|mlf|mlclient|tracking)(?:_|$|client)", re.IGNORECASE)

Edits = tuple[tuple[int, int, str], ...]


class Names:
    """Judges names."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._module, self._infer, self._judge = context.module, context.infer, context.judge
        self._called = context.module.called
        self._heuristic = self._imports_mlflow()

    def imported(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import statement."""
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and (node.level or not is_mlflow(module)):
            return
        for alias in node.names:
            if isinstance(node, ast.Import) and not is_mlflow(alias.name):
                continue
            path = f"{module}.{alias.name}" if module else alias.name
            if alias.name == "*":
                path = module
            start, end = self._context.span(alias)
            found = self.nearest(path)
            if found is None:
                continue
            self._context.put(Hit(found, start, end, self._imported(node, alias, path, found)), importing=True)

    def _imported(self, node: ast.Import | ast.ImportFrom, alias: ast.alias, path: str, found: Judgement) -> Edits:
        """The edits of an import of something renamed or moved."""
        start = self._context.place(alias.lineno, alias.col_offset)
        owner, _, last = found.symbol.rpartition(".")
        if found.code == "LL102" and found.rename and found.symbol != path:
            if isinstance(node, ast.ImportFrom):  # from mlflow.<gone>[.x] import y
                start = self._context.text.index(found.symbol, self._context.place(node.lineno, node.col_offset))
            return ((start + len(owner) + 1, start + len(found.symbol), found.rename),)
        if found.code == "LL102" and found.rename and isinstance(node, ast.Import):
            return ((start + len(owner) + 1, start + len(owner) + 1 + len(last), found.rename),)
        if not isinstance(node, ast.ImportFrom) or found.symbol != path:
            return ()
        if found.moved and "." in found.rename:
            judged = {each.name: self.nearest(f"{node.module}.{each.name}") for each in node.names}
            moved = {name: each.moved for name, each in judged.items() if each is not None and "." in each.rename}
            return moves.edits(self._context, node, moved)
        if found.rename and self._all_fit(alias.asname or alias.name, found):
            return ((start, start + len(alias.name), found.rename),)
        return ()

    def nearest(self, path: str) -> Judgement | None:
        """The judgement of a path or of the first of its owners that is gone."""
        parts = path.split(".")
        for length in range(2, len(parts) + 1):
            found = self._judge.name(".".join(parts[:length]))
            if found is not None and (found.verdict is not Verdict.DEPRECATED or length == len(parts)):
                return found if found.code != "LL104" else None
        return None

    def attribute(self, node: ast.Attribute, scope: Scope) -> None:
        """`a.b` that is read."""
        if not isinstance(node.ctx, ast.Load):
            return
        values = self._infer.values(node.value, scope)
        end = self._context.place(node.end_lineno or node.lineno, node.end_col_offset or 0)
        start = end - len(node.attr)
        for value in values:
            judgement = self._member(value, node.attr, node)
            if judgement is not None and (judgement.code != "LL104" or id(node) in self._called):
                if any(isinstance(other, Foreign) for other in values):
                    judgement = likely(judgement)
                edits: Edits = ((start, end, judgement.rename),) if self._fits(node, judgement) else ()
                call = self._called.get(id(node))
                if not edits and call is not None and not judgement.safe:
                    edits = stages.edits(self._context, node, call)
                self._context.put(Hit(judgement, start, end, edits))
                return
        if all(isinstance(each, Foreign) and _KEPT.search(each.path) for each in values):
            self._guess(node, start, end)

    def _member(self, value: Value, name: str, node: ast.Attribute) -> Judgement | None:
        if isinstance(value, Name):
            if self._assigned(node):
                return None
            path = f"{value.path}.{name}"
            owner = objects.plain(value.path)
            if value.path.count(".") and owner.rpartition(".")[2][:1].islower() and self._is_function(value.path):
                return None  # an attribute of a function
            return self._judge.name(path)
        if isinstance(value, Object):
            return shown(self._judge.name(f"{value.path}.{name}", member=True))
        if getattr(value, "kind", "") in ("object", "class"):
            assert isinstance(value, Local)
            for inherited in self._infer.inherited(value, name):
                return shown(self._judge.name(inherited.path, member=True))
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

    def name(self, node: ast.Name, scope: Scope) -> None:
        """A bare name."""
        if not isinstance(node.ctx, ast.Load):
            return
        values = self._infer.values(node, scope)
        if len(values) != 1 or not isinstance(values[0], Name) or "." not in values[0].path:
            return
        path = values[0].path
        judgement = self.nearest(path)
        if judgement is None:
            return
        if not path.endswith(f".{node.id}") and judgement.symbol.rpartition(".")[2] != node.id:
            edits: tuple[tuple[int, int, str], ...] = ()
        else:
            start = self._context.place(node.lineno, node.col_offset)
            fits = "." not in judgement.rename and self._all_fit(node.id, judgement)
            edits = ((start, start + len(node.id), judgement.rename),) if fits else ()
        start = self._context.place(node.lineno, node.col_offset)
        self._context.put(Hit(judgement, start, start + len(node.id), edits))

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
        known = shown(judgement)
        if known is not None:
            self._context.put(
                Hit(likely(known), start, end, ((start, end, known.rename),) if self._fits(node, known) else ())
            )

    def _fits(self, node: ast.expr, judgement: Judgement) -> bool:
        """Whether the new name may stand here: for a function, only where it is called with arguments it takes."""
        if not judgement.rename or judgement.code != "LL101" or judgement.moved:
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
        return all(self._fits(each, judgement) for each in self._module.names.get(name, ())) and bool(judgement.rename)

    def _imports_mlflow(self) -> bool:
        return any(
            binding.how == "import" and is_mlflow(binding.path.partition(":")[0].lstrip("."))
            for scope in (self._module.scope, *self._module.scopes.values())
            for bindings in scope.bindings.values()
            for binding in bindings
        )
