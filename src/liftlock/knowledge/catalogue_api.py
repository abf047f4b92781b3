"""The Python API of a release, asked by the paths people type: links, inheritance and wrappers followed.

The table itself is described in `extract/surface.py`.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from importlib import resources

from liftlock.knowledge.extract.facts import Fact, Section
from liftlock.model.codec import Value, from_builtins

_HOPS = 20


class Parameter(Value, frozen=True):
    """One parameter: `default` is its source text, None where it has none; `kind` as `inspect` names it, shortened."""

    name: str
    default: str | None
    kind: str  # positional, keyword, *args, **kwargs

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is None and self.kind in ("positional", "keyword")


class Definition(Value, frozen=True):
    """What a path means: `path` is where it is defined, `kind` module, class, function or attribute.

    `marks` are decorators that may change how it can be called (`deprecated(...)`, shims, unknown ones).
    """

    path: str
    kind: str
    text: str
    marks: tuple[str, ...]
    source: str


class Surface:
    """The API table of one release."""

    def __init__(self, table: Section) -> None:
        self.table = table
        self._found: dict[str, str | None] = {}

    def canonical(self, path: str) -> str | None:
        """The key of the table that a typed path means, or None when the release has no such name."""
        if path not in self._found:
            self._found[path] = None  # ends a cycle of links
            self._found[path] = self._canonical(path)
        return self._found[path]

    def _canonical(self, path: str) -> str | None:
        fact = self.table.get(path)
        if fact is not None:
            return self._followed(path, fact)
        owner, _, name = path.rpartition(".")
        if not owner:
            return None
        base = self.canonical(owner)
        if base is None:
            return None
        if base != owner and f"{base}.{name}" in self.table:
            return self.canonical(f"{base}.{name}")
        return next((found for each in self._bases(base) if (found := self.canonical(f"{each}.{name}"))), None)

    def _followed(self, path: str, fact: Fact) -> str | None:
        for _ in range(_HOPS):
            if not fact.value.startswith("> "):
                return path
            path = fact.value[2:]
            if path not in self.table:
                return None
            fact = self.table[path]
        return None

    def _bases(self, path: str) -> tuple[str, ...]:
        fact = self.table.get(path)
        if fact is None or not fact.value.startswith("c("):
            return ()
        head = fact.value.partition("\n")[0]
        return tuple(base for base in head[2:-1].split(", ") if base in self.table and base != path)

    def definition(self, path: str) -> Definition | None:
        """What a typed path means, a wrapper replaced by what it wraps; None when the release has no such name."""
        key = self.canonical(path)
        if key is None:
            return None
        fact = self.table[key]
        head, *rest = fact.value.split("\n@")
        kind = {"m": "module", "c": "class", "f": "function", "a": "attribute"}[head[:1]]
        text = head[2:-1] if kind in ("class", "function") else head[2:]
        wrapped = next((mark[6:-1] for mark in rest if mark.startswith("wraps(")), None)
        if wrapped is not None and (inner := self.table.get(wrapped)) is not None and inner.value.startswith("f("):
            text = inner.value.partition("\n")[0][2:-1]
        return Definition(path=key, kind=kind, text=text, marks=tuple(rest), source=fact.source)

    def parameters(self, path: str) -> tuple[Parameter, ...] | None:
        """The parameters of a function, method or class (its `__init__`); None where they are not known."""
        found = self.definition(path)
        if found is not None and found.kind == "class":
            found = self.definition(f"{path}.__init__")
        return None if found is None or found.kind != "function" else parse(found.text)

    def members(self, path: str) -> set[str]:
        """The names below a class or module, inherited ones included."""
        key = self.canonical(path)
        if key is None:
            return set()
        names = set(self._children.get(key, ()))
        for base in self._bases(key):
            names |= self.members(base)
        return names

    @functools.cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for key in self.table:
            owner, _, name = key.rpartition(".")
            children.setdefault(owner, []).append(name)
        return children


@functools.cache
def parse(signature: str) -> tuple[Parameter, ...]:
    """The parameters in a signature's text, `self` and `cls` left out."""
    node = ast.parse(f"def f({signature}): ...").body[0]
    assert isinstance(node, ast.FunctionDef)
    return tuple(each for each in _parameters(node.args) if each.name not in ("self", "cls"))


def _parameters(arguments: ast.arguments) -> Iterator[Parameter]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    defaults += arguments.defaults
    for argument, default in zip(plain, defaults, strict=True):
        yield Parameter(name=argument.arg, default=_text(default), kind="positional")
    if arguments.vararg is not None:
        yield Parameter(name=arguments.vararg.arg, default=None, kind="*args")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield Parameter(name=argument.arg, default=_text(default), kind="keyword")
    if arguments.kwarg is not None:
        yield Parameter(name=arguments.kwarg.arg, default=None, kind="**kwargs")


def _text(node: ast.expr | None) -> str | None:
    return None if node is None else ast.unparse(node)


class _Documented(Value, frozen=True):
    format: int
    modules: frozenset[str]
    noise: frozenset[str]


@functools.cache
def _documented() -> _Documented:
    text = resources.files("liftlock.knowledge").joinpath("data/catalogue_documented.toml").read_text("utf-8")

    return from_builtins(tomllib.loads(text), _Documented)


def documented(path: str, table: Section) -> bool:
    """Whether a path of a release's table is in MLflow's API reference and not a helper that only looks like API."""
    parts = path.split(".")
    known = _documented()
    if path in known.noise or len(parts) == 1:
        return False
    if len(parts) == 2:
        return not parts[1].startswith("_")
    if any(part.startswith("_") and part != "__init__" for part in parts):
        return False
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        if module in known.modules:
            break
    else:
        # below `mlflow` itself: members of its classes, but not the names of its other modules
        length = 1
    rest = parts[length:]
    if not rest:
        return True
    first = table.get(".".join(parts[: length + 1]))
    if first is None or first.value == "m" or rest[0].startswith("patched_"):
        return False
    # constants of a module are not for users
    return not (len(rest) == 1 and first.value.startswith("a=") and rest[0].isupper())
