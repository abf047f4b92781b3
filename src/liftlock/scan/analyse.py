"""One file's text to hits: the analyser of its kind, and the languages inside it, however deep."""

from __future__ import annotations

import re

from liftlock.scan import shell
from liftlock.scan.hits import Hit
from liftlock.scan.model import Verdict
from liftlock.scan.python.infer import Inference
from liftlock.scan.python.scopes import Module
from liftlock.scan.python.uses import Uses
from liftlock.scan.scripts import Analysis, Scripts, json_words
from liftlock.scan.surfaces import Kind, book_of, docs, pins, ruled, sources
from liftlock.scan.text import Fragment, line_spans

_SHELL = frozenset(
    {
        "bash",
        "sh",
        "shell",
        "console",
        "zsh",
        "shell-session",
        "terminal",
        "shellscript",
        "powershell",
        "ps1",
        "cmd",
        "bat",
    }
)
_PYTHON = frozenset({"python", "py", "python3", "pycon", "ipython", "ipython3", "py3", "pyi"})
_ENVIRONMENT = frozenset({"env", "dotenv", "ini", "properties", "toml", "conf", "cfg"})
_CONFIGURATION = frozenset({"yaml", "yml", "dockerfile", "docker", "makefile", "make"})
_TEXT = frozenset({"text", "plaintext", "txt", "none"})
_SESSION = re.compile(r"^\s*(?:\$ |curl )", re.MULTILINE)  # a text that is commands
_TELLING = re.compile(r"mlflow|llm/v1/|format=pandas-", re.IGNORECASE)
_SCRIPTS = frozenset({Kind.SHELL, Kind.MAKEFILE, Kind.DOCKERFILE, Kind.YAML, Kind.ENVIRONMENT})
_TYPED = re.compile(r"[ \t]*[!$%]?[ \t]*(?P<command>mlflow[ \t]+[a-z])")
_PROMPT = re.compile(r"^(\s*)(?:\$|%|>|#)\s+(?=\S)")
_DOCTEST = re.compile(r"^(\s*)(?:>>>|\.\.\.) ?|^(\s*)(?:In \[\d*\]:|\s+\.\.\.:) ?")


