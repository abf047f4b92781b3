"""The parsed modules of a scan: which one an import means, and which fixture a test's parameter."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from liftlock.scan.python.scopes import Function, Module, Scope

# Packages people name a folder after: `import keras` is not the tree's own `models/keras.py`.
_OTHERS = frozenset({
    "tensorflow", "keras", "torch", "pytorch", "sklearn", "xgboost", "lightgbm", "catboost", "pyspark", "spark", "onnx",
    "openai", "langchain", "transformers", "h2o", "statsmodels", "prophet", "paddle", "spacy", "shap", "boto3", "azure",
    "databricks", "airflow", "dagster", "kedro", "ray", "optuna", "pandas", "numpy", "requests",
})  # fmt: skip


class Index:
    """The modules, by path."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules: dict[str, Module] = {}
        self._by_tail: dict[str, list[Module]] = {}
        self._fixtures: set[str] = set()
        self._runs: dict[str, list[Module]] = {}
        for module in modules:
            self.modules[module.path] = module
            self._fixtures.update(module.fixtures)
            self._by_tail.setdefault(module.name.rpartition(".")[2], []).append(module)

    def find(self, name: str, importer: Module) -> Module | None:
        """The module an absolute or relative import names, or None."""
        if name.startswith("."):
            level = len(name) - len(name.lstrip("."))
            folder = posixpath.dirname(importer.path)
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            rest = name.lstrip(".").replace(".", "/")
            base = posixpath.join(folder, rest) if rest else folder
            return self.modules.get(f"{base}.py") or self.modules.get(posixpath.join(base, "__init__.py"))
        if name == "mlflow" or name.startswith("mlflow."):
            return None
        first = name.partition(".")[0]
        for module in self._by_tail.get(name.rpartition(".")[2], ()):
            if module is importer:
                continue  # a file named after the package it uses
            if module.name == name:
                return module
            if module.name.endswith(f".{name}") and first not in _OTHERS:
                above = module.name.removesuffix(name).replace(".", "/")
                if f"{above}__init__.py" not in self.modules:  # else it is reached as part of that package only
                    return module
        return None

    def run_by(self, module: Module) -> list[Module]:
        """The notebooks that a module runs in its own scope, and those they run."""
        if module.path not in self._runs:
            found = {module.path: module}
            todo = [module]
            while todo:
                for path in todo.pop().runs:
                    other = self.modules.get(path)
                    if other is not None and path not in found:
                        found[path] = other
                        todo.append(other)
            self._runs[module.path] = list(found.values())[1:]
        return self._runs[module.path]

    def fixture(self, name: str, scope: Scope) -> tuple[Function, Scope] | None:
        """The pytest fixture a parameter of a test means: of its own module, or of the nearest conftest."""
        if name not in self._fixtures:
            return None
        module = scope.module
        if name in module.fixtures:
            found = module.fixtures[name]
            return found if found[1] is not scope else None
        folder = posixpath.dirname(module.path)
        while True:
            conftest = self.modules.get(posixpath.join(folder, "conftest.py"))
            if conftest is not None and name in conftest.fixtures:
                return conftest.fixtures[name]
            if not folder:
                return None
            folder = posixpath.dirname(folder)
