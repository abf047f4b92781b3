"""Pins in text that no parser takes apart: requirements, images and variables inside shell lines, prose and templates.

All functions take a text in which comments may have been blanked out (`without_comments` keeps every offset).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.utils import canonicalize_name

from liftlock.pins.model import Pin, Syntax

DIGEST_ALONE = "digest without a tag"
PACKAGE = r"mlflow(?:[-_.](?:skinny|tracing))?"
VERSION = r"v?\d+(?:\.\d+)+(?:(?:a|b|rc)\d+)?(?:\.(?:dev|post)\d+)?"
TAG = rf"{VERSION}(?:[-_][A-Za-z][\w-]*(?:\.\w+)*)?"
_NUMBER = r"\d+(?:\.\d+)*(?:\.\*)?(?:(?:a|b|rc)\d+)?(?:\.(?:dev|post)\d+)?"
_OPERATOR = r"(?:===|==|~=|!=|<=|>=|<|>)"

# A variable that holds MLflow's own version, however it is spelled; a chart's or a plug-in's version is not one.
VARIABLE = (
    r"(?:[A-Za-z0-9]+[_-])*mlflow(?:[_-](?:server|tracking|skinny|tracing|pypi|package|pip|image|docker|app|client))*"
    r"[._-]?(?:version|ver|tag|release|image[_-]?tag)"
)
_REQUIREMENT = re.compile(
    rf"(?<![\w./@-])(?P<name>{PACKAGE})(?P<extras>\s*\[[^\]\n]*\])?[ \t]*"
    rf"(?P<pin>{_OPERATOR}[ \t]*{_NUMBER}(?:[ \t]*,[ \t]*{_OPERATOR}[ \t]*{_NUMBER})*)(?![\w*$]|\.\w)",
    re.IGNORECASE,
)
_CONDA = re.compile(
    rf"(?<![\w./-])(?P<name>{PACKAGE})(?P<pin>=(?!=)[ \t]*{_NUMBER}(?:=[\w.*]+)?)(?![\w*$]|\.\w)", re.IGNORECASE
)
_IMAGE_NAME = r"(?P<name>(?:[\w.$(){}-]*(?::\d+)?/)*(?:mlflow|mlflow-(?:tracking-)?server|mlflow-tracking))"
_IMAGE = re.compile(
    rf"(?<![\w./-]){_IMAGE_NAME}(?::(?:(?P<tag>{TAG})|(?P<open>v?\$\{{\w+:?-)(?P<default>{TAG})\}}|v?\$\{{?\w+\}}?))?"
    rf"(?P<digest>@sha256:[0-9a-f]{{64}})?(?![\w/:@-]|\.\w)"
)
_ASSIGNED = re.compile(
    rf"(?<![\w-]){VARIABLE}[\"']?[ \t]*(?:[:?+]{{0,2}}=|:-|-(?=[v\d])|:)[ \t]*[\"']?(?:\$\{{\w+:?-)?(?P<version>{TAG})"
    r"(?!\w|\.\w)",
    re.IGNORECASE,
)
# A revision of the sources; not where a digest of the archive stands beside it, which belongs to one version.
_GIT = re.compile(
    r"(?:github\.com[/:]mlflow/mlflow(?:\.git)?(?:@|/archive/(?:refs/tags/)?)"
    r"|raw\.githubusercontent\.com/mlflow/mlflow/(?:refs/tags/)?)"
    rf"(?P<version>{VERSION})(?![^\s\"']*#(?:sha\d+|md5)=)"
)
# `poetry add mlflow@^2.9.2`, `uv tool run mlflow@2.9.2`
_AT = re.compile(
    rf"(?<![\w./@-])(?P<name>{PACKAGE})(?:\[[^\]\n]*\])?@[\^~]?(?P<version>{VERSION})(?!\w|\.\w)", re.IGNORECASE
)
# A command of Helm, with the lines it goes on over, that names MLflow as its release or chart.
_HELM = re.compile(r"\bhelm\b(?:\\\r?\n|[^\r\n;&|])*")
_HELM_SET = re.compile(
    rf"--set(?:-string)?[ =][\"']?(?:[^\s\"']*,)?(?:(?:mlflow|tracking|server)\.)*image\.tag=(?P<version>{TAG})"
    r"(?!\w|\.\w)"
)
_IS_VARIABLE = re.compile(VARIABLE, re.IGNORECASE)
_IS_TAG = re.compile(TAG)
_IS_IMAGE = re.compile(_IMAGE_NAME)


def is_variable(name: str) -> bool:
    """Whether a name is one for MLflow's version: MLFLOW_VERSION, mlflow-version, mlflowImageTag."""
    return _IS_VARIABLE.fullmatch(name) is not None


