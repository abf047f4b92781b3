"""Scan trees: find the files that mention MLflow, read them together, judge every use."""

from __future__ import annotations

import functools
import gc
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liftlock.knowledge.catalogue import Catalogue
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.scan.analyse import Analyser
from liftlock.scan.hits import Hit, Tools
from liftlock.scan.judge import Judge
from liftlock.scan.model import Confidence, Edit, ScanFinding, ScanResult, Surface, Verdict
from liftlock.scan.python import objects
from liftlock.scan.python.index import Index
from liftlock.scan.python.infer import Inference
from liftlock.scan.python.parse import parse
from liftlock.scan.python.scopes import Module
from liftlock.scan.rules.registry import Rules, answered
from liftlock.scan.suppress import ignored, matches
from liftlock.scan.surfaces import Kind, book_of, kind_of
from liftlock.scan.text import Lines
from liftlock.scan.walk import Walk, base_of, mentions
from liftlock.scan.words import Words

_STEP = 2000
_DATA = 1 << 20  # bytes from which on JSON and other languages are data, or written by a program


@dataclass(frozen=True)
class Document:
    """One file that mentions MLflow."""

    path: str
    kind: Kind
    text: str
    encoding: str


@dataclass
class Options:
    """What a caller may choose: codes (or their beginnings) to keep and to leave out."""

    select: Sequence[str] = ()
    ignore: Sequence[str] = ()


@dataclass
class _Tree:
    documents: list[Document] = field(default_factory=list)
    candidates: list[Document] = field(default_factory=list)  # Python that uses such names without naming MLflow
    modules: dict[str, Module] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def scan(
    roots: Sequence[Path], catalogue: Catalogue, source: Release, target: Release, options: Options | None = None,
    observer: Observer = silent,
) -> ScanResult:  # fmt: skip
    """Scan files and directories for the way from `source` to `target`.

    Paths of findings are relative to the root, or to `walk.base_of` several. A file that cannot be read, or not be
    understood whole, is listed in `skipped`. Raises ReleaseError when the catalogue does not know a release.
    """
    collects = gc.isenabled()
    gc.disable()  # syntax trees are many small objects that all live until the end
    try:
        return _scan(roots, catalogue, source, target, options or Options(), observer)
    finally:
        if collects:
            gc.enable()


def _scan(
    roots: Sequence[Path], catalogue: Catalogue, source: Release, target: Release, options: Options, observer: Observer
) -> ScanResult:
    tools = _tools(catalogue, source, target)
    members = tools.judge.risky_members((objects.CLIENT, objects.INFO))
    walk = Walk(members=tuple(name.encode() for name in members))
    tree = _Tree()
    base = base_of(roots)
    for root in roots:
        for path in walk.paths(root):
            if walk.files % _STEP == 0:
                observer(Progress(work="look for MLflow", done=walk.files, unit="files"))
            _read(path, base, walk, tree)
    findings: list[ScanFinding] = []
    index = Index(tree.modules.values())
    _follow(tree, index)
    inference = Inference(index)
    analyser = Analyser(tools)
    own = _Own(tree.documents)
    suppressed = 0
    for number, document in enumerate(tree.documents):
        observer(Progress(work="scan", done=number, total=len(tree.documents), unit="files"))
        module = tree.modules.get(document.path)
        try:
            analysis = analyser.file(document.kind, document.text, module, inference)
        except RecursionError:
            tree.skipped[document.path] = "nested too deeply"
            continue
        found, left = _findings(document, analysis.hits, options, own)
        findings += found
        suppressed += left
    skipped = {os.path.relpath(path, base): reason for path, reason in walk.skipped.items()} | tree.skipped
    return ScanResult(
        source=tools.judge.source.version, target=tools.judge.target.version, files=walk.files,
        findings=tuple(sorted(findings, key=lambda each: (each.path, each.line, each.column, each.code))),
        scanned=len(tree.documents), skipped=dict(sorted(skipped.items())), suppressed=suppressed,
    )  # fmt: skip


def scan_text(path: str, text: str, catalogue: Catalogue, source: Release, target: Release) -> tuple[ScanFinding, ...]:
    """Scan one text as if it were the file `path` of a tree of its own."""
    kind = kind_of(path, text[:200].encode())
    if kind is None:
        return ()
    document = Document(path, kind, text, "utf-8")
    tree = _Tree([document])
    _parse(document, tree)
    inference = Inference(Index(tree.modules.values()))
    analyser = Analyser(_tools(catalogue, source, target))
    try:
        analysis = analyser.file(kind, text, tree.modules.get(path), inference)
    except (ValueError, RecursionError):
        return ()
    return tuple(_findings(document, analysis.hits, Options(), _Own([document]))[0])


@functools.lru_cache(maxsize=4)
def _tools(catalogue: Catalogue, source: Release, target: Release) -> Tools:
    """What judges a pair of releases; kept, because fixes scan every file again."""
    judge = Judge(catalogue, source, target)
    rules = Rules(judge.source, judge.target)
    return Tools(judge, Words(judge, rules), rules)


def _read(path: str, base: Path, walk: Walk, tree: _Tree) -> None:
    kind = kind_of(path)
    if kind is None and "." in posixpath.basename(path):
        walk.files += 1
        return
    data = walk.read(path)
    if data is None:
        return
    kind = kind or kind_of(path, data[:200])
    if kind is None or b"\0" in data[:8000] or (kind is Kind.SOURCE and len(data) > _DATA):
        return
    text, encoding = decode(data)
    relative = os.path.relpath(path, base).replace(os.sep, "/")
    if relative in tree.seen:
        return  # below two roots
    tree.seen.add(relative)
    document = Document(relative, kind, text, encoding)
    if not mentions(data):
        tree.candidates.append(document)
    elif _parse(document, tree):
        tree.documents.append(document)


