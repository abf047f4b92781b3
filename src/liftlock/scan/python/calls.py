"""Calls in Python: their arguments against the signatures, names given as literals, and the curated rules."""

from __future__ import annotations

import ast
import re

from liftlock.scan.arguments import Call, Judged
from liftlock.scan.hits import Hit
from liftlock.scan.model import Verdict
from liftlock.scan.python import objects
from liftlock.scan.python.context import Context, likely, shown
from liftlock.scan.python.names import Names
from liftlock.scan.python.reading import Reading
from liftlock.scan.python.scopes import Function, Scope, called
from liftlock.scan.python.strings import Strings
from liftlock.scan.python.values import Local, Name, Object
from liftlock.scan.rules.base import PythonCall

_MOST = 20  # calls of one function
_PATCHERS = frozenset({"patch", "setattr", "patch_object", "import_module", "__import__", "importorskip", "LazyLoader"})
# MLflow's click programs by the path of the object, and the words they stand for.
_PROGRAMS = {
    "mlflow.cli.cli": "", "mlflow.experiments.commands": "experiments", "mlflow.runs.commands": "runs",
    "mlflow.models.cli.commands": "models", "mlflow.db.commands": "db", "mlflow.azureml.cli.commands": "azureml",
    "mlflow.deployments.cli.commands": "deployments", "mlflow.sagemaker.cli.commands": "sagemaker",
    "mlflow.store.artifact.cli.commands": "artifacts", "mlflow.pipelines.cli.commands": "pipelines",
    "mlflow.recipes.cli.commands": "recipes", "mlflow.gateway.cli.commands": "gateway",
}  # fmt: skip


