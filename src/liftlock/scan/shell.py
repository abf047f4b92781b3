"""Shell text: simple commands as words with their places, and the uses of MLflow in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from liftlock.scan.hits import Hit, Tools
from liftlock.scan.words import JudgedWord

VARIABLE = re.compile(r"_?MLFLOW_[A-Z][A-Z0-9_]*[A-Z0-9]\Z")
_ENDPOINT = re.compile(
    r"/(?:ajax-)?api/\d\.\d/(?:(?:preview/)?mlflow/[a-z][a-z-]*(?:/[a-z-]+)+(?![\w*/-])|preview/mlflow(?=/?(?:[\s\"'`{$<]|$)))"
)
_EXECUTABLE = re.compile(r"(?:\S*/)?mlflow(?:\.exe|\.cli)?\Z")
_HELD = re.compile(r"\$[({]?MLFLOW(?:_BIN|_CMD|_EXE)?[)}]?\Z")  # $(MLFLOW) of a Makefile
# Programs that run a command which is given to them as one word.
RUNNERS = frozenset({"ssh", "tmux", "screen", "watch", "eval", "su", "runuser", "parallel", "concurrently", "script"})
# Words after which a command stands although the first word of the line is another program.
_BEFORE = frozenset(
    {"--", "run", "exec", "-m", "sudo", "env", "nohup", "time", "xargs", "uvx", "command", "nice", "-i"}
)
_BEFORE |= {
    "do",
    "then",
    "else",
    "!",
    "if",
    "while",
    "until",
    "{",
    "eval",
    "setsid",
    "start",
    "@",
    "-",
    "+",
    "-it",
    "$",
}
# Programs that run what follows their own words.
_WRAPPERS = frozenset(
    {"docker", "docker-compose", "podman", "kubectl", "gosu", "su-exec", "tini", "dumb-init", "timeout"}
)
_WRAPPERS |= {"env", "nice", "conda", "mamba", "micromamba", "uv", "poetry", "opentelemetry-instrument", "ddtrace-run"}


@dataclass(frozen=True)
class Word:
    """One word: its value with quotes removed (None when a variable or substitution is part of it), and its place."""

    value: str | None
    text: str
    start: int
    end: int


def split_words(text: str) -> list[list[Word]]:
    """The simple commands of a shell text; substitutions inside it are commands of their own."""
    return _Splitter(text).run()


class _Splitter:
    def __init__(self, text: str, start: int = 0, end: int | None = None) -> None:
        self._text = text
        self._place = start
        self._end = len(text) if end is None else end
        self.commands: list[list[Word]] = []
        self._command: list[Word] = []
        self._documents: list[tuple[str, bool]] = []
        self.heredocs: list[tuple[int, int, list[Word]]] = []

    def run(self) -> list[list[Word]]:
        text = self._text
        while self._place < self._end:
            character = text[self._place]
            if character == "\n":
                self._finish()
                self._place += 1
                self._skip_documents()
            elif character in " \t\r":
                self._place += 1
            elif character == "\\" and text[self._place + 1 : self._place + 2] in ("\n", "\r"):
                self._place += 3 if text[self._place + 1 : self._place + 3] == "\r\n" else 2
            elif character == "#":
                self._place = self._line_end()
            elif text.startswith("<<", self._place) and not text.startswith("<<<", self._place):
                self._document()
            elif character in ";&|()":
                self._finish()
                self._place += 1
            elif character in "<>":
                self._place += 1
                while self._place < self._end and text[self._place] in "<>&":
                    self._place += 1
                while self._place < self._end and text[self._place] in " \t":
                    self._place += 1
                if self._place < self._end and text[self._place] not in "\n;|&()":
                    self._word()
            else:
                self._command.append(self._word())
        self._finish()
        return self.commands

    def _line_end(self) -> int:
        place = self._text.find("\n", self._place, self._end)
        return self._end if place < 0 else place

    def _finish(self) -> None:
        if self._command:
            self.commands.append(self._command)
            self._command = []

    def _document(self) -> None:
        self._place += 2
        if self._text[self._place : self._place + 1] == "-":
            self._place += 1
        while self._place < self._end and self._text[self._place] in " \t":
            self._place += 1
        word = self._word()
        self._documents.append((word.text.strip("'\"\\"), True))

    def _skip_documents(self) -> None:
        for mark, _ in self._documents:
            start = self._place
            while self._place < self._end:
                end = self._line_end()
                line = self._text[self._place : end]
                stop = self._place
                self._place = min(end + 1, self._end)
                if line.strip() == mark:
                    self.heredocs.append((start, stop, self.commands[-1] if self.commands else []))
                    break
            else:
                self.heredocs.append((start, self._end, self.commands[-1] if self.commands else []))
        self._documents = []

    def _word(self) -> Word:
        text, start = self._text, self._place
        value: list[str] = []
        known = True
        while self._place < self._end:
            character = text[self._place]
            if character in " \t\r\n;&|<>()":
                break
            if character == "\\":
                if text[self._place + 1 : self._place + 2] == "\n":
                    self._place += 2
                    continue
                value.append(text[self._place + 1 : self._place + 2])
                self._place += 2
            elif character == "'":
                end = text.find("'", self._place + 1, self._end)
                end = self._end if end < 0 else end
                value.append(text[self._place + 1 : end])
                self._place = end + 1
            elif character == '"':
                self._place += 1
                while self._place < self._end and text[self._place] != '"':
                    if text[self._place] == "\\":
                        value.append(text[self._place + 1 : self._place + 2])
                        self._place += 2
                    elif text[self._place] in "$`":
                        known = False
                        value.append(self._expansion())
                    else:
                        value.append(text[self._place])
                        self._place += 1
                self._place += 1
            elif text.startswith("{{", self._place):
                end = text.find("}}", self._place, self._end)
                known = False
                self._place = self._end if end < 0 else end + 2
            elif character in "$`":
                known = False
                value.append(self._expansion())
            else:
                value.append(character)
                self._place += 1
        self._place = min(self._place, self._end)
        if self._place == start:
            self._place += 1
        return Word("".join(value) if known else None, text[start : self._place], start, self._place)

    def _expansion(self) -> str:
        """Skip `$x`, `${x}`, `$(...)`, `` `...` ``; commands inside a substitution are kept."""
        text, start = self._text, self._place
        if text[start] == "`":
            end = text.find("`", start + 1, self._end)
            end = self._end if end < 0 else end
            self._inner(start + 1, end)
            self._place = end + 1
        elif text.startswith("$(", start) or text.startswith("${", start):
            opening, closing = text[start + 1], {"(": ")", "{": "}"}[text[start + 1]]
            depth, place = 1, start + 2
            while place < self._end and depth:
                depth += (text[place] == opening) - (text[place] == closing)
                place += 1
            if opening == "(" and not text.startswith("$((", start):
                self._inner(start + 2, place - 1)
            self._place = place
        else:
            matched = re.compile(r"\$(?:\w+|[@*#?$!-])?").match(text, start, self._end)
            self._place = matched.end() if matched is not None and matched.end() > start else start + 1
        return "\0"

    def _inner(self, start: int, end: int) -> None:
        inner = _Splitter(self._text, start, end)
        self.commands += inner.run()


def heredocs(text: str) -> list[tuple[int, int, list[Word]]]:
    """The here-documents of a shell text: their span and the words of the command that reads them."""
    splitter = _Splitter(text)
    splitter.run()
    return splitter.heredocs


def command_hits(commands: Sequence[Sequence[Word]], tools: Tools, *, listed: bool = False) -> Iterator[Hit]:
    """Uses in simple commands: `mlflow ...`, and paths of endpoints in any word. `listed`: each word is an element of
    a list, which has to stay one word.
    """
    for command in commands:
        words = list(command)
        while words and words[0].value is not None and re.match(r"\w+\+?=", words[0].value):
            words.pop(0)
        place = _executable(words, tools)
        if place is not None:
            rest = words[place + 1 :]
            for judged in tools.words.command([word.value for word in rest]):
                first, last = rest[judged.first], rest[judged.last - 1]
                edits: tuple[tuple[int, int, str], ...] = ()
                quoted = last.text[:1] in ("'", '"') and last.text[1:-1] == last.value
                if (last.text == last.value or quoted) and (new := renamed(judged, [word.value for word in rest])):
                    one = new.replace(" ", "=") if listed or quoted else new
                    edits = ((last.start + quoted, last.end - quoted, one),)
                yield Hit(judged.judgement, first.start, last.end, edits)
        for word in words:
            yield from endpoint_hits(word.text, word.start, tools)


def renamed(judged: JudgedWord, words: Sequence[str | None]) -> str:
    """What may stand instead of the last word that was judged, with the same meaning; empty when nothing may."""
    judgement, word = judged.judgement, words[judged.last - 1] or ""
    if judgement.code == "LL301" and judged.last - judged.first == 2:
        options = [each for each in words[judged.last :] if each is None or each.startswith("-")]
        if judgement.rename == "search" and any(each not in ("--view", "-v") for each in options):
            return ""
        return judgement.rename
    return judgement.rename if judgement.code == "LL304" and "=" not in word else ""


def _executable(words: Sequence[Word], tools: Tools) -> int | None:
    """Where in a simple command the program `mlflow` stands, or None."""
    for number, word in enumerate(words):
        named = word.value is not None and _EXECUTABLE.match(word.value)
        if not (named or _HELD.match(word.text)) or number + 1 >= len(words):
            continue
        following = words[number + 1].value
        if following is None or following in ("=", "=="):
            return None
        first = words[0].value or ""
        before = words[number - 1].value if number else ""
        option = following.startswith("-")
        known = following in tools.words.roots or (option and tools.words.is_command(following))
        if number == 0:
            return number if known or re.fullmatch(r"[a-z][a-z-]*", following) or option else None
        if before in _BEFORE:
            if before in ("exec", "run") and first in ("docker", "docker-compose", "podman") and not known:
                continue
            if known or before in ("--", "-m", "sudo", "nohup", "time"):
                return number
            continue  # the name of a container or a deployment
        if known and not option and first in _WRAPPERS:
            return number
    return None


def endpoint_hits(text: str, offset: int, tools: Tools) -> Iterator[Hit]:
    """Paths of endpoints anywhere in a text."""
    if "api/" not in text:
        return
    for found in _ENDPOINT.finditer(text):
        judgement = tools.words.endpoint(found[0])
        if judgement is not None:
            start, end = offset + found.start(), offset + found.end()
            edits: tuple[tuple[int, int, str], ...] = ()
            if (new := tools.words.moved(found[0], judgement)) and new != found[0]:
                edits = ((start, end, new),)
            yield Hit(judgement, start, end, edits)


def assignment(word: Word) -> tuple[str, int, int] | None:
    """The variable a word assigns: its name and place."""
    found = re.match(r"([A-Za-z_]\w*)\+?=", word.text)
    return (found[1], word.start, word.start + len(found[1])) if found is not None else None


def variable_hit(name: str, start: int, end: int, tools: Tools) -> Hit | None:
    """A use of an environment variable MLflow does not read (any more)."""
    if not VARIABLE.match(name) or name.startswith("_"):
        return None
    judgement = tools.judge.variable(name)
    return Hit(judgement, start, end) if judgement is not None else None


_EXPANDED = re.compile(r"\$\{?(MLFLOW_[A-Z0-9_]*[A-Z0-9])\b")


def variable_hits(commands: Sequence[Sequence[Word]], tools: Tools) -> Iterator[Hit]:
    """Variables set (`X=1`, `export X=1`, `-e X=1`) and expanded (`$X`) in simple commands."""
    for command in commands:
        for word in command:
            assigned = assignment(word)
            if assigned is not None:
                hit = variable_hit(*assigned, tools)
                if hit is not None:
                    yield hit
            for found in _EXPANDED.finditer(word.text):
                hit = variable_hit(found[1], word.start + found.start(1), word.start + found.end(1), tools)
                if hit is not None:
                    yield hit
