"""What an expression may mean: a name of MLflow, an object of one of its classes, of the tree or of others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from liftlock.scan.python import objects
from liftlock.scan.python.scopes import Scope


@dataclass(frozen=True, slots=True)
class Name:
    """A name of MLflow by the path it was reached under: a module, class or function."""

    path: str


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a class of MLflow."""

    path: str


@dataclass(frozen=True, slots=True)
class Many:
    """A sequence of objects of a class of MLflow."""

    path: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something of another package."""

    path: str


@dataclass(frozen=True, eq=False, slots=True)
class Local:
    """A module, class, function of the scanned tree, or an object of such a class."""

    kind: str  # module, class, function, object
    scope: Scope
    bound: bool = False


Value = Name | Object | Many | Foreign | Local
Values = tuple[Value, ...]


def instance(value: Value) -> Iterable[Value]:
    """What calling a class gives."""
    match value:
        case Name():
            last = value.path.rpartition(".")[2]
            return (Object(objects.plain(value.path)),) if last[:1].isupper() else ()
        case Local(kind="class"):
            return (Local("object", value.scope),)
        case Foreign():
            return (value,)
    return ()


def typed(text: str) -> Values:
    """The value a class of `objects` stands for; `*` before it means many."""
    return (Many(text[1:]),) if text.startswith("*") else (Object(text),)


def many(values: Iterable[Value]) -> Values:
    """A sequence of what was found."""
    return tuple(dict.fromkeys(Many(each.path) for each in values if isinstance(each, Object)))