class Calls:
    """Judges calls."""

    def __init__(self, context: Context, names: Names, strings: Strings) -> None:
        self._context, self._names, self._strings = context, names, strings
        self._handed_on: set[tuple[int, int]] = set()  # keywords of calls of the tree's own functions
        self._infer, self._judge = context.infer, context.judge

    def call(self, node: ast.Call, scope: Scope) -> None:
        """One call."""
        name = called(node)
        self._context.add(self._strings.call(node, name))
        if name in ("getattr", "hasattr") and len(node.args) >= 2:
            self._literal_attribute(node, scope, name)
        elif name in _PATCHERS or name == "object":
            self._patched(node, scope)
        function: ast.expr = node.func
        shift = 0
        if name == "partial" and node.args:
            function, shift = node.args[0], 1
        if name == "invoke":
            self._invoked(node, scope)
        values = self._infer.values(function, scope)
        path = next((value.path for value in values if isinstance(value, Name) and "." in value.path), "")
        if path:
            self._arguments(node, path, scope, shift)
        last = path.rpartition(".")[2] or name
        if last in self._context.tools.rules.functions and not shift:
            self._ruled(node, last, path, scope)

    def _ruled(self, node: ast.Call, name: str, path: str, scope: Scope) -> None:
        """The curated rules. `name` is the callee's own, whatever it is imported as."""
        reading = Reading(scope, self._infer)
        keywords = {each.arg: each.value for each in node.keywords if each.arg is not None}
        star = any(isinstance(each, ast.Starred) for each in node.args)
        whole = len(keywords) == len(node.keywords) and not star
        call = PythonCall(
            objects.plain(path),
            name,
            () if star else node.args,
            keywords,
            whole,
            reading.text,
            reading.texts,
            reading.inside,
        )
        for judgement, (argument, _) in self._context.tools.rules.call(call):
            if argument is not None:
                self._context.put(self._context.on(argument, judgement))
            else:
                end = self._context.span(node.func)[1]
                self._context.put(Hit(judgement, max(end - len(called(node)), 0), end))

    def _invoked(self, node: ast.Call, scope: Scope) -> None:
        """`runner.invoke(commands, ["list"])` of click, with MLflow's program or one of its groups."""
        words = node.args[1] if len(node.args) > 1 else next((k.value for k in node.keywords if k.arg == "args"), None)
        if not node.args or not isinstance(words, ast.List):
            return
        path = next((value.path for value in self._infer.values(node.args[0], scope) if isinstance(value, Name)), "")
        start = _PROGRAMS.get(path, path.removeprefix("mlflow.cli."))
        if path in _PROGRAMS or (path.startswith("mlflow.cli.") and self._context.tools.words.is_command(start)):
            self._context.add(self._strings.invoked(words, start))

    def _arguments(self, node: ast.Call, path: str, scope: Scope, shift: int) -> None:
        keywords: dict[str, tuple[int, int]] = {}
        starstar = False
        for keyword in node.keywords:
            if keyword.arg is not None:
                start = self._context.place(keyword.lineno, keyword.col_offset)
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
        call = Call(positional, tuple(keywords), star, starstar or shift == 1, starstar)
        for judged in self._judge.arguments.judge(path, call):
            self._argument(judged, node, keywords, shift, call)

    def _argument(
        self, judged: Judged, node: ast.Call, keywords: dict[str, tuple[int, int]], shift: int, call: Call
    ) -> None:
        judgement = shown(judged.judgement)
        assert judgement is not None
        if judged.keyword:
            start, end = keywords[judged.keyword]
            quoted = self._context.text[start] in "'\"" or (start, end) in self._handed_on
            edits: tuple[tuple[int, int, str], ...] = ()
            if judgement.rename and judgement.rename not in keywords and not quoted:
                edits = ((start, end, judgement.rename),)
            self._context.put(Hit(judgement, start, end, edits))
        elif judged.position >= 0:
            argument = node.args[judged.position + shift]
            start = self._context.place(argument.lineno, argument.col_offset)
            end = self._context.place(argument.end_lineno or argument.lineno, argument.end_col_offset or 0)
            edits = ()
            last = judged.position + shift == len(node.args) - 1
            if judgement.rename and last and judgement.rename not in keywords and not call.star:
                edits = ((start, start, f"{judgement.rename}="),)
            self._context.put(Hit(judgement, start, end, edits))
        else:
            function = node.func
            end = self._context.place(function.end_lineno or function.lineno, function.end_col_offset or 0)
            name = called(node)
            self._context.put(Hit(judgement, max(end - len(name), 0), end))

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
                    found[key.value] = self._context.span(key)
                else:
                    whole = False
            return found, whole
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
            for keyword in node.keywords:
                if keyword.arg is None:
                    whole = False
                else:
                    start = self._context.place(keyword.lineno, keyword.col_offset)
                    found[keyword.arg] = (start, start + len(keyword.arg))
            return found, whole
        return {}, False

    def _named_keys(self, name: str, scope: Scope) -> tuple[dict[str, tuple[int, int]], bool]:
        """The keys of a dict with a name that is bound once, and those assigned to it by literal."""
        current: Scope | None = scope
        while current is not None and name not in current.bindings:
            current = current.parent
        if current is None:
            return {}, False
        bindings = [each for each in current.bindings[name] if each.how != "annotation"]
        if len(bindings) == 1 and bindings[0].how == "rest":
            return self._passed_on(current), False
        if len(bindings) != 1 or bindings[0].how != "value":
            return {}, False
        value = bindings[0].node
        if not isinstance(value, ast.Dict | ast.Call):
            return {}, False
        found, whole = self._literal_keys(value, current)
        for key in current.keys.get(name, ()):
            found.setdefault(str(key.value), self._context.span(key))
        return found, whole

    def _passed_on(self, scope: Scope) -> dict[str, tuple[int, int]]:
        """The keywords that calls in this module give to a function which hands its `**options` on."""
        function = scope.node
        if not isinstance(function, Function):
            return {}
        own = {each.arg for each in (*function.args.args, *function.args.kwonlyargs)}
        found: dict[str, tuple[int, int]] = {}
        for call, where in scope.module.calls.get(function.name, ())[:_MOST]:
            meant = self._infer.values(call.func, where)
            if any(isinstance(each, Local) and each.scope is scope for each in meant):
                for keyword in call.keywords:
                    if keyword.arg is not None and keyword.arg not in own:
                        start = self._context.place(keyword.lineno, keyword.col_offset)
                        found.setdefault(keyword.arg, (start, start + len(keyword.arg)))
        self._handed_on.update(found.values())
        return found

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
                judgement = shown(self._judge.name(f"{value.path}.{literal.value}", member=True))
            if judgement is not None and judgement.code != "LL104":
                self._context.put(self._context.on(literal, judgement))
                return

    def _patched(self, node: ast.Call, scope: Scope) -> None:
        """`patch("mlflow.evaluate")`, `patch("pkg.tracking.mlflow.evaluate")`, `patch.object(mlflow, "evaluate")`."""
        first = node.args[0] if node.args else None
        second = node.args[1] if len(node.args) > 1 else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            found = re.search(r"(?:^|\.)(mlflow(?:\.\w+)+)$", first.value)
            judgement = self._names.nearest(found[1]) if found is not None else None
            if judgement is not None and judgement.verdict is not Verdict.DEPRECATED:
                if found is not None and found.start(1) > 0:
                    judgement = likely(judgement)
                self._context.put(self._context.on(first, judgement))
        elif first is not None and isinstance(second, ast.Constant) and isinstance(second.value, str):
            for value in self._infer.values(first, scope):
                if isinstance(value, Name):
                    judgement = self._judge.name(f"{value.path}.{second.value}")
                    if (
                        judgement is not None
                        and judgement.code != "LL104"
                        and judgement.verdict is not Verdict.DEPRECATED
                    ):
                        self._context.put(self._context.on(second, shown(judgement) or judgement))
