"""Pins in YAML, shared by the formats written in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from liftlock.pins import tokens
from liftlock.pins.model import CannotParse, Pin, Syntax
from liftlock.pins.yaml_scan import Scalar, scalars

_MARKS = re.compile(r"\{\{|\{%")
_NAMES = ("repository", "image", "name", "newName", "imageName")
_TAGS = ("tag", "newTag", "imageTag")


def pins_in(text: str, *, extra: Callable[[Scalar], Pin | None] = lambda _: None) -> list[Pin]:
    """Everything a YAML file can name MLflow's version with; `extra` is asked about each scalar first.

    A template, which is YAML only once it is filled in, is taken line by line. Raises CannotParse.
    """
    found: list[Pin] = []
    try:
        values = scalars(text)
    except CannotParse:
        if not _MARKS.search(text):
            raise
        return tokens.anything_in(tokens.without_comments(text), conda="conda" in text)
    for scalar in values:
        pin = extra(scalar) or _by_key(scalar)
        if pin is not None:
            found.append(pin)
        elif "mlflow" in scalar.text.lower():
            found += _inside(scalar)
    return tokens.without_overlaps(found)


def whole(scalar: Scalar, package: str, what: str, syntax: Syntax = Syntax.VERSION) -> Pin:
    """A pin that is a whole scalar."""
    return Pin(scalar.start, scalar.end, scalar.text, package, syntax, what)


def _inside(scalar: Scalar) -> Iterator[Pin]:
    text = tokens.without_comments(scalar.text) if scalar.block else scalar.text
    conda = "conda" in text or "mamba" in text
    for pin in tokens.anything_in(text, conda=conda):
        yield Pin(
            pin.start + scalar.start, pin.end + scalar.start, pin.text, pin.package, pin.syntax, pin.what, pin.scope
        )


def _by_key(scalar: Scalar) -> Pin | None:
    key = next((str(part) for part in reversed(scalar.path) if isinstance(part, str)), "")
    listed = bool(scalar.path) and isinstance(scalar.path[-1], int)
    if key == "digest" and not listed:
        return _digest(scalar)
    if not tokens.is_tag(scalar.text):
        return None
    if tokens.is_variable(key):
        # A matrix of several versions is a statement about all of them; only a list of one is a pin.
        return whole(scalar, "mlflow", "variable") if scalar.alone else None
    if listed:
        return None
    if key in ("value", "default") and tokens.is_variable(scalar.owner.get("name", "")):
        return whole(scalar, "mlflow", "variable")
    if key == "default" and len(scalar.path) > 1 and tokens.is_variable(str(scalar.path[-2])):
        return whole(scalar, "mlflow", "variable")
    if key in _TAGS and (name := _image_of(scalar)):
        return whole(scalar, name, "image")
    return None


def _image_of(scalar: Scalar) -> str:
    """The name of the MLflow image a tag belongs to, or "": named beside it, else by the section it stands in."""
    named = next((scalar.owner[key] for key in _NAMES if key in scalar.owner), None)
    if named is not None:
        return named if tokens.is_image(named) else ""
    sections = [str(part) for part in scalar.path[:-1]]
    inside = bool(sections) and sections[-1] in ("image", "images") and "mlflow" in sections
    return "mlflow" if inside else ""


def _digest(scalar: Scalar) -> Pin | None:
    name = _image_of(scalar)
    if not name or not scalar.text.startswith("sha256:"):
        return None
    what = "image digest" if any(key in scalar.owner for key in _TAGS) else tokens.DIGEST_ALONE
    return whole(scalar, name, what, Syntax.DIGEST)
