"""A repository with MLflow's version in every format and several real-world styles.

A template (in `pins_templates/`) marks each pin as `⟦before⇒after⟧` for a change from 2.9.2 to 3.17.2, so that the one
text gives the file before, the file after, and everything between the pins, which must never change. `read` is a parser
that shares nothing with liftlock's formats and returns the versions a file names.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from ruamel.yaml import YAML

OLD, NEW = "2.9.2", "3.17.2"
_TEMPLATES = Path(__file__).parent / "pins_templates"
_MARK = re.compile(r"⟦(.*?)⇒(.*?)⟧", re.DOTALL)
Reader = Callable[[str], list[str]]


@dataclass(frozen=True)
class Sample:
    path: str
    read: Reader
    docs: bool = False

    @property
    def template(self) -> str:
        return (_TEMPLATES / f"{self.path}.template").read_bytes().decode()

    @property
    def before(self) -> str:
        return _MARK.sub(r"\1", self.template)

    @property
    def after(self) -> str:
        return _MARK.sub(r"\2", self.template)

    def unchanged(self, text: str) -> bool:
        """Whether everything outside the pins is as it was."""
        return self.between(self.template, text)

    @staticmethod
    def between(template: str, text: str) -> bool:
        """Whether a text has what stands between the marks of a template, in order, and nothing else."""
        fixed = _MARK.sub("\0", template).split("\0")
        return re.fullmatch("([^\r\n]*?)".join(map(re.escape, fixed)), text) is not None


def _specified(requirement: str) -> Iterator[str]:
    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        return
    if parsed.name.lower().replace("_", "-") in ("mlflow", "mlflow-skinny", "mlflow-tracing"):
        if parsed.url:
            yield parsed.url.rpartition("@")[2].removeprefix("v")
        for each in parsed.specifier:
            if each.operator in ("==", "===", ">=", "~="):
                yield each.version


def _requirement_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = [re.sub(r"(^|\s)#.*", "", line).split(" --hash")[0].strip() for line in joined.splitlines()]
    return [version for line in lines for version in _specified(line.removeprefix("-e "))]


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield "", inner
            yield from _walk(inner)


def _toml(text: str) -> list[str]:
    """Requirements in lists, and `mlflow` as a key of a table of dependencies."""
    found: list[str] = []
    for key, value in _walk(tomllib.loads(text.replace("\r\n", "\n"))):
        if isinstance(value, str):
            found += _specified(value) if not key else _clause(value) if key == "mlflow" else []
        elif key == "mlflow":
            entries = value if isinstance(value, list) else [value]
            found += [version for entry in entries if isinstance(entry, dict) for version in _clause(entry["version"])]
    return [version.removesuffix(".*") for version in found]


def _clause(text: str) -> list[str]:
    return re.findall(r"^[\^~=>]*([\d.]+)", text)


_TEXT = re.compile(
    r"mlflow(?:[-_]skinny|[-_]tracing)?(?:\[[^\]]*\])?(?:===|==|~=|>=|:v?|=)(\d[\d.]*\d)"
    r"|mlflow(?:\.git)?@v(\d[\d.]*\d)",
    re.I,
)


def _text(text: str) -> list[str]:
    return [found[1] or found[2] for found in _TEXT.finditer(text)]


def _yaml(*keys: str) -> Reader:
    """Values of the keys, and what texts inside say."""

    def read(text: str) -> list[str]:
        found = []
        for document in YAML(typ="safe", pure=True).load_all(text):
            for key, value in _walk(document):
                if key in keys and isinstance(value, str | float):
                    found.append(re.sub(r"^v?([\d.]+\d).*", r"\1", str(value)))
                elif key in keys and isinstance(value, list):
                    found += [str(each) for each in value]
                elif isinstance(value, str):
                    found += _text(value)
        return found

    return read


def _env_list(text: str) -> list[str]:
    found = []
    for document in YAML(typ="safe", pure=True).load_all(text):
        for _, value in _walk(document):
            if isinstance(value, dict) and "MLFLOW" in str(value.get("name", "")):
                found.append(str(value["value"]))
            elif isinstance(value, str):
                found += _text(value)
    return found


def _ini(text: str) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    values = [value for section in parser.sections() for _, value in parser.items(section)]
    return [version for value in values for line in value.splitlines() for version in _specified(line.strip())]


def _python(text: str) -> list[str]:
    literals = [
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return [
        version
        for each in literals
        for version in ([each] if re.fullmatch(r"\d+\.\d+\.\d+", each) else _specified(each))
    ]


def _make(text: str) -> list[str]:
    # Started from a `make` of ours it would announce the directories it enters and leaves.
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    printed = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "show"],
        input=text + "\nshow:\n\t@echo $(MLFLOW_VERSION)\n",
        text=True,
        capture_output=True,
        env=alone,
    )
    return [printed.stdout.split()[-1], *_text(re.sub(r"^#.*", "", text, flags=re.M))]


def _bash(text: str) -> list[str]:
    script = text.replace("\r\n", "\n") + "\nprintf '%s' \"$MLFLOW_VERSION\"\n"
    bin_free = re.sub(r"^(?:pip|docker|conda).*", ":", script, flags=re.M)
    printed = subprocess.run(["bash", "-c", bin_free], text=True, capture_output=True, check=True)
    return [printed.stdout, *_text(re.sub(r"^\s*#.*", "", text, flags=re.M))]


def _pattern(pattern: str) -> Reader:
    return lambda text: re.findall(pattern, text, re.M)


SAMPLES = (
    Sample("requirements.txt", _requirement_lines),
    Sample("constraints/base.lst", _requirement_lines),
    Sample("requirements/dev.in", _requirement_lines),
    Sample("service/requirements-git.txt", _text),
    Sample("pyproject.toml", _toml),
    Sample("poetry/pyproject.toml", _toml),
    Sample("pdm/pyproject.toml", _toml),
    Sample("setup.cfg", _ini),
    Sample("setup.py", _python),
    Sample("Pipfile", _pattern(r"[=>]=([\d.]+)\"")),
    Sample("environment.yml", _pattern(r"mlflow(?:-skinny |\[extras\])?[=>]=?([\d.]+\d)")),
    Sample("conda/conda.yaml", _pattern(r"mlflow(?:-tracing)?[=>]=([\d.]+\d)")),
    Sample("MLproject", _yaml()),
    Sample(
        "Dockerfile",
        _pattern(r"(?:ARG MLFLOW_VERSION=|ENV MLFLOW_VERSION |mlflow:v?|\]==|skinny==)([\d.]+\d)"),
    ),
    Sample("docker/mlflow.Dockerfile", _text),
    Sample("docker-compose.yml", lambda text: [*_text(text), *re.findall(r"(?:VERSION[:=] ?|TAG:-v)([\d.]+\d)", text)]),
    Sample("chart/Chart.yaml", _yaml("appVersion")),
    Sample("chart/values.yaml", _pattern(r"tag: v([\d.]+)")),
    Sample("platform/values-prod.yaml", _pattern(r'mlflow:\n  image:\n    tag: "([\d.]+)')),
    Sample("chart/templates/job.yaml", lambda text: _text(text.replace("old: mlflow:v1.0.0", ""))),
    Sample("k8s/deployment.yaml", lambda text: [version for version in _env_list(text) if version != "1.0"]),
    Sample("k8s/kustomization.yaml", _pattern(r"newTag: v([\d.]+)")),
    Sample(".github/workflows/ci.yml", _yaml("MLFLOW_VERSION", "mlflow-version")),
    Sample(".gitlab-ci.yml", _yaml("MLFLOW_VERSION")),
    Sample("infra/main.tf", _pattern(r'"(?:ghcr.io/mlflow/mlflow:)?v([\d.]+)"')),
    Sample("infra/prod.tfvars", _pattern(r'"([\d.]+)"')),
    Sample("Makefile", _make),
    Sample("scripts/up.sh", _bash),
    Sample(".env.example", _pattern(r"VERSION=([\d.]+)")),
    Sample("SECURITY.md", _pattern(r"`mlflow`  \| ([\d.]+)")),
    Sample(
        "config/mlflow_release.yaml",
        lambda text: [*_yaml("current_version")(text), *re.findall(r"tag/v([\d.]+)", text)],
    ),
    Sample("docs/install.md", _text, docs=True),
)
BY_PATH = {sample.path: sample for sample in SAMPLES}


def write(root: Path, samples: tuple[Sample, ...] = SAMPLES, *, after: bool = False) -> None:
    """The samples as a Git repository (uncommitted, which pin does not mind)."""
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for sample in samples:
        place = root / sample.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((sample.after if after else sample.before).encode())


def contents(root: Path) -> dict[str, bytes]:
    """Every file outside `.git`."""
    return {
        place.relative_to(root).as_posix(): place.read_bytes()
        for place in sorted(root.rglob("*"))
        if place.is_file() and ".git" not in place.relative_to(root).parts[:1]
    }
