"""Commands of `mlflow` and paths of endpoints, judged against A and B."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from liftlock.scan import facts
from liftlock.scan.history import Existence
from liftlock.scan.judge import Judge
from liftlock.scan.model import Confidence, Judgement, Verdict, origin
from liftlock.scan.rules.registry import Rules

_PLAIN = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*\Z")
_OPTION = re.compile(r"--?[A-Za-z][\w-]*")
_HELP = ("--help", "--version")
# Endpoints that only Databricks serves under the same prefix.
_FOREIGN = re.compile(
    r"(?:databricks|transition-requests|registry-webhooks|comments|unity-catalog|activities|deployments|webhooks"
    r"|feature|dbfs|client-telemetry|mlflow-artifacts|users|permissions|model-versions/(?:list-artifacts|generate|get-signed)|runs/list-artifacts"
    r"|registered-models/(?:generate|get-signed)|artifacts/credentials|traces|logged-models)\b"
)


@dataclass
class JudgedWord:
    """A judgement of some words of a command: from which to which (exclusive)."""

    judgement: Judgement
    first: int
    last: int


class Words:
    """Judges what is written as words: commands and endpoint paths."""

    def __init__(self, judge: Judge, rules: Rules) -> None:
        self._judge, self._rules = judge, rules
        self._history = judge.history
        self._children = functools.cache(self._below)
        self.endpoint = functools.cache(self._endpoint)

    @functools.cached_property
    def roots(self) -> frozenset[str]:
        """The first words of all commands of all releases."""
        return frozenset(key.split(" ")[0] for key in self._keys if not key.startswith("-"))

    @functools.cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(self._judge.catalogue.coded("cli").events)

    def is_command(self, words: str) -> bool:
        """Whether any release has a command of these words."""
        return words in self._keys

    # -- Commands -----------------------------------------------------------------------------------------------------

    def command(self, words: Sequence[str | None], start: str = "") -> list[JudgedWord]:
        """The words after `mlflow`; None is a word that is not known as it stands (a variable, a template)."""
        found = self._words(words, start)
        if not start and words and not any(each.judgement.verdict is Verdict.BROKEN for each in found):
            found += [JudgedWord(judgement, at, at + 1) for judgement, at in self._rules.command(words)]
        return found

    def _words(self, words: Sequence[str | None], start: str) -> list[JudgedWord]:
        path, found, first = start, list[JudgedWord](), 0
        number = 0
        while number < len(words):
            word = words[number]
            if word is None:
                if self._is_group(path):
                    return found  # a sub-command that cannot be seen
                number += 1
                continue
            if word == "--":
                return found
            if word.startswith("-") and len(word) > 1 and " " not in word:
                found += self._option(path, word, number)
                number += self._takes(path, word, words[number + 1] if number + 1 < len(words) else None)
                continue
            longer = f"{path} {word}".strip()
            if self._is_group(path):
                if longer in self._keys:
                    path, first = longer, (first if path else number)
                else:
                    if _PLAIN.match(word):
                        found += self._never(longer, first if path else number, number)
                    return found
                if (judgement := self._known(path)) is not None:
                    deeper = words[number + 1] if number + 1 < len(words) else None
                    if deeper is None or f"{path} {deeper}" not in self._keys or not self._is_group(path):
                        return [*found, JudgedWord(judgement, first, number + 1)]
            number += 1
        return found

    def _is_group(self, path: str) -> bool:
        return path == "" or any(key.startswith(f"{path} ") and key[len(path) + 1 :].islower() and " " not in key[
            len(path) + 1 :] and not key[len(path) + 1 :].startswith("-") for key in self._children(path))  # fmt: skip

    def _below(self, path: str) -> tuple[str, ...]:
        return tuple(key for key in self._keys if key.startswith(f"{path} "))

    def _takes(self, path: str, word: str, following: str | None) -> int:
        """1, or 2 when the option takes the next word and that could be mistaken for a command or an option."""
        if "=" in word or word in _HELP or following is None:
            return 1
        if not self._is_group(path) and (not following.startswith("-") or f"{path} {following}" in self._keys):
            return 1
        fact = self._fact(f"{path} {word}".strip())
        if fact is not None and fact.startswith("alias of "):
            fact = self._fact(fact.removeprefix("alias of "))
        return 2 if fact is not None and "is_flag=True" not in fact else 1

    def _fact(self, key: str) -> str | None:
        last = self._history.key("cli", key).last()
        fact = self._judge.catalogue.coded("cli").fact(key, last) if last is not None else None
        return fact.value if fact is not None else None

    def _known(self, path: str) -> Judgement | None:
        existence = self._history.key("cli", path)
        if existence.in_old and existence.in_new:
            return None
        if not existence.in_old and existence.in_new:
            return self._newer("LL303", f"mlflow {path}", existence)
        note = facts.of_command(path)
        judgement = self._removed("LL301", f"mlflow {path}", existence, note)
        return judgement

    def _never(self, path: str, first: int, number: int) -> list[JudgedWord]:
        note = facts.of_command(path)
        replacement = note.replacement if note is not None else self._near(path)
        judgement = Judgement(
            code="LL302", verdict=Verdict.BROKEN, symbol=f"mlflow {path}", origin=origin(note),
            message=f"no release of MLflow since 1.0 has the command mlflow {path}", replacement=replacement,
        )  # fmt: skip
        return [JudgedWord(judgement, first, number + 1)]

    def _near(self, path: str) -> str:
        import difflib

        owner, _, name = path.rpartition(" ")
        choices = [key for key in self._children(owner) if self._history.key("cli", key).in_new] if owner else [
            key for key in self.roots if self._history.key("cli", key).in_new]  # fmt: skip
        names = {key.rpartition(" ")[2] for key in choices if "-" not in key.rpartition(" ")[2][:1]}
        near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.7)
        return f"mlflow {owner} {near[0]}".replace("  ", " ") if near else ""

    def _option(self, path: str, word: str, number: int) -> list[JudgedWord]:
        matched = _OPTION.match(word)
        option = matched[0] if matched is not None else ""
        if not option or option in _HELP or re.fullmatch(r"-\d.*", word):
            return []
        if not option.startswith("--"):
            option = option[:2]
        key = f"{path} {option}".strip()
        existence = self._history.key("cli", key)
        command = self._history.key("cli", path) if path else None
        if command is not None and not (command.in_old or command.in_new):
            return []
        if self._is_group(path) and path:
            return []
        if existence.in_old and existence.in_new:
            return []
        symbol = f"mlflow {key}"
        note = facts.of_option(key)
        judgement: Judgement | None
        if not existence.ever:
            if not option.startswith("--"):
                return []  # bundled short options, or an argument such as -1
            judgement = Judgement(
                code="LL305", verdict=Verdict.BROKEN, symbol=symbol, origin=origin(note),
                message=f"no release of MLflow has {option} for mlflow {path}".rstrip(),
                replacement=note.replacement if note is not None else "",
            )  # fmt: skip
        elif not existence.in_old and existence.in_new:
            judgement = self._newer("LL306", symbol, existence)
        else:
            judgement = self._removed("LL304", symbol, existence, note)
        return [JudgedWord(judgement, number, number + 1)] if judgement is not None else []

    def _newer(self, code: str, symbol: str, existence: Existence) -> Judgement | None:
        """Broken in A, and right in B."""
        old = self._history.releases[self._history.old]
        return Judgement(
            code=code, verdict=Verdict.BROKEN, symbol=symbol, changed_in=existence.added_in,
            message=f"{symbol} does not exist in {old}; {existence.added_in} added it",
        )  # fmt: skip

    def _removed(self, code: str, symbol: str, existence: Existence, note: facts.Note | None) -> Judgement | None:
        if existence.later or not existence.removed_in:
            source = self._history.releases[self._history.new]
            return Judgement(
                code={"LL301": "LL303"}.get(code, "LL306"), verdict=Verdict.BROKEN, symbol=symbol,
                changed_in=existence.added_in,
                message=f"{symbol} does not exist in {source} either; {existence.added_in} added it",
            )  # fmt: skip
        how = " already" if existence.gone_before else ""
        return Judgement(
            code=code, verdict=Verdict.BREAKS if existence.in_old else Verdict.BROKEN, symbol=symbol,
            message=f"{symbol} was removed in {existence.removed_in}{how}", changed_in=existence.removed_in,
            replacement=note.replacement if note is not None else "", origin=origin(note),
            rename=note.rename if note is not None else "", safe=note.safe if note is not None else True,
        )  # fmt: skip

    # -- Endpoints ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _templates(self) -> list[tuple[re.Pattern[str], str]]:
        found = []
        for key in self._judge.catalogue.coded("rest").events:
            path = key.partition(" ")[2]
            pattern = "".join(
                (".+" if part.endswith("path}") else "[^/]+") if part.startswith("{") else re.escape(part)
                for part in re.split(r"(\{\w+\})", path)
            )
            found.append((re.compile(pattern + r"\Z"), key))
        return found

    @functools.cached_property
    def relative(self) -> frozenset[str]:
        """The parts of paths behind `/api/2.0/mlflow/` of endpoints that any release ever dropped."""
        paths = set()
        for key in self._judge.catalogue.coded("rest").events:
            existence = self._history.key("rest", key)
            found = re.search(r"/api/\d\.0/mlflow/([a-z][a-z-]*/[a-z][a-z/-]*)$", key)
            if found and not existence.in_new and existence.removed_in:
                paths.add(found[1])
        kept = {key.rpartition("/mlflow/")[2] for key in self._judge.catalogue.coded("rest").events
                if self._history.key("rest", key).in_new}  # fmt: skip
        return frozenset(paths - kept)

    @functools.cached_property
    def _resources(self) -> frozenset[str]:
        """The first parts of all endpoints behind `/mlflow/`: experiments, runs, ..."""
        keys = self._judge.catalogue.coded("rest").events
        return frozenset(found[1] for key in keys if (found := re.search(r"/mlflow/([a-z][a-z-]*)/", key)))

    @functools.cached_property
    def _verbs(self) -> frozenset[str]:
        """The last parts of all endpoints: list, search, log-metric, ...; and one people invent."""
        keys = self._judge.catalogue.coded("rest").events
        return frozenset(key.rpartition("/")[2] for key in keys) | {"export"}

    def moved(self, path: str, judgement: Judgement) -> str:
        """The path that B serves instead of one it has dropped; empty when that is not known."""
        new = path.replace("/preview/mlflow", "/mlflow")
        tail = judgement.symbol.partition("/mlflow/")[2]
        if judgement.rename and tail and new.endswith(tail):
            new = new.removesuffix(tail) + judgement.rename
        if new.endswith("/mlflow") or self._served(new):
            return new
        again = self.endpoint("/" + new.lstrip("/")) if new != path else None
        return self.moved(new, again) if again is not None and again.safe else ""

    def _served(self, path: str) -> bool:
        keys = [key for pattern, key in self._templates if pattern.match("/" + path.lstrip("/"))]
        return any(self._history.key("rest", key).in_new for key in keys)

    def _endpoint(self, path: str) -> Judgement | None:
        """A whole path, `/api/2.0/mlflow/experiments/list`, without host and query."""
        keys = [key for pattern, key in self._templates if pattern.match(path)]
        if path.endswith("/preview/mlflow"):  # the beginning of all of them
            keys = [key for key in self._judge.catalogue.coded("rest").events if path in key]
        flags = [self._history.key("rest", key) for key in keys]
        if any(each.in_new for each in flags):
            return None
        rest = re.sub(r"^/(?:ajax-)?api/\d\.\d/", "", path)
        note = facts.of_endpoint(path)
        if not keys:
            tail = rest.removeprefix("preview/").removeprefix("mlflow/")
            if not re.fullmatch(r"[a-z][a-z-]*/[a-z][a-z-]*", tail) or _FOREIGN.match(tail):
                return None
            if tail.partition("/")[0] not in self._resources or tail.partition("/")[2] not in self._verbs:
                return None  # a plugin's or another product's own
            if not rest.startswith("mlflow/") or not re.match(r"/(?:ajax-)?api/[23]\.0/", path):
                return None
            return Judgement(
                code="LL402", verdict=Verdict.BROKEN, symbol=path, confidence=Confidence.LIKELY,
                message=f"no release of MLflow serves {path}", replacement=note.replacement if note else "",
                origin=origin(note),
            )  # fmt: skip
        existence = max(flags, key=lambda each: each.last() or -1)
        if rest.startswith("preview/"):
            note = facts.of_endpoint(path)
        if existence.later or not existence.removed_in:
            return None
        how = " already" if existence.gone_before else ""
        return Judgement(
            code="LL401", verdict=Verdict.BREAKS if existence.in_old else Verdict.BROKEN, symbol=path,
            message=f"{path} was removed in {existence.removed_in}{how}", changed_in=existence.removed_in,
            replacement=note.replacement if note is not None else "", origin=origin(note),
            rename=note.rename if note is not None else "", safe=note.safe if note is not None else True,
        )  # fmt: skip
