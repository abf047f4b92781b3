"""Strings in Python that are commands of `mlflow`, paths of endpoints, or names of variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from liftlock.scan.hits import Hit, Tools
from liftlock.scan.model import Confidence, Judgement, Verdict
from liftlock.scan.python.reading import text_of
from liftlock.scan.shell import command_hits, renamed, split_words
from liftlock.scan.surfaces import pins
from liftlock.scan.surfaces.docs import PROSE

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
_PATH = re.compile(
    r"/?(?:ajax-)?api/\d\.\d/(?:(?:preview/)?mlflow/[a-z][a-z-]*(?:/[a-z-]+)+(?![\w*{/])|preview/mlflow(?=/?[{\0]|/?$))"
)
_REST = re.compile(r"api/\d\.\d/(?:preview/)?mlflow")
_BASE = re.compile(r"url|uri|host|base|api|endpoint|server|address|mlflow|tracking|prefix|root", re.IGNORECASE)
_VARIABLE = re.compile(r"_?MLFLOW_[A-Z][A-Z0-9_]*[A-Z0-9]\Z")
_MLFLOW = re.compile(r"\s*(?:\S+\s+)*?(?:\S*/)?mlflow\s")
_LINE = re.compile(r"[\s$!>\-*`'\"#:0-9.)]*(?P<command>mlflow\s+(?P<word>[a-z]+)\b)")
_COMMANDS = frozenset({"bash_command", "command", "commands", "cmd", "script", "entrypoint"})
# Keywords whose list a program installs: components of Kubeflow, operators of Airflow, setup.
_REQUIRED = frozenset({"packages_to_install", "requirements", "install_requires", "additional_dependencies"})
_SHELLED = frozenset({"-c", "-lc", "-ec", "-cx", "-xc", "-exc"})
_SETTERS = frozenset({"setenv", "setdefault", "putenv", "get", "getenv"})  # with a value as second argument
_READERS = frozenset({"get", "getenv", "setenv", "delenv", "putenv", "setdefault", "pop", "environ"})


class Strings:
    """Finds uses in the strings of one module. `place` gives the offset of a line and column of `ast`."""

    def __init__(self, tools: Tools, place: Callable[[int, int], int], source: str) -> None:
        self._tools, self._source = tools, source
        self._place = place
        self.skip = False
        self._rest = _REST.search(source) is not None
        self._done: set[int] = set()

    def constant(self, node: ast.Constant) -> Iterator[Hit]:
        """A string that contains a whole path of an endpoint, or what a curated rule looks for."""
        if self.skip or id(node) in self._done:
            return
        text = str(node.value)
        yield from self._ruled(node, text)
        if "mlflow " in text:
            yield from self._told(node, text)
        if self._rest and text.endswith("/list"):
            yield from self._relative(node)  # of a program that speaks to MLflow's interface
        if "api/" not in text:
            return
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
        yield from self._ruled(node, text)
        if "mlflow " in text:
            yield from self._told(node, text)
        if "api/" in text and len(text) < 400:
            yield from self._endpoint(node, text)
        elif "/list" in text and _is_base(
            next((each for each in node.values if not isinstance(each, ast.Constant)), None)
        ):
            yield from self._relative(node)

    def added(self, node: ast.BinOp) -> Iterator[Hit]:
        """`base + "/experiments/list"`."""
        last = node.right
        if isinstance(last, ast.Constant) and str(last.value).endswith("/list") and _is_base(node.left):
            yield from self._relative(node)

    def _told(self, node: ast.expr, text: str) -> Iterator[Hit]:
        """Lines of a text that are commands some release dropped: a script, or what people are told to run."""
        for line in text.split("\n"):
            found = _LINE.match(line)
            if found is not None and found["word"] in self._tools.words.roots and not PROSE.search(line, found.end()):
                for hit in self._command(node, line[found.start("command") :]):
                    if hit.judgement.code in ("LL301", "LL304"):
                        yield Hit(replace(hit.judgement, confidence=Confidence.LIKELY), hit.start, hit.end, hit.edits)

    def _ruled(self, node: ast.expr, text: str) -> Iterator[Hit]:
        for judgement, start, end, new in self._tools.rules.text(text):
            where = self._inner(node, text[start:end])
            if where is None:
                yield self._span(node, judgement, "")
            else:
                yield Hit(judgement, *where, ((*where, new),) if new is not None else ())

    def _inner(self, node: ast.expr, words: str) -> tuple[int, int] | None:
        """Where words stand in the source of a string, if they stand there once and as they are."""
        start, end = (
            self._place(node.lineno, node.col_offset),
            self._place(node.end_lineno or 0, node.end_col_offset or 0),
        )
        source = self._source[start:end]
        if not words or "\0" in words or source.count(words) != 1:
            return None
        return start + source.index(words), start + source.index(words) + len(words)

    def variable(self, name: str, value: ast.expr) -> Iterator[Hit]:
        """A variable of the environment that is given a value."""
        if name in self._tools.rules.variables and (text := text_of(value)) is not None:
            for judgement in self._tools.rules.value(name, text):
                yield self._span(value, judgement, "")

    def mapping(self, node: ast.Dict) -> Iterator[Hit]:
        """A dict that may become an environment."""
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield from self.variable(key.value, value)

    def _endpoint(self, node: ast.expr, text: str) -> Iterator[Hit]:
        for found in _PATH.finditer(text):
            path = "/" + found[0].lstrip("/")
            if found.end() < len(text) and text[found.end()] == "\0" and not path.endswith("/mlflow"):
                continue
            judgement = self._tools.words.endpoint(path)
            if judgement is not None:
                new = self._tools.words.moved(found[0], judgement)
                yield self._placed(node, judgement, found[0], ((0, len(found[0]), new),) if new else ())

    def call(self, node: ast.Call, name: str) -> Iterator[Hit]:
        """Arguments of calls that run commands, send requests or read the environment."""
        if name in _SENDERS and not self.skip:
            for argument in (
                *node.args[:2],
                *(each.value for each in node.keywords if each.arg in ("url", "endpoint", "path")),
            ):
                yield from self._relative(argument)
        if name in _RUNNERS and node.args:
            first = node.args[0]
            text = text_of(first)
            if text is not None and _MLFLOW.match(text):
                yield from self._command(first, text)
        if name in _RUNNERS and node.args and (text := text_of(node.args[0])) is not None and " install " in text:
            for hit in pins.installed(split_words(text.replace("\0", "$X")), self._tools):
                yield self._placed(node.args[0], hit.judgement, text[hit.start : hit.end])
        if name == "install":  # of nox and the like
            yield from self._required(node.args)
        for keyword in node.keywords:
            if keyword.arg in _REQUIRED and isinstance(keyword.value, ast.List | ast.Tuple):
                yield from self._required(keyword.value.elts)
            if keyword.arg in _COMMANDS and (text := text_of(keyword.value)) is not None and _MLFLOW.match(text):
                yield from self._command(keyword.value, text)
        if name in _READERS and node.args and _names_variable(node.args[0]):
            yield from self._variable(node.args[0], ast.unparse(node.func))
            first = node.args[0]
            if name in _SETTERS and len(node.args) > 1 and isinstance(first, ast.Constant):
                yield from self.variable(str(first.value), node.args[1])

    def _relative(self, node: ast.expr) -> Iterator[Hit]:
        """`experiments/list` behind a base address: only endpoints that some release dropped."""
        text = text_of(node)
        if text is None or len(text) > 300 or "api/" in text:
            return
        for path in self._tools.words.relative:
            if re.search(rf"(?:^|[/\0]){re.escape(path)}(?:\?[^\0]*)?$", text) and "mlflow" not in path:
                judgement = self._tools.words.endpoint(f"/api/2.0/mlflow/{path}")
                if judgement is not None:
                    edits = ((0, len(path), judgement.rename),) if judgement.rename else ()
                    yield self._placed(node, replace(judgement, confidence=Confidence.LIKELY), path, edits)

    def listed(self, node: ast.List | ast.Tuple) -> Iterator[Hit]:
        """`["mlflow", "run", ...]`, `[sys.executable, "-m", "mlflow", ...]`."""
        texts = [text_of(each) for each in node.elts]
        for option, text, each in zip(texts, texts[1:], node.elts[1:], strict=False):
            if option in _SHELLED and text is not None and "mlflow " in text:
                yield from self._command(each, text)
        if "install" in texts:
            yield from self._required(node.elts)
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
            yield from self._elements(node, number + 1, words, "")
            return

    def _required(self, nodes: Sequence[ast.expr]) -> Iterator[Hit]:
        """Requirements that are elements of a list, or arguments."""
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "mlflow" in node.value:
                for hit in pins.one(node.value, 0, self._tools):
                    yield self._placed(node, hit.judgement, node.value[hit.start : hit.end])

    def invoked(self, node: ast.List, start: str) -> Iterator[Hit]:
        """The words given to a command of MLflow's own click program (`start`) by a runner."""
        words = [text_of(each) for each in node.elts]
        first = words[0] if words else None
        if not start and (first is None or first not in self._tools.words.roots):
            return
        yield from self._elements(node, 0, [None if w is None or "\0" in w else w for w in words], start)

    def _elements(self, node: ast.List | ast.Tuple, skipped: int, words: list[str | None], start: str) -> Iterator[Hit]:
        """A command whose words are elements of a list, behind `skipped` others."""
        for judged in self._tools.words.command(words, start):
            head, last = node.elts[skipped + judged.first], node.elts[skipped + judged.last - 1]
            begin = self._place(head.lineno, head.col_offset)
            end = self._place(last.end_lineno or last.lineno, last.end_col_offset or 0)
            edits: tuple[tuple[int, int, str], ...] = ()
            place = self._place(last.lineno, last.col_offset)
            quote = self._source[place]
            new = renamed(judged, words) if not start else ""
            if new and quote in "'\"" and self._source[place:end] == f"{quote}{words[judged.last - 1]}{quote}":
                edits = ((place, end, ", ".join(f"{quote}{each}{quote}" for each in new.split())),)
            yield Hit(judged.judgement, begin, end, edits)

    def _command(self, node: ast.expr, text: str) -> Iterator[Hit]:
        shown = text.replace("\0", "$X")
        for hit in command_hits(split_words(shown), self._tools):
            words = shown[hit.start : hit.end]
            edits = tuple((first - hit.start, last - hit.start, new) for first, last, new in hit.edits)
            yield self._placed(node, hit.judgement, words, edits)

    def _placed(
        self, node: ast.expr, judgement: Judgement, words: str, edits: tuple[tuple[int, int, str], ...] = ()
    ) -> Hit:
        """A hit on words of a string where their place is certain, with edits inside them; else on all of it."""
        where = self._inner(node, words)
        if where is None:
            return self._span(node, judgement, "")
        return Hit(judgement, *where, tuple((where[0] + first, where[0] + last, new) for first, last, new in edits))

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


def _names_variable(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and _VARIABLE.match(node.value) is not None


def _is_base(node: ast.expr | None) -> bool:
    """Whether an expression is named like the address a path stands behind."""
    return node is not None and _BASE.search(ast.unparse(node)) is not None