class Analyser(Scripts):
    """Reads files with what is known of the whole tree."""

    def file(self, kind: Kind, text: str, module: Module | None, inference: Inference | None) -> Analysis:
        """All hits of a file. For Python and notebooks the parsed module and the inference of the tree are given."""
        found = Analysis()
        whole = Fragment(text)
        match kind:
            case Kind.PYTHON | Kind.NOTEBOOK | Kind.SOURCE:
                self._source(kind, text, module, inference, found)
            case Kind.SHELL:
                self._shell(whole, found)
            case Kind.MAKEFILE:
                self._makefile(whole, found)
            case Kind.DOCKERFILE:
                self._dockerfile(whole, found)
            case Kind.YAML:
                self._yaml(whole, found)
            case Kind.ENVIRONMENT:
                self._environment(whole, found)
            case Kind.DOCS:
                self._docs(text, found)
            case Kind.REQUIREMENTS:
                found.hits += [*pins.requirements(text, self._tools), *pins.pythons(text, self._tools, "project")]
            case Kind.MODEL:
                found.hits += pins.model(text, self._tools)
        if kind in _SCRIPTS:
            found.hits += ruled.hits(text, self._tools)
        unique: dict[tuple[str, int, int], Hit] = {}
        for hit in found.hits:
            unique.setdefault((hit.judgement.code, hit.start, hit.end), hit)
        found.hits = sorted(unique.values(), key=lambda hit: (hit.start, hit.end, hit.judgement.code))
        return found

    def _source(
        self, kind: Kind, text: str, module: Module | None, inference: Inference | None, found: Analysis
    ) -> None:
        book = book_of(module.path if module is not None else "", kind, text)
        if book is None:
            if module is not None and inference is not None:
                found.hits += Uses(module, text, inference, self._tools).run()
                self._declared(module, text, found)
            elif kind is Kind.SOURCE:
                self._strings(Fragment(text), found)
            return
        if module is not None and inference is not None:
            self._put(found, book.python, Uses(module, book.python.text, inference, self._tools).run())
        for fragment in book.shell:
            self._shell(fragment, found)
        for fragment in book.docs:
            inner = Analysis()
            self._docs(fragment.text, inner)
            self._put(found, fragment, inner.hits)

    def _declared(self, module: Module, text: str, found: Analysis) -> None:
        """What a setup.py or a script of its own requires."""
        if module.path.rpartition("/")[2] == "setup.py":
            found.hits += [*pins.requirements(text, self._tools), *pins.pythons(text, self._tools, "project")]
        elif "# /// script" in text and (inner := pins.script(text)) is not None:
            self._put(found, inner, pins.requirements(inner.text, self._tools))
            self._put(found, inner, pins.pythons(inner.text, self._tools, "project"))

    def _strings(self, whole: Fragment, found: Analysis) -> None:
        """What the strings of another language hold."""
        for piece in sources.pieces(whole.text):
            text = whole.text[piece.start : piece.end]
            if piece.kind == "variable":
                hit = shell.variable_hit(text, piece.start, piece.end, self._tools)
                if hit is not None and hit.judgement.verdict is not Verdict.UNKNOWN:
                    found.hits.append(hit)
            elif piece.kind == "list":
                words = [(word, piece.start + start, piece.start + end) for word, start, end in json_words(text)]
                self._words(whole, words, found)
            elif re.match(r"\s*(?:\S+/)?mlflow\s", text) and not docs.PROSE.search(text):
                inner = Analysis()
                self._shell(whole.part(piece.start, piece.end), inner)
                found.hits += [hit for hit in inner.hits if hit.judgement.code != "LL302"]  # else it is a title
            else:
                self._put(found, whole, shell.endpoint_hits(text, piece.start, self._tools))
                for judgement, start, end, _ in self._tools.rules.text(text):
                    if judgement.code == "LL808":  # tags and stages in data are no uses
                        found.hits.append(Hit(judgement, piece.start + start, piece.start + end))

    def _docs(self, text: str, found: Analysis) -> None:
        python: list[Fragment] = []
        for block in docs.blocks(text):
            inner = Analysis()
            language = block.language
            if not block.inline and (not language or (language in _TEXT and _SESSION.search(block.fragment.text))):
                language = _guess(block.fragment.text)
            if language in _PYTHON:
                self._python_block(block.fragment, python, inner)
            elif not _TELLING.search(block.fragment.text):
                continue
            elif block.inline:
                self._inline(block.fragment, inner)
            else:
                self._block(language, block.fragment, inner)
            found.hits += inner.hits
        self._python(python, found)

    def _python_block(self, fragment: Fragment, python: list[Fragment], found: Analysis) -> None:
        text = fragment.text
        if re.search(r"^\s*(?:>>>|In \[)", text, re.MULTILINE):
            lines = [span for span in line_spans(text) if _DOCTEST.match(text[slice(*span)])]
            fragment = _without_prompts(fragment.joined(lines), _DOCTEST)
        typed = [(_TYPED.match(fragment.text, start, end), end) for start, end in line_spans(fragment.text)]
        commands = [(each.start("command"), end) for each, end in typed if each is not None]
        if commands:  # no Python, whatever the block says of itself
            self._shell(fragment.joined(commands), found, expansions=True)
        python.append(fragment)

    def _inline(self, fragment: Fragment, found: Analysis) -> None:
        text = fragment.text
        if re.match(r"(?:\$ )?mlflow\s+\S", text):
            commands = shell.split_words(text.replace("$ ", "  ", 1) if text.startswith("$ ") else text)
            for hit in shell.command_hits(commands, self._tools):
                words = hit.judgement.symbol.split()
                if hit.judgement.code == "LL302" and len(words) < 3 and " -" not in text:
                    continue
                if hit.judgement.code.startswith("LL8"):
                    continue  # a command that is named, not one to be run
                self._put(found, fragment, [Hit(hit.judgement, hit.start, hit.end, hit.edits)])
        elif "api/" in text:
            self._put(found, fragment, shell.endpoint_hits(text, 0, self._tools))
        else:
            commands = shell.split_words(text)
            for hit in shell.variable_hits(commands, self._tools):
                if len(text) > hit.end - hit.start + 1:
                    self._put(found, fragment, [hit])

    def _block(self, language: str, fragment: Fragment, found: Analysis) -> None:
        text = fragment.text
        if language in _SHELL | _ENVIRONMENT | _CONFIGURATION:
            self._put(found, fragment, ruled.hits(text, self._tools))
        if language in _SHELL:
            self._shell(_without_prompts(fragment, _PROMPT), found, expansions=True)
        elif language in ("yaml", "yml"):
            self._put_inner(fragment, found, self._yaml)
        elif language in ("dockerfile", "docker"):
            self._put_inner(fragment, found, self._dockerfile)
        elif language in ("makefile", "make"):
            self._put_inner(fragment, found, self._makefile)
        elif language in _ENVIRONMENT:
            self._environment(fragment, found)
        elif language in ("http", "text", "plaintext", "txt", ""):
            self._put(found, fragment, shell.endpoint_hits(text, 0, self._tools))


def _guess(text: str) -> str:
    """The language of a block that does not say it."""
    if re.search(r"^\s*(?:>>> )?(?:import|from)\s+\w+|^\s*with mlflow\.|^mlflow\.\w+\(", text, re.MULTILINE):
        return "python"
    if re.search(r"^\s*(?:\$ |mlflow |curl |export |docker |pip |kubectl |python )", text, re.MULTILINE):
        return "bash"
    if re.search(r"^\s*MLFLOW_\w+=", text, re.MULTILINE):
        return "env"
    return ""


def _without_prompts(fragment: Fragment, pattern: re.Pattern[str]) -> Fragment:
    spans = []
    continued = False
    for start, end in line_spans(fragment.text):
        found = pattern.match(fragment.text[start:end]) if not continued else None
        comment = found is not None and pattern is _PROMPT and found[0].strip() == "#"
        spans.append((start + (found.end() if found is not None and not comment else 0), end))
        continued = fragment.text[start:end].rstrip("\r\n").endswith("\\")
    return fragment.joined(spans)
