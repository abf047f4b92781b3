"""The public Python API: a table of definitions by access path, re-exports written as links to what they mean.

A path is what a user can type (`mlflow.openai.autolog`). A value is one of

    m                              a module or package
    > mlflow.tracking.client.X     the same object as another path (followed by the reader of the table)
    f(model_uri, dst=None)         a function; marks such as `@deprecated(...)` follow, one per line
    c(Base, Other)                 a class; its members are paths below it
    a=...                          an attribute, field, enumeration member or property

An imported name is API only where `__all__` lists it, a package takes it from inside itself, or the file holds nothing
but imports; every other module's imports are helpers. Names that start with an underscore are left out unless
something public links to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from liftlock.knowledge.extract.facts import Fact, Section
from liftlock.knowledge.extract.files import FileFacts, Symbol

# Packages whose names nobody is meant to type; what public modules take from them is still there, under their paths.
_INTERNAL = (
    "mlflow.protos", "mlflow.store", "mlflow.alembic", "mlflow.utils", "mlflow.temporary_db_migrations_for_pre_1_users",
    "mlflow.ml_package_versions", "mlflow.gateway.providers", "mlflow.gateway.schemas", "mlflow.server",
    "mlflow.assistant", "mlflow.mcp", "mlflow.telemetry", "mlflow.legacy_databricks_cli", "mlflow.cli",
    "mlflow.ai_commands", "mlflow.claude_code", "mlflow.R", "mlflow.java", "mlflow.demo",
)  # fmt: skip
_PUBLIC_AGAIN = ("mlflow.server.auth.client", "mlflow.server.auth.entities", "mlflow.utils.mlflow_tags",
                 "mlflow.utils.environment", "mlflow.store.artifact.artifact_repo")  # fmt: skip


class Surface:
    """The files of a release as a whole: `files` is module -> facts."""

    def __init__(self, files: Mapping[str, FileFacts], places: Mapping[str, str]) -> None:
        self.files = files
        self.places = places
        self.found: Section = {}

    def section(self) -> Section:
        """Every public definition and link, and the definitions links lead to."""
        for module in sorted(self.files):
            if public(module):
                self.found[module] = Fact("m", self.places[module])
                for name in self._names(module):
                    self._put(module, name)
        return self.found

    def _names(self, module: str) -> Iterator[str]:
        facts = self.files[module]
        listed = set(facts.exported or ())
        whole = module == "mlflow"  # its __all__ was incomplete throughout 1.x
        # a file that defines nothing itself is there for what it imports: mlflow.keras in 2.0 to 2.10
        shell = not any(symbol.kind in "fc" for symbol in facts.symbols.values())
        for name, symbol in facts.symbols.items():
            if name in listed:
                yield name
            elif name.startswith("_"):
                continue
            elif symbol.kind != "i":
                if facts.exported is None or whole or symbol.kind in "fc":
                    yield name
            elif (
                "lazy" in symbol.marks
                or "local" in symbol.marks
                or (facts.exported is None and (symbol.text.startswith(f"{module}.") or (shell and _ours(symbol.text))))
                or (whole and _ours(symbol.text))
            ):
                yield name
        for star in facts.stars:
            for name in self.files[star].symbols if star in self.files else ():
                if not name.startswith("_") and name not in facts.symbols:
                    yield f"*{star}.{name}"

    def _put(self, module: str, name: str) -> None:
        if name.startswith("*"):
            target = name[1:]
            self._link(f"{module}.{target.rpartition('.')[2]}", target, self.places[module])
            return
        path = f"{module}.{name}"
        if path in self.found:
            return
        symbol = self.files[module].symbols[name]
        if symbol.kind != "i":
            self._define(path, symbol, module)
            return
        target = symbol.text if "local" not in symbol.marks else self._absolute(module, symbol.text)
        if target == path:
            return  # a submodule imported by its own package
        if _ours(target):
            self._link(path, target, self.places[module])
        elif "lazy" in symbol.marks:
            self.found[path] = Fact(f"a=module {target}", self.places[module])
        elif "local" in symbol.marks:
            self.found[path] = Fact(f"a={symbol.text}", self.places[module])

    def _link(self, path: str, target: str, source: str) -> None:
        end = self._end(target)
        if end is None or end == path:
            return
        self.found[path] = Fact(f"> {end}", source)
        if end in self.files:
            self.found.setdefault(end, Fact("m", self.places[end]))
            return
        module, _, name = end.rpartition(".")
        if module in self.files and end not in self.found:
            self._define(end, self.files[module].symbols[name], module)

    def _end(self, path: str, depth: int = 0) -> str | None:
        """Where a chain of imports ends: a module, or a definition in a module; None outside the release."""
        if depth > 30:
            return None
        module, _, name = path.rpartition(".")
        symbols = self.files[module].symbols if module in self.files else {}
        symbol = symbols.get(name)
        if symbol is None or (symbol.kind == "i" and symbol.text == path):
            if path in self.files:
                return path
            for star in self.files[module].stars if module in self.files else ():
                if star in self.files and name in self.files[star].symbols:
                    return self._end(f"{star}.{name}", depth + 1)
            return None
        if symbol.kind != "i":
            return path
        target = symbol.text if "local" not in symbol.marks else self._absolute(module, symbol.text)
        return self._end(target, depth + 1) if _ours(target) else None

    def _absolute(self, module: str, text: str) -> str:
        """A dotted name as written in a module -> the path it means."""
        head, _, rest = text.partition(".")
        symbol = self.files[module].symbols.get(head)
        if symbol is None:
            return text
        base = symbol.text if symbol.kind == "i" and "local" not in symbol.marks else f"{module}.{head}"
        return f"{base}.{rest}" if rest else base

    def _define(self, path: str, symbol: Symbol, module: str) -> None:
        source = self.places[module]
        if symbol.kind == "c":
            bases = [self._base(module, base) for base in symbol.text.split(", ") if base]
            self.found[path] = Fact(_marked(f"c({', '.join(bases)})", symbol.marks), source)
            for name, member in symbol.members:
                self.found[f"{path}.{name}"] = Fact(_value(member), source)
            return
        value = _value(symbol)
        for mark in symbol.marks:
            if mark.startswith("wraps("):
                end = self._end(self._absolute(module, mark[6:-1]))
                value = value.replace(f"@{mark}", f"@wraps({end or mark[6:-1]})")
                if end is not None and end.rpartition(".")[0] in self.files and end not in self.found:
                    owner, _, name = end.rpartition(".")
                    self._define(end, self.files[owner].symbols[name], owner)
        self.found[path] = Fact(value, source)

    def _base(self, module: str, text: str) -> str:
        """A base class as the path of its definition, which is put in the table too."""
        end = self._end(self._absolute(module, text))
        if end is None:
            return text
        owner, _, name = end.rpartition(".")
        if owner in self.files and end not in self.found:
            self._define(end, self.files[owner].symbols[name], owner)
        return end


def public(module: str) -> bool:
    """Whether a module's own names belong to the table."""
    if module in _PUBLIC_AGAIN:
        return True
    if any(module == inner or module.startswith(f"{inner}.") for inner in _INTERNAL):
        return False
    return not any(part.startswith("_") for part in module.split("."))


def _ours(path: str) -> bool:
    return path == "mlflow" or path.startswith("mlflow.")


def _value(symbol: Symbol) -> str:
    text = f"f({symbol.text})" if symbol.kind == "f" else f"a={symbol.text}"
    return _marked(text, symbol.marks)


def _marked(text: str, marks: tuple[str, ...]) -> str:
    return "\n".join([text, *(f"@{mark}" for mark in marks)])


def flavors(api: Section) -> Section:
    """Top-level modules that load or autolog by themselves, or save and log (mleap) -> which of the four they do."""
    found: Section = {}
    for path, fact in api.items():
        if fact.value != "m" or path.count(".") != 1:
            continue
        verbs = [verb for verb in ("save_model", "log_model", "load_model", "autolog") if f"{path}.{verb}" in api]
        if {"load_model", "autolog"} & set(verbs) or {"save_model", "log_model"} <= set(verbs):
            found[path.removeprefix("mlflow.")] = Fact(" ".join(verbs), fact.source)
    for name in ("tracking", "models", "projects"):
        found.pop(name, None)
    return found