def _follow(tree: _Tree, index: Index) -> None:
    """Add the candidates that import something of the modules that name MLflow."""
    for document in tree.candidates:
        aside = _Tree()
        if not _parse(document, aside):
            continue
        module = aside.modules[document.path]
        imported = [binding.path for found in module.scope.bindings.values() for binding in found if binding.path]
        if any(index.find(path.partition(":")[0], module) is not None for path in imported):
            tree.modules[document.path] = module
            tree.documents.append(document)


def decode(data: bytes) -> tuple[str, str]:
    """The text and the encoding that gives the same bytes back."""
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:].decode("utf-8", "surrogateescape"), "utf-8-sig"
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _parse(document: Document, tree: _Tree) -> bool:
    """Parse what is Python; False when nothing of the file can be seen."""
    text = document.text
    runs: list[str] = []
    if document.kind not in (Kind.PYTHON, Kind.NOTEBOOK, Kind.SOURCE):
        return True
    try:
        book = book_of(document.path, document.kind, text)
    except ValueError as error:
        tree.skipped[document.path] = str(error)
        return False
    if book is not None:
        text, runs = book.python.text, book.runs
    elif document.kind is Kind.SOURCE:
        return True
    try:
        parsed, _, whole = parse(text)
    except SyntaxError as error:
        tree.skipped[document.path] = f"not understood from line {error.lineno} on"
        return document.kind is not Kind.PYTHON
    except RecursionError:
        tree.skipped[document.path] = "nested too deeply"
        return False
    if not whole:
        tree.skipped[document.path] = "seen in part: lines that are not Python were left out"
    name = re.sub(r"(?:\.__init__)?\.(?:pyw?i?|ipynb)$", "", document.path.replace("/", "."))
    name = name.removeprefix("src.")
    try:
        module = Module(document.path, name, posixpath.basename(document.path) == "__init__.py", parsed)
    except RecursionError:
        tree.skipped[document.path] = "nested too deeply"
        return False
    module.runs = tuple(_run_target(document.path, each) for each in runs)
    tree.modules[document.path] = module
    return True


def _run_target(path: str, target: str) -> str:
    """The path a `%run ./Common` means; a suffix is tried by the index under both names."""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return (
        joined if joined.endswith((".py", ".ipynb")) else f"{joined}.py" if path.endswith(".py") else f"{joined}.ipynb"
    )


class _Own:
    """Which variables are the project's own: set in one place of the tree and used in another."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        self._kept: dict[str, bool] = {}
        self._found: dict[str, bool] = {}
        self._models = {posixpath.dirname(each.path) for each in documents if each.kind is Kind.MODEL}

    def is_model(self, path: str) -> bool:
        """Whether a file lies in the folder of a saved model."""
        return posixpath.dirname(path) in self._models

    def is_own(self, name: str) -> bool:
        """Whether anything in the tree reads the variable itself."""
        if name not in self._kept:
            self._kept[name] = self._read(name)
        return self._kept[name]

    def mentions(self, word: str) -> bool:
        """Whether a word stands anywhere in the tree."""
        if word not in self._found:
            self._found[word] = any(word in document.text for document in self._documents)
        return self._found[word]

    def _read(self, name: str) -> bool:
        expanded = re.compile(rf"\$\(?\{{?{name}\b|\.{name}\b|env\.{name}\b|%{name}%")
        code = re.compile(rf"\b(?:{name}|{name.lower()})\b")
        for document in self._documents:
            if document.kind in (Kind.PYTHON, Kind.NOTEBOOK):
                if code.search(document.text):
                    return True
            elif document.kind is not Kind.DOCS and expanded.search(document.text):
                return True
        return False


def _findings(document: Document, hits: Iterable[Hit], options: Options, own: _Own) -> tuple[list[ScanFinding], int]:
    lines: Lines | None = None
    found: list[ScanFinding] = []
    suppressed = 0
    for hit in hits:
        judgement = hit.judgement
        if judgement.verdict is Verdict.UNKNOWN and own.is_own(judgement.symbol):
            continue
        if any(own.mentions(word) for word in answered(judgement.code)):
            continue
        if judgement.code.startswith("LL6") and own.is_model(document.path):
            continue  # the environment a saved model keeps
        if options.select and not matches(judgement.code, options.select):
            continue
        if matches(judgement.code, options.ignore):
            continue
        lines = lines or Lines(document.text)
        line, column = lines.at(hit.start)
        end_line, end_column = lines.at(hit.end)
        if ignored(lines.line(line), judgement.code) or ignored(lines.line(end_line), judgement.code):
            suppressed += 1
            continue
        safe = judgement.safe and judgement.confidence is Confidence.CERTAIN
        edits = tuple(Edit(start=start, end=end, text=text, safe=safe) for start, end, text in hit.edits)
        confidence = judgement.confidence
        if document.kind is Kind.DOCS and judgement.code.startswith("LL1"):
            confidence = Confidence.LIKELY
        found.append(
            ScanFinding(
                code=judgement.code,
                verdict=judgement.verdict,
                confidence=confidence,
                path=document.path,
                line=line,
                column=column,
                end_line=end_line,
                end_column=end_column,
                symbol=judgement.symbol,
                surface=Surface(document.kind.value),
                changed_in=judgement.changed_in,
                replacement=judgement.replacement,
                fixable=bool(edits),
                message=judgement.message,
                origin=judgement.origin,
                edits=edits,
            )
        )
    return found, suppressed
