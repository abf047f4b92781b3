"""The images that a deployment's files name (compose, Dockerfile, values, manifests), and their digests of today."""

from __future__ import annotations

from pathlib import Path

from liftlock.model.evidence import ImageLine
from liftlock.model.progress import Observer, Progress, silent
from liftlock.pins import registry
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin, Syntax
from liftlock.pins.registry import Reference, RegistryUnknown
from liftlock.pins.survey import Surveyed, survey
from liftlock.pins.tree import Tree


def images(directory: Path, observer: Observer = silent) -> tuple[ImageLine, ...]:
    """One line for each place that names an image of MLflow, with the digest its registry gives for the tag.

    Raises Refused (BadFile with file and line) for a file that cannot be read.
    """
    tree = Tree.open(directory, plain=True)
    asked: dict[Reference, tuple[str, str]] = {}
    found = []
    for each in survey(tree).group(Group.PINS):
        for image, pinned, pin in _named(each):
            reference = Reference.parse(image)
            if reference is not None and reference not in asked:
                observer(Progress(work=f"ask {reference.host} for {reference.name}:{reference.tag}"))
                asked[reference] = _ask(reference)
            digest, why = asked[reference] if reference else ("", "it names no registry that could be asked")
            found.append(
                ImageLine(
                    image=image, file=each.document.path, line=each.document.line(pin.start), pinned=pinned,
                    digest=digest, why=why,
                )
            )  # fmt: skip
    return tuple(found)


def _named(each: Surveyed) -> list[tuple[str, str, Pin]]:
    """Each image with its tag, and the digest that is written right behind it (or empty)."""
    pins = [pin for pin in each.pins if pin.syntax in (Syntax.VERSION, Syntax.DIGEST)]
    behind = {pin.start: pin.text.removeprefix("@") for pin in pins if pin.syntax is Syntax.DIGEST}
    return [
        (f"{pin.package}:{pin.text}", behind.get(pin.end, ""), pin)
        for pin in pins
        if pin.what == "image" and pin.syntax is Syntax.VERSION
    ]


def _ask(reference: Reference) -> tuple[str, str]:
    try:
        digest = registry.digest(reference)
    except RegistryUnknown as error:
        return "", error.message
    return (digest, "") if digest else ("", f"{reference.host} has no {reference.name}:{reference.tag}")
