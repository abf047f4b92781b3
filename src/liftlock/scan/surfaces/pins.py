"""Requirements that exclude release B, Pythons it does not run on, and models of flavors it does not load."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from liftlock.scan.hits import Hit, Tools
from liftlock.scan.model import Judgement, Verdict
from liftlock.scan.shell import Word
from liftlock.scan.text import Fragment, line_spans

_NUMBER = r"\d+(?:\.\d+)*(?:\.\*)?"
_SPECIFIERS = rf"(?:===|==|~=|!=|<=|>=|<|>)\s*{_NUMBER}(?:\s*,\s*(?:===|==|~=|!=|<=|>=|<|>)\s*{_NUMBER})*"
_REQUIREMENT = re.compile(
    rf"(?<![\w./@-])mlflow(?:-skinny|-tracing)?\s*(?:\[[^\]\n]*\])?\s*\(?\s*(?P<pin>{_SPECIFIERS})(?![\w.])"
)
_POETRY = re.compile(
    rf"^\s*mlflow(?:-skinny)?\s*=\s*(?:\{{.*?version\s*=\s*)?[\"'](?P<pin>[~^]?{_NUMBER}|{_SPECIFIERS})[\"']",
    re.MULTILINE,
)
_CONDA = re.compile(rf"^\s*-\s*[\"']?mlflow(?:-skinny)?(?P<pin>=(?!=){_NUMBER})", re.MULTILINE)
_PYTHON_YAML = re.compile(
    r"^\s*-\s*[\"']?python(?P<pin>(?:={1,2}|<=?)\s*\d+(?:\.\d+)*)"
    r"|^\s*(?:-\s+)?(?:image|container):\s*[\"']?(?:[\w.-]+/)*python:(?P<image>\d+\.\d+)"
    r"|^\s*(?:-\s+)?python-version:\s*[\"']?(?P<number>\d+\.\d+)(?:\.\d+)?[\"']?\s*(?:#.*)?$",
    re.MULTILINE,
)
_PYTHON_PROJECT = re.compile(
    rf"(?:^|(?<=[\s,(]))(?:requires-python|python_requires|python)\s*=\s*[\"']?(?P<pin>{_SPECIFIERS}|[~^]?{_NUMBER})(?=[\"'\s]|$)",
    re.MULTILINE,
)
_PYTHON_IMAGE = re.compile(
    r"^\s*FROM\s+(?:--platform=\S+\s+)?(?:[\w.-]+/)*python:(?P<pin>\d+\.\d+)"
    r"|^\s*ARG\s+PYTHON_VERSION=[\"']?(?P<number>\d+\.\d+)",
    re.MULTILINE | re.IGNORECASE,
)
_PYTHONS = tuple(Version(f"3.{minor}") for minor in range(5, 16))


def requirements(text: str, tools: Tools, *, conda: bool = False) -> Iterator[Hit]:
    """Pins of MLflow, in requirements, pyproject, setup and Conda files."""
    patterns = (_REQUIREMENT, _POETRY, *((_CONDA,) if conda else ()))
    target = tools.judge.target
    for pattern in patterns:
        for found in pattern.finditer(text):
            before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
            if "#" in before:
                continue
            pin = found["pin"]
            if _allows(pin, target.key):
                continue
            yield Hit(_excluded(pin, tools), found.start("pin"), found.end("pin"))


def _excluded(pin: str, tools: Tools) -> Judgement:
    target = tools.judge.target
    return Judgement(
        code="LL601", verdict=Verdict.BREAKS, symbol=f"mlflow{pin}", changed_in=target.version,
        message=f"mlflow{pin} keeps MLflow {target} out", replacement=f"liftlock pin {target}",
    )  # fmt: skip


def pythons(text: str, tools: Tools, kind: str) -> Iterator[Hit]:
    """Python versions that release B does not run on; `kind` is yaml, project or image."""
    floor = tools.judge.catalogue.python(tools.judge.target)
    pattern = {"yaml": _PYTHON_YAML, "project": _PYTHON_PROJECT, "image": _PYTHON_IMAGE}[kind]
    if not floor:
        return
    needed = SpecifierSet(floor)
    for found in pattern.finditer(text):
        group = next(name for name, value in found.groupdict().items() if value is not None)
        pin = found[group].replace(" ", "")
        if pin.startswith("=") or pin[0].isdigit():
            pin = re.sub(r"(\d+\.\d+)\.\d+$", r"\1", pin)
        wanted = pin if not pin[0].isdigit() else f"=={pin}"
        possible = [each for each in _PYTHONS if _allows(wanted, each)]
        if not possible or any(needed.contains(str(each)) for each in possible):
            continue
        judgement = Judgement(
            code="LL602", verdict=Verdict.BREAKS, symbol=f"python{pin}", changed_in=_since(tools, possible),
            message=f"MLflow {tools.judge.target} needs Python {floor}, this says {pin}", replacement=f"python{floor}",
        )  # fmt: skip
        yield Hit(judgement, *found.span(group))


def _since(tools: Tools, possible: list[Version]) -> str:
    history = tools.judge.history
    for release in history.releases[: history.new + 1]:
        floor = tools.judge.catalogue.python(release)
        if floor and not any(SpecifierSet(floor).contains(str(each)) for each in possible):
            return release.version
    return ""


def _allows(pin: str, version: Version) -> bool:
    """Whether a pin (PEP 440, Poetry or Conda) allows a version; True when it cannot be read."""
    text = pin.strip()
    if text.startswith("^"):
        parts = [int(part) for part in text[1:].split(".") if part.isdigit()]
        return bool(parts) and version >= Version(text[1:]) and version.release[0] == parts[0]
    if text.startswith("~") and not text.startswith("~="):
        parts = [int(part) for part in text[1:].split(".") if part.isdigit()]
        return list(version.release[: max(min(len(parts), 2), 1)]) == parts[:2]
    if text.startswith("=") and not text.startswith("=="):
        text = f"=={text[1:].removesuffix('.*')}.*"
    if text[:1].isdigit():
        text = f"=={text}"
    try:
        return SpecifierSet(text).contains(str(version), prereleases=True)
    except InvalidSpecifier:
        return True


_INSTALLED = re.compile(
    rf"[\"']?mlflow(?:-skinny)?(?:\[[^\]]*\])?\s*@?(?P<pin>{_SPECIFIERS}|[~^]{_NUMBER}|=(?!=){_NUMBER})[\"']?$"
)
_INSTALLS = frozenset({"install", "add"})
_SCRIPT = re.compile(r"^# /// script\r?\n(?P<body>(?:#(?: .*)?\r?\n)+?)# ///\s*$", re.MULTILINE)


def installed(commands: Iterable[Sequence[Word]], tools: Tools) -> Iterator[Hit]:
    """Pins of MLflow among the words of `pip install`, `uv add`, `conda install` and the like."""
    for command in commands:
        if any(word.value in _INSTALLS for word in command[:5]):
            for word in command:
                yield from one(word.text, word.start, tools)


def one(text: str, start: int, tools: Tools) -> Iterator[Hit]:
    """A requirement that is all of a text, which stands at `start`."""
    found = _INSTALLED.match(text)
    if found is not None and not _allows(found["pin"], tools.judge.target.key):
        place = start + found.start("pin")
        yield Hit(_excluded(found["pin"], tools), place, place + len(found["pin"]))


def script(text: str) -> Fragment | None:
    """The requirements that a Python file names in a comment of its own (PEP 723)."""
    found = _SCRIPT.search(text)
    if found is None:
        return None
    start = found.start("body")
    lines = [(start + first, start + last) for first, last in line_spans(found["body"])]
    return Fragment(text).joined([(first + min(2, last - first - 1), last) for first, last in lines])


_FLAVORS = re.compile(r"^(?P<indent>[ \t]*)flavors:[ \t]*$", re.MULTILINE)
_LOADER = re.compile(r"^\s*loader_module:\s*(?P<path>mlflow\.[\w.]+)", re.MULTILINE)


def model(text: str, tools: Tools) -> Iterator[Hit]:
    """An `MLmodel` file: its flavors, and the loader of its python_function."""
    start = _FLAVORS.search(text)
    if start is not None:
        indent = -1
        place = start.end() + 1
        for line in text[place:].splitlines(keepends=True):
            width = len(line) - len(line.lstrip(" "))
            if line.strip() and indent < 0 and width > len(start["indent"]):
                indent = width
            if line.strip() and width <= len(start["indent"]):
                break
            found = re.match(r"\s*([\w-]+):", line)
            if found is not None and width == indent:
                judgement = tools.judge.flavor(found[1])
                if judgement is not None:
                    yield Hit(judgement, place + found.start(1), place + found.end(1))
            place += len(line)
    for found in _LOADER.finditer(text):
        judgement = tools.judge.name(found["path"])
        if judgement is not None and judgement.code == "LL102":
            yield Hit(judgement, found.start("path"), found.end("path"))