def is_tag(text: str) -> bool:
    """Whether a text is a version or a tag made of one."""
    return _IS_TAG.fullmatch(text) is not None


def is_image(name: str) -> bool:
    """Whether an image of this name (no tag) holds an MLflow server under MLflow's own version."""
    return _IS_IMAGE.fullmatch(name) is not None


def requirements_in(text: str, what: str = "requirement", *, conda: bool = False) -> Iterator[Pin]:
    """`mlflow[extras]==2.9.2` and ranges, `git+https://...mlflow@v2.9.2`; `conda` adds `mlflow=2.9.2`."""
    patterns = [(_REQUIREMENT, Syntax.PEP440), *([(_CONDA, Syntax.CONDA)] if conda else [])]
    for pattern, syntax in patterns:
        for found in pattern.finditer(text):
            yield _pin(found, "pin", canonicalize_name(found["name"]), syntax, what)
    for found in _GIT.finditer(text):
        yield _pin(found, "version", "mlflow", Syntax.VERSION, "git revision")
    for found in _AT.finditer(text):
        yield _pin(found, "version", canonicalize_name(found["name"]), Syntax.VERSION, what)


def images_in(text: str, what: str = "image") -> Iterator[Pin]:
    """`registry/mlflow:v2.9.2@sha256:...` and `...:${TAG:-v2.9.2}` anywhere in a text: tag and digest apart."""
    for found in _IMAGE.finditer(text):
        for group in ("tag", "default"):
            if found[group]:
                yield _pin(found, group, found["name"], Syntax.VERSION, what)
        if found["digest"]:
            alone = found.start("digest") == found.end("name")
            yield _pin(found, "digest", found["name"], Syntax.DIGEST, DIGEST_ALONE if alone else f"{what} digest")


def helm_sets_in(text: str, what: str = "image") -> Iterator[Pin]:
    """`helm upgrade mlflow chart --set image.tag=v2.9.2`."""
    for command in _HELM.finditer(text):
        if "mlflow" in command[0].lower():
            for found in _HELM_SET.finditer(text, command.start(), command.end()):
                yield _pin(found, "version", "mlflow", Syntax.VERSION, what)


def variables_in(text: str, what: str = "variable") -> Iterator[Pin]:
    """`MLFLOW_VERSION=2.9.2` in the spellings of make, shell, Docker and YAML, and `${MLFLOW_VERSION:-2.9.2}`."""
    for found in _ASSIGNED.finditer(text):
        yield _pin(found, "version", "mlflow", Syntax.VERSION, what)


def anything_in(text: str, *, conda: bool = False) -> list[Pin]:
    """All kinds, without doubles, in order of place."""
    found = [*requirements_in(text, conda=conda), *images_in(text), *variables_in(text), *helm_sets_in(text)]
    return without_overlaps(found)


def without_overlaps(pins: list[Pin]) -> list[Pin]:
    """The pins in order of place; of two that overlap, the one that was found first."""
    kept: list[Pin] = []
    for pin in pins:
        if not any(pin.start < other.end and other.start < pin.end for other in kept):
            kept.append(pin)
    return sorted(kept, key=lambda each: each.start)


def without_comments(text: str, marks: tuple[str, ...] = ("#",)) -> str:
    """The text with comments turned into spaces: from a mark at a line's start, or after a space outside quotes."""
    return "".join(_without_comment(line, marks) for line in text.splitlines(keepends=True))


def _without_comment(line: str, marks: tuple[str, ...]) -> str:
    if not any(mark in line for mark in marks):
        return line
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and _closes(line, place):
            quote = character
        elif line.startswith(marks, place) and (place == 0 or line[place - 1].isspace()):
            body = line[place:].rstrip("\r\n")
            return line[:place] + " " * len(body) + line[place + len(body) :]
    return line


def _closes(line: str, place: int) -> bool:
    """Whether a quote has a partner on its line; an apostrophe in prose has none."""
    return line[place] in line[place + 1 :]


def _pin(found: re.Match[str], group: str, package: str, syntax: Syntax, what: str) -> Pin:
    start, end = found.span(group)
    return Pin(start, end, found[group], package, syntax, what)
