"""One analyser for each way MLflow is written down; all hand back hits in places of the file."""

from __future__ import annotations

import enum
import re
from pathlib import PurePosixPath

from liftlock.scan.surfaces import databricks, notebook


class Kind(enum.StrEnum):
    """How a file is read."""

    PYTHON = "python"
    NOTEBOOK = "notebook"
    SHELL = "shell"
    MAKEFILE = "makefile"
    DOCKERFILE = "dockerfile"
    YAML = "yaml"
    ENVIRONMENT = "environment"
    DOCS = "docs"
    REQUIREMENTS = "requirements"
    MODEL = "model"
    SOURCE = "source"  # other languages: endpoints, commands and variables in their strings


_SUFFIXES = {
    ".py": Kind.PYTHON, ".pyi": Kind.PYTHON, ".pyw": Kind.PYTHON, ".ipynb": Kind.NOTEBOOK, ".sh": Kind.SHELL,
    ".bash": Kind.SHELL, ".zsh": Kind.SHELL, ".ksh": Kind.SHELL, ".mk": Kind.MAKEFILE, ".dockerfile": Kind.DOCKERFILE,
    ".yml": Kind.YAML, ".yaml": Kind.YAML, ".md": Kind.DOCS, ".mdx": Kind.DOCS, ".rst": Kind.DOCS, ".txt": Kind.DOCS,
    ".markdown": Kind.DOCS, ".adoc": Kind.DOCS, ".env": Kind.ENVIRONMENT, ".qmd": Kind.DOCS, ".rmd": Kind.DOCS,
    ".service": Kind.ENVIRONMENT, ".conf": Kind.ENVIRONMENT, ".ini": Kind.ENVIRONMENT,
    ".command": Kind.SHELL, ".just": Kind.MAKEFILE, ".ps1": Kind.SHELL, ".bat": Kind.SHELL,
    ".cmd": Kind.SHELL,
} | dict.fromkeys((
    ".js", ".jsx", ".mjs", ".ts", ".tsx", ".java", ".scala", ".kt", ".go", ".rs", ".r", ".jl", ".rb", ".php", ".cs",
    ".sql", ".tf", ".hcl", ".json", ".groovy",
), Kind.SOURCE)  # fmt: skip
_NAMES = {
    "makefile": Kind.MAKEFILE, "gnumakefile": Kind.MAKEFILE, "justfile": Kind.MAKEFILE, "mlproject": Kind.YAML,
    "mlmodel": Kind.MODEL, "pyproject.toml": Kind.REQUIREMENTS, "setup.cfg": Kind.REQUIREMENTS,
    "pipfile": Kind.REQUIREMENTS, "procfile": Kind.SHELL, "jenkinsfile": Kind.SHELL, "tox.ini": Kind.REQUIREMENTS,
    "readme": Kind.DOCS,
}  # fmt: skip
_REQUIREMENTS = re.compile(r"(?:^|[-_.])(?:requirements?|reqs?|constraints?)(?:[-_.]|$)", re.IGNORECASE)
_TEMPLATES = (".tmpl", ".tpl", ".j2", ".jinja", ".jinja2", ".template", ".in", ".dist", ".example", ".sample")


def kind_of(path: str, head: bytes = b"") -> Kind | None:
    """How to read a file, by its name and first bytes; None for what is not read."""
    place = PurePosixPath(path)
    name = place.name.lower()
    if name in _NAMES:
        return _NAMES[name]
    if place.suffix.lower() in (".txt", ".in", ".pip") and (
        _REQUIREMENTS.search(place.stem) or place.parent.name in ("requirements", "reqs", "constraints")
    ):
        return Kind.REQUIREMENTS
    if name.startswith(("dockerfile", "containerfile")) or name.endswith((".dockerfile", "dockerfile")):
        return Kind.DOCKERFILE
    if name == ".env" or name.startswith(".env.") or name.endswith(".env"):
        return Kind.ENVIRONMENT
    suffix = place.suffix.lower()
    if suffix in _TEMPLATES and len(place.suffixes) > 1:
        suffix = place.suffixes[-2].lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if head.startswith(b"#!"):
        line = head.partition(b"\n")[0]
        if b"python" in line:
            return Kind.PYTHON
        if b"sh" in line:
            return Kind.SHELL
    return None


def book_of(path: str, kind: Kind, text: str) -> notebook.Notebook | None:
    """The parts of a notebook, as Jupyter or Databricks writes it; None for plain source. Raises ValueError."""
    if kind is Kind.NOTEBOOK:
        return notebook.read(text)
    if kind in (Kind.PYTHON, Kind.SOURCE) and databricks.is_exported(text):
        return databricks.read(text, python=PurePosixPath(path).suffix.lower() == ".py")
    return None
