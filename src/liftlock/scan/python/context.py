"""What all visitors of one module share: places in its text, the hits found, and what guards the current node."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from msgspec.structs import replace

from liftlock.scan.hits import Hit, Tools
from liftlock.scan.model import Confidence, Judgement
from liftlock.scan.python import objects
from liftlock.scan.python.infer import Inference
from liftlock.scan.python.scopes import Module
from liftlock.scan.text import Lines


class Context:
    """One module with its text (as it was parsed)."""

    def __init__(self, module: Module, text: str, infer: Inference, tools: Tools) -> None:
        self.module, self.text, self.infer, self.tools = module, text, infer, tools
        self.judge = tools.judge
        self.hits: list[Hit] = []
        self.guards: list[str] = []  # conditions and `try:` around the current node; empty for one that asks nothing
        self.discarded: set[int] = set()  # calls whose result nobody takes
        self.firsts: dict[int, ast.Subscript] = {}  # calls of whose result the first is taken
        self._lines = Lines(text)
        self._ascii = text.isascii()
        self._seen: set[tuple[str, int, int]] = set()

    def place(self, line: int, column: int) -> int:
        """The offset of a line (from 1) and a column in UTF-8 bytes, as `ast` counts."""
        start = self._lines.starts[line - 1]
        if self._ascii:
            return start + column
        text = self._lines.line(line)
        return start + len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore"))

    def span(self, node: ast.expr | ast.alias) -> tuple[int, int]:
        """The span of a node."""
        start = self.place(node.lineno, node.col_offset)
        return start, self.place(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def on(self, node: ast.expr, judgement: Judgement) -> Hit:
        """A hit on a whole node."""
        return Hit(judgement, *self.span(node))

    def add(self, hits: Iterable[Hit]) -> None:
        """Keep some hits."""
        for hit in hits:
            self.put(hit)

    def put(self, hit: Hit, *, importing: bool = False) -> None:
        """Keep a hit, unless the code asks first whether the name is there."""
        guarded = [each for each in self.guards if each]
        judgement = hit.judgement
        if guarded and judgement.code.startswith(("LL1", "LL2")):
            conditional = any(each != "try" for each in guarded)
            if conditional or (importing and "try" in guarded):
                return  # the code asks before it uses the name
        key = (judgement.code, hit.start, hit.end)
        if key not in self._seen:
            self._seen.add(key)
            self.hits.append(hit)


def likely(judgement: Judgement) -> Judgement:
    """The same, less sure."""
    return replace(judgement, confidence=Confidence.LIKELY)


def shown(judgement: Judgement | None) -> Judgement | None:
    """A judgement of a client's method under the path people write."""
    if judgement is None or objects.CLIENT not in judgement.symbol:
        return judgement
    short = "mlflow.MlflowClient"
    return replace(
        judgement, symbol=judgement.symbol.replace(objects.CLIENT, short),
        message=judgement.message.replace(objects.CLIENT, short),
    )  # fmt: skip
