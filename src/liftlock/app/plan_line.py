"""This deployment's own command line and variables, held against what two releases accept. Pure."""

from __future__ import annotations

from liftlock.describe import options
from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.extract.facts import Section
from liftlock.model.deployment import ServerFacts
from liftlock.model.release import Release
from liftlock.report.plan_content import LineState, LineWord

_WIDTH = 60


def own_words(server: ServerFacts) -> tuple[str, ...]:
    """Every option the server is run with, as its long name."""
    words = ["--backend-store-uri", "--host", "--port"]
    words += ["--workers"] if server.workers is not None else []
    words += ["--app-name"] if server.app_name else []
    return tuple(dict.fromkeys([*words, *options.parse(server.arguments, {}).given]))


def own_line(catalogue: Catalogue, server: ServerFacts, target: Release) -> tuple[LineWord, ...]:
    """What becomes of each option and each MLFLOW_ variable the server is run with."""
    old, new = catalogue.section("cli", server.release), catalogue.section("cli", target)
    found = [_judged(word, f"server {word}", old, new) for word in own_words(server)]
    before, after = catalogue.section("environment", server.release), catalogue.section("environment", target)
    found += [_judged(name, name, before, after) for name in sorted(server.environment) if name.startswith("MLFLOW_")]
    return tuple(found)


def new_options(catalogue: Catalogue, source: Release, target: Release) -> tuple[str, ...]:
    """Options of `mlflow server` that the target has and the source has not."""
    had = catalogue.section("cli", source)
    has = catalogue.section("cli", target)
    names = (key.removeprefix("server ") for key in has if key.startswith("server --") and key not in had)
    return tuple(sorted(names))


def changed_defaults(catalogue: Catalogue, server: ServerFacts, target: Release) -> tuple[LineWord, ...]:
    """Options of `mlflow server` and variables this deployment does not set and whose default is another one."""
    mine = {*own_words(server), *server.environment}
    found: list[LineWord] = []
    for section, prefix in (("cli", "server "), ("environment", "")):
        old, new = catalogue.section(section, server.release), catalogue.section(section, target)
        for key in sorted(old.keys() & new.keys()):
            name = key.removeprefix(prefix)
            if not key.startswith(f"{prefix}--" if prefix else "MLFLOW_") or name in mine:
                continue
            before, after = _default(old[key].value), _default(new[key].value)
            if before and before != after and "Unknown(" not in before + after:
                found.append(LineWord(word=name, state=LineState.CHANGED, before=before, after=after))
    return tuple(found)


def _judged(word: str, key: str, old: Section, new: Section) -> LineWord:
    if key in new:
        return LineWord(word=word, state=LineState.KEPT)
    return LineWord(word=word, state=LineState.GONE if key in old else LineState.FOREIGN)


def _default(value: str) -> str:
    """What a fact says of the default, short: `default=4 envvar=X` is `4`, `int = 5` is `5`; a source is no default."""
    if value.startswith("default="):
        value = value.removeprefix("default=").partition(" envvar=")[0].partition(" type=")[0].partition(" is_flag")[0]
    elif " = " in value:
        value = value.partition(" = ")[2]
    else:
        return ""
    return value if len(value) <= _WIDTH else value[: _WIDTH - 3] + "..."
