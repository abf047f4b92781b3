"""What holds commands, and the languages inside those: shell, makefiles, Dockerfiles, YAML, lists of variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from liftlock.scan import shell
from liftlock.scan.hits import Hit, Tools
from liftlock.scan.model import Verdict
from liftlock.scan.python.index import Index
from liftlock.scan.python.infer import Inference
from liftlock.scan.python.parse import parse
from liftlock.scan.python.scopes import Module
from liftlock.scan.python.uses import Uses
from liftlock.scan.surfaces import docs, notebook, pins, yamls
from liftlock.scan.text import Fragment, line_spans

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


class Scripts:
    """Reads pieces of text of which it is known what language they are in; each method adds to `found`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

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
            self._words(fragment, list(json_words(fragment.text)), found)
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

    def _put_inner(self, fragment: Fragment, found: Analysis, analyse: Callable[[Fragment, Analysis], None]) -> None:
        inner = Analysis()
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


def json_words(text: str) -> Iterator[tuple[str | None, int, int]]:
    """The strings of a JSON list with their places, quotes included; None for one that a variable is put into."""
    for found in re.finditer(r'"((?:[^"\\]|\\.)*)"', text):
        yield (None if "$" in found[1] else found[1]), found.start(), found.end()


def _set(commands: list[list[shell.Word]]) -> set[int]:
    return {word.start for command in commands for word in command if shell.assignment(word) is not None}
