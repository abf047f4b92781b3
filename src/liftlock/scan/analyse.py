"""One file's text to hits: the analyser of its kind, and the languages inside it, however deep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from liftlock.scan import shell
from liftlock.scan.hits import Hit, Tools
from liftlock.scan.model import Verdict
from liftlock.scan.python.index import Index
from liftlock.scan.python.infer import Inference
from liftlock.scan.python.parse import parse
from liftlock.scan.python.scopes import Module
from liftlock.scan.python.uses import Uses
from liftlock.scan.surfaces import Kind, book_of, docs, notebook, pins, ruled, sources, yamls
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
_INSTRUCTION = re.compile(r"^\s*(?P<name>RUN|CMD|ENTRYPOINT|ENV|ARG|HEALTHCHECK|SHELL)\s+(?:--\S+\s+)*", re.IGNORECASE)
_ASSIGNED = re.compile(r"^\s*(?:export\s+|set\s+)?(?P<name>MLFLOW_[A-Z0-9_]*[A-Z0-9])\s*[?:+]?=", re.MULTILINE)
# `ExecStart=...` of systemd, `command=...` of supervisord; and the variables beside them.
_UNIT = re.compile(
    r"^\s*(?:Exec(?:Start|Stop|Reload)\w*\s*=\s*[-@:+!]*|command\s*=\s*|environment\s*=\s*[\"']?)"
    r"(?P<command>.*(?:mlflow|MLFLOW).*?)[\"']?\s*$",
    re.MULTILINE | re.IGNORECASE,
)
_HEREDOC = re.compile(r"<<-?\s*[\"']?(?P<mark>\w+)")
_RECIPE = re.compile(r"[^\s#:=][^#:=]*::?(?!=)[^=;#]*;[ \t]*[-@+]*")  # `target: needs ; command` of make
_MARK = re.compile(r"^\s*[-@+]*[-@+]")


@dataclass
class Analysis:
    """The uses found in one file, in places of its text; `partial` says why not all of it was seen."""

    hits: list[Hit] = field(default_factory=list)
    partial: str = ""


class Analyser:
    """Reads files with what is known of the whole tree."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

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

    def _put(self, found: Analysis, fragment: Fragment, hits: Iterable[Hit]) -> None:
        for hit in hits:
            start, end = fragment.span(hit.start, hit.end)
            edits = tuple(
                (*fragment.span(first, last), text)
                if last > first
                else (fragment.raw(first), fragment.raw(first), text)
                for first, last, text in hit.edits
                if fragment.exact(first, max(last, first + 1))
            )
            found.hits.append(Hit(hit.judgement, start, end, edits if len(edits) == len(hit.edits) else ()))

    # -- Python -------------------------------------------------------------------------------------------------------

    def _python(self, fragments: Iterable[Fragment], found: Analysis) -> None:
        """Pieces of Python that may use each other's names, read as one."""
        whole = notebook.concatenated(
            (f"{each.text}\n", each.pieces) for each in fragments if _readable(each.text)
        )  # fmt: skip
        if "mlflow" not in whole.text:
            return
        try:
            tree = parse(whole.text)[0]
        except SyntaxError:
            return
        module = Module("fragment.py", "fragment", False, tree)
        self._put(found, whole, Uses(module, whole.text, Inference(Index([module])), self._tools).run())

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
                words = [(word, piece.start + start, piece.start + end) for word, start, end in _json_words(text)]
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

    # -- Shell and what holds shell -----------------------------------------------------------------------------------

    def _shell(self, fragment: Fragment, found: Analysis, *, expansions: bool = False) -> None:
        tools = self._tools
        commands = shell.split_words(fragment.text)
        hits = shell.command_hits(commands, tools)
        self._put(found, fragment, (hit for hit in hits if not (expansions and _is_prose(hit, fragment.text))))
        self._put(found, fragment, self._variables(commands, expansions))
        self._put(found, fragment, pins.installed(commands, self._tools))
        for start, end, reader in shell.heredocs(fragment.text):
            inner = fragment.part(start, end)
            program = (reader[0].value or "") if reader else ""
            names = " ".join(word.text for word in reader)
            if re.search(r"\bpython[\d.]*\b", names):
                self._python([inner], found)
            elif program in ("sh", "bash") or re.search(r"\b(?:ba)?sh\b", names):
                self._shell(inner, found)
            else:
                self._environment(inner, found)
        for command in commands:
            if command and command[0].value in shell.RUNNERS:
                for word in command[1:]:
                    if word.text[:1] in ("'", '"') and re.match(r".(?:\S+=\S* |cd \S+ && )*mlflow ", word.text):
                        self._shell(fragment.part(word.start + 1, word.end - 1), found)
            for number, word in enumerate(command):
                if word.text == "-c" and number and number + 1 < len(command):
                    program = command[number - 1].value or ""
                    quoted = command[number + 1]
                    if quoted.text[:1] not in "\"'" or len(quoted.text) < 3:
                        continue
                    inner = fragment.part(quoted.start + 1, quoted.end - 1)
                    if re.search(r"python[\d.]*$", program):
                        self._python([inner], found)
                    elif re.search(r"(?:^|/)(?:ba|z|da)?sh$", program):
                        self._shell(inner, found)

    def _variables(self, commands: list[list[shell.Word]], expansions: bool) -> Iterator[Hit]:
        for hit in shell.variable_hits(commands, self._tools):
            if hit.judgement.verdict is not Verdict.UNKNOWN or expansions or hit.start in _set(commands):
                yield hit

    def _makefile(self, whole: Fragment, found: Analysis) -> None:
        recipe: list[tuple[int, int]] = []
        continued = False
        for start, end in line_spans(whole.text):
            line = whole.text[start:end]
            if line.startswith(("\t", "    ")) or continued:
                mark = _MARK.match(line) if not continued else None
                recipe.append((start + (mark.end() if mark else 0), end))
                continued = line.rstrip("\r\n").endswith("\\")
            elif assigned := _ASSIGNED.match(line):
                self._put_variable(whole, assigned["name"], start + assigned.start("name"), found)
            elif inline := _RECIPE.match(line):
                recipe.append((start + inline.end(), end))
                continued = line.rstrip("\r\n").endswith("\\")
        self._shell(whole.joined(recipe), found)

    def _put_variable(self, fragment: Fragment, name: str, start: int, found: Analysis) -> None:
        hit = shell.variable_hit(name, start, start + len(name), self._tools)
        if hit is not None:
            self._put(found, fragment, [hit])

    def _dockerfile(self, whole: Fragment, found: Analysis) -> None:
        found.hits += pins.pythons(whole.text, self._tools, "image")
        found.hits += pins.requirements(whole.text, self._tools)
        lines = line_spans(whole.text)
        number = 0
        while number < len(lines):
            start, end = lines[number]
            spans = [(start, end)]
            while number + 1 < len(lines) and _goes_on(whole.text[start:end], first=len(spans) == 1):
                number += 1
                start, end = lines[number]
                spans.append((start, end))
            number += 1
            head = _INSTRUCTION.match(whole.text[slice(*spans[0])])
            if head is None:
                continue
            document = _HEREDOC.search(whole.text[slice(*spans[-1])])
            if document is not None and head["name"].upper() == "RUN":
                while number < len(lines) and whole.text[slice(*lines[number])].strip() != document["mark"]:
                    spans.append(lines[number])
                    number += 1
                self._shell(whole.joined(spans[1:]), found)
                spans = spans[:1]
            kept = [each for each in spans if not whole.text[slice(*each)].lstrip().startswith("#")]
            fragment = whole.joined([(spans[0][0] + head.end(), spans[0][1]), *kept[1:]])
            self._instruction(head["name"].upper(), fragment, found)

    def _instruction(self, name: str, fragment: Fragment, found: Analysis) -> None:
        if name in ("ENV", "ARG"):
            for each in re.finditer(r"(?:^|\s)(MLFLOW_[A-Z0-9_]*[A-Z0-9])(?==|\s)", fragment.text):
                self._put_variable(fragment, each[1], each.start(1), found)
        elif fragment.text.lstrip().startswith("["):
            self._words(fragment, list(_json_words(fragment.text)), found)
        else:
            self._shell(fragment, found)

    def _words(self, fragment: Fragment, words: list[tuple[str | None, int, int]], found: Analysis) -> None:
        """A list of words that is run without a shell, or by `sh -c`."""
        command = [shell.Word(value, fragment.text[start:end], start, end) for value, start, end in words]
        for number, word in enumerate(command):
            quoted = word.text[:1] in ("'", '"')
            inner = fragment.part(word.start + quoted, word.end - quoted)
            if " " in inner.text:
                shells = number and command[number - 1].value in ("-c", "-lc", "-ec", "-cx", "-xc")
                if shells or re.match(r"(?:\S*/)?mlflow\s", inner.text):
                    self._shell(inner, found)
        self._put(found, fragment, shell.command_hits([command], self._tools, listed=True))

    def _yaml(self, whole: Fragment, found: Analysis) -> None:
        found.hits += pins.pythons(whole.text, self._tools, "yaml")
        found.hits += pins.requirements(whole.text, self._tools, conda=True)
        program = False
        for part in yamls.parts(whole.text):
            match part:
                case yamls.Text():
                    self._shell(part.fragment, found)
                    program = part.fragment.text.strip() == "mlflow"
                case yamls.Words():
                    words = list(part.words)
                    first = words[0][0] if words else None
                    if program and first in self._tools.words.roots:
                        words.insert(0, ("mlflow", words[0][1], words[0][1]))
                    program = [value for value, _, _ in words] == ["mlflow"]
                    self._words(whole, words, found)
                case yamls.Variable():
                    self._put_variable(whole, part.name, part.start, found)

    def _environment(self, fragment: Fragment, found: Analysis) -> None:
        for unit in _UNIT.finditer(fragment.text):
            self._shell(fragment.part(*unit.span("command")), found)
        for assigned in _ASSIGNED.finditer(fragment.text):
            self._put_variable(fragment, assigned["name"], assigned.start("name"), found)

    # -- Documents ----------------------------------------------------------------------------------------------------

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

    def _put_inner(self, fragment: Fragment, found: Analysis, analyse: object) -> None:
        inner = Analysis()
        assert callable(analyse)
        analyse(Fragment(fragment.text), inner)
        self._put(found, fragment, inner.hits)


def _goes_on(line: str, *, first: bool) -> bool:
    """Whether an instruction of a Dockerfile continues behind a line; comments inside one do not end it."""
    return line.rstrip().endswith("\\") or (not first and line.lstrip().startswith("#"))


def _is_prose(hit: Hit, text: str) -> bool:
    """Whether what looks like a command that never was is a line of output: `mlflow is running on port 5000`."""
    if hit.judgement.code != "LL302":
        return False
    end = text.find("\n", hit.end)
    return docs.PROSE.search(text, hit.end, end if end >= 0 else len(text)) is not None


def _readable(text: str) -> bool:
    """Whether a piece is Python, or says by its imports that it means to be."""
    try:
        whole = parse(text)[2]
    except SyntaxError:
        return False
    return whole or re.search(r"^\s*(?:import|from)\s+mlflow\b", text, re.MULTILINE) is not None


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


def _json_words(text: str) -> Iterator[tuple[str | None, int, int]]:
    for found in re.finditer(r'"((?:[^"\\]|\\.)*)"', text):
        yield (None if "$" in found[1] else found[1]), found.start(), found.end()


def _set(commands: list[list[shell.Word]]) -> set[int]:
    return {word.start for command in commands for word in command if shell.assignment(word) is not None}
