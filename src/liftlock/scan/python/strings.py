"""Strings in Python that are commands of `mlflow`, paths of endpoints, or names of variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from liftlock.scan.hits import Hit, Tools
from liftlock.scan.model import Confidence, Judgement, Verdict
from liftlock.scan.shell import command_hits, split_words

_RUNNERS = frozenset({
    "system", "popen", "Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "split",
    "sh", "bash", "execute", "exec_command", "run_command", "cmd", "shell", "create_subprocess_shell",
    "invoke", "spawn",
})  # fmt: skip
_SENDERS = frozenset({
    "get", "post", "put", "patch", "delete", "request", "http_request", "_get", "_post", "_request", "call_endpoint",
    "fetch", "send", "urlopen", "Request", "_call", "api_get", "api_post", "perform_query", "rest_request", "urljoin",
    "_http_request", "api_call", "_make_request", "make_request", "make_url", "_url", "url",
})  # fmt: skip
_PATH = re.compile(r"/?(?:ajax-)?api/\d\.\d/(?:preview/)?mlflow/[a-z][a-z-]*(?:/[a-z-]+)+(?![\w*{/])")
_VARIABLE = re.compile(r"_?MLFLOW_[A-Z][A-Z0-9_]*[A-Z0-9]\Z")
_READERS = frozenset({"getenv", "setenv", "delenv", "putenv", "setdefault", "pop", "environ"})


class Strings:
    """Finds uses in the strings of one module. `place` gives the offset of a line and column of `ast`."""

    def __init__(self, tools: Tools, place: Callable[[int, int], int]) -> None:
        self._tools = tools
        self._place = place
        self.skip = False
        self._done: set[int] = set()

    def constant(self, node: ast.Constant) -> Iterator[Hit]:
        """A string that contains a whole path of an endpoint."""
        if self.skip or id(node) in self._done or "api/" not in str(node.value):
            return
        text = str(node.value)
        if len(text) > 400 or "\n" in text:
            return
        yield from self._endpoint(node, text)

    def joined(self, node: ast.JoinedStr) -> Iterator[Hit]:
        """An f-string: its parts with holes in between."""
        if self.skip:
            return
        text = "".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values)
        for each in node.values:
            self._done.add(id(each))
        if "api/" in text and len(text) < 400:
            yield from self._endpoint(node, text)

    def _endpoint(self, node: ast.expr, text: str) -> Iterator[Hit]:
        for found in _PATH.finditer(text):
            path = "/" + found[0].lstrip("/")
            if found.end() < len(text) and text[found.end()] == "\0":
                continue
            judgement = self._tools.words.endpoint(path)
            if judgement is not None:
                yield self._span(node, judgement, found[0])

    def call(self, node: ast.Call, name: str) -> Iterator[Hit]:
        """Arguments of calls that run commands, send requests or read the environment."""
        if name in _SENDERS:
            for argument in (
                *node.args[:2],
                *(each.value for each in node.keywords if each.arg in ("url", "endpoint", "path")),
            ):
                yield from self._relative(argument)
        if name in _RUNNERS and node.args:
            first = node.args[0]
            text = _text(first)
            if text is not None and re.match(r"\s*(?:\S+\s+)*?(?:\S*/)?mlflow\s", text):
                yield from self._command(first, text)
        if name == "invoke" and len(node.args) > 1 and isinstance(node.args[1], ast.List):
            runner = ast.unparse(node.args[0])
            if runner in ("cli", "mlflow.cli.cli", "mlflow_cli", "cli.cli") and self._any_command(node.args[1]):
                yield from self._invoked(node.args[1])
        if name in _READERS and node.args:
            yield from self._variable(node.args[0], ast.unparse(node.func))

    def _relative(self, node: ast.expr) -> Iterator[Hit]:
        """`experiments/list` behind a base address: only endpoints that some release dropped."""
        text = _text(node)
        if text is None or len(text) > 300 or "api/" in text:
            return
        for path in self._tools.words.relative:
            if re.search(rf"(?:^|[/\0]){re.escape(path)}(?:\?[^\0]*)?$", text) and "mlflow" not in path:
                judgement = self._tools.words.endpoint(f"/api/2.0/mlflow/{path}")
                if judgement is not None:
                    from msgspec.structs import replace

                    yield self._span(node, replace(judgement, confidence=Confidence.LIKELY), path)

    def listed(self, node: ast.List | ast.Tuple) -> Iterator[Hit]:
        """`["mlflow", "run", ...]`, `[sys.executable, "-m", "mlflow", ...]`."""
        texts = [_text(each) for each in node.elts]
        for number, text in enumerate(texts):
            if text is None or not re.fullmatch(r"(?:\S*/)?mlflow", text) or "\0" in text:
                continue
            before = texts[:number]
            following = texts[number + 1] if number + 1 < len(texts) else None
            if following is None or (number and before[-1] not in ("-m", "run", "exec", "--", "env", "sudo")):
                continue
            if not following.startswith("-") and following not in self._tools.words.roots:
                continue
            words = [None if each is None or "\0" in each else each for each in texts[number + 1 :]]
            for judged in self._tools.words.command(words):
                first, last = node.elts[number + 1 + judged.first], node.elts[number + judged.last]
                start = self._place(first.lineno, first.col_offset)
                end = self._place(last.end_lineno or last.lineno, last.end_col_offset or 0)
                yield Hit(judged.judgement, start, end)
            return

    def _any_command(self, node: ast.List) -> bool:
        text = _text(node.elts[0]) if node.elts else None
        return text is not None and text in self._tools.words.roots

    def _invoked(self, node: ast.List) -> Iterator[Hit]:
        words = [_text(each) for each in node.elts]
        for judged in self._tools.words.command([None if w is None or "\0" in w else w for w in words]):
            first, last = node.elts[judged.first], node.elts[judged.last - 1]
            start = self._place(first.lineno, first.col_offset)
            yield Hit(judged.judgement, start, self._place(last.end_lineno or last.lineno, last.end_col_offset or 0))

    def _command(self, node: ast.expr, text: str) -> Iterator[Hit]:
        shown = text.replace("\0", "$X")
        for hit in command_hits(split_words(shown), self._tools):
            words = shown[hit.start : hit.end]
            yield self._span(node, hit.judgement, words)

    def _variable(self, node: ast.expr, function: str) -> Iterator[Hit]:
        if "environ" not in function and not function.endswith(("getenv", "setenv", "delenv", "putenv")):
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _VARIABLE.match(node.value):
            judgement = self._tools.judge.variable(node.value)
            if judgement is not None and judgement.verdict is not Verdict.UNKNOWN:
                yield self._span(node, judgement, "")

    def subscript(self, node: ast.Subscript) -> Iterator[Hit]:
        """`os.environ["MLFLOW_..."]`."""
        yield from self._variable(node.slice, ast.unparse(node.value))

    def _span(self, node: ast.expr, judgement: Judgement, inner: str) -> Hit:
        del inner
        start = self._place(node.lineno, node.col_offset)
        return Hit(judgement, start, self._place(node.end_lineno or node.lineno, node.end_col_offset or 0))


def _text(node: ast.expr) -> str | None:
    """A string, with NUL for what an f-string, `+`, `%` or `.format` puts in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return (
            None
            if left is None and right is None
            else f"{left if left is not None else chr(0)}{right if right is not None else chr(0)}"
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        left = _text(node.left)
        return re.sub(r"%\(?\w*\)?[sdr]", "\0", left) if left is not None else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        left = _text(node.func.value)
        return re.sub(r"\{[^{}]*\}", "\0", left) if left is not None else None
    return None
