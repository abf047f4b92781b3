"""A repository with MLflow's version in every format and several real-world styles.

A template marks each pin as `⟦before⇒after⟧` for a change from 2.9.2 to 3.17.2, so that the one text gives the file
before, the file after, and everything between the pins, which must never change. `read` is a parser that shares
nothing with liftlock's formats and returns the versions a file names.
"""

from __future__ import annotations

import ast
import configparser
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
_MARK = re.compile(r"⟦(.*?)⇒(.*?)⟧", re.DOTALL)
Reader = Callable[[str], list[str]]


@dataclass(frozen=True)
class Sample:
    path: str
    template: str
    read: Reader
    docs: bool = False

    @property
    def before(self) -> str:
        return _MARK.sub(r"\1", self.template)

    @property
    def after(self) -> str:
        return _MARK.sub(r"\2", self.template)

    def unchanged(self, text: str) -> bool:
        """Whether everything outside the pins is as it was."""
        fixed = _MARK.sub("\0", self.template).split("\0")
        return re.fullmatch("(.*?)".join(map(re.escape, fixed)), text, re.DOTALL) is not None


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
    r"mlflow(?:[-_]skinny|[-_]tracing)?(?:\[[^\]]*\])?(?:===|==|~=|>=|:v?|=)(\d[\d.]*\d)|mlflow(?:\.git)?@v(\d[\d.]*\d)",
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
    printed = subprocess.run(
        ["make", "-f", "-", "show"], input=text + "\nshow:\n\t@echo $(MLFLOW_VERSION)\n", text=True, capture_output=True
    )
    return [printed.stdout.split()[-1], *_text(re.sub(r"^#.*", "", text, flags=re.M))]


def _bash(text: str) -> list[str]:
    script = text.replace("\r\n", "\n") + "\nprintf '%s' \"$MLFLOW_VERSION\"\n"
    bin_free = re.sub(r"^(?:pip|docker|conda).*", ":", script, flags=re.M)
    printed = subprocess.run(["bash", "-c", bin_free], text=True, capture_output=True, check=True)
    return [printed.stdout, *_text(re.sub(r"^\s*#.*", "", text, flags=re.M))]


def _pattern(pattern: str) -> Reader:
    return lambda text: re.findall(pattern, text, re.M)


_A, _B = "a" * 64, "b" * 64

SAMPLES = (
    Sample(
        "requirements.txt",
        "# tracking\nnumpy==1.26.4\nMLflow[extras,auth]⟦==2.9.2⇒==3.17.2⟧ ; python_version >= '3.10'  # keep: 2.9.2 was fine\n"
        "mlflow_skinny ⟦>=2.8.1, <3⇒>=3.17.2, <4⟧\nmlflow-plugin==1.2.3\n-c constraints/base.lst\n",
        _requirement_lines,
    ),
    Sample("constraints/base.lst", "mlflow⟦~=2.9⇒~=3.17⟧\nmlflow-skinny⟦!=2.9.1,>=2.8⇒!=2.9.1,>=3.17.2⟧\n", _requirement_lines),
    Sample(
        "requirements/dev.in",
        "-r ../requirements.txt\r\nmlflow ⟦=== 2.9.2⇒=== 3.17.2⟧\r\nmlflow[genai]⟦==2.9.2⇒==3.17.2⟧;sys_platform=='linux'",
        _requirement_lines,
    ),
    Sample(
        "service/requirements-git.txt",
        "mlflow @ git+https://github.com/mlflow/mlflow.git@⟦v2.9.2⇒v3.17.2⟧\n-e git+https://github.com/mlflow/mlflow@⟦v2.9.2⇒v3.17.2⟧#egg=x\n",
        _text,
    ),
    Sample(
        "pyproject.toml",
        '# project\n[project]\nname = "x"\nversion = "2.9.2"\ndependencies = [\n  "mlflow[extras]⟦>=2.8.1⇒>=3.17.2⟧", # core\n'
        "  'mlflow-skinny⟦==2.9.2⇒==3.17.2⟧; python_version < \"3.13\"',\n  \"numpy>=1\",\n]\n"
        '[project.optional-dependencies]\nmlflow = ["pandas==2.9.2", "mlflow⟦<3,>=2.9⇒<4,>=3.17.2⟧"]\n'
        '[dependency-groups]\ntest = ["mlflow (⟦==2.9.*⇒==3.17.*⟧)", {include-group = "x"}]\n'
        '[tool.uv]\nconstraint-dependencies = ["mlflow⟦<3⇒<4⟧"]\n',
        _toml,
    ),
    Sample(
        "poetry/pyproject.toml",
        '[tool.poetry.dependencies]\r\npython = "^3.10"\r\nmlflow = { version = "⟦^2.9⇒^3.17.2⟧", extras = ["x"] } # caret\r\n'
        '[tool.poetry.group.dev.dependencies]\r\nmlflow = "⟦2.9.2⇒3.17.2⟧"\r\n'
        '[[tool.other]]\r\nmlflow = "2.9.2"\r\n[tool.poetry.group.ci.dependencies]\r\n'
        'mlflow = [{version = "⟦~2.9⇒~3.17.2⟧", python = "<3.12"}, {version = "⟦>=2.9 <3.0⇒>=3.17.2 <4.0⟧", python = ">=3.12"}]\r\n',
        lambda text: [version for version in _toml(text.replace('other]]\r\nmlflow = "2.9.2"', "other]]"))],
    ),
    Sample(
        "pdm/pyproject.toml",
        '[project]\nname="p"\n[tool.pdm.dev-dependencies]\nlint = ["mlflow⟦~=2.9.2⇒~=3.17.2⟧"]\n[tool.pdm.resolution.overrides]\n'
        'mlflow = "⟦2.9.2⇒3.17.2⟧"\n',
        _toml,
    ),
    Sample(
        "setup.cfg",
        "[metadata]\nname = x\nversion = 2.9.2\n[options]\ninstall_requires =\n    mlflow⟦>=2.8⇒>=3.17.2⟧\n    # mlflow==1.0\n    six\n"
        "[options.extras_require]\nall = mlflow-skinny⟦==2.9.2⇒==3.17.2⟧\n",
        _ini,
    ),
    Sample(
        "setup.py",
        'from setuptools import setup\n\nMLFLOW_VERSION = "⟦2.9.2⇒3.17.2⟧"\nEXTRA = {"é": [\'mlflow[x]⟦==2.9.2⇒==3.17.2⟧\', """numpy"""]}\n'
        'setup(name="x", install_requires=["mlflow⟦>=2.9.2,<3⇒>=3.17.2,<4⟧",  # "mlflow==0.1"\n])\n',
        _python,
    ),
    Sample(
        "Pipfile",
        '[packages]\nmlflow = "⟦==2.9.2⇒==3.17.2⟧"\nsix = "*"\n[dev-packages]\nmlflow-skinny = {version = "⟦>=2.9.2⇒>=3.17.2⟧", extras = ["a"]}\n',
        _pattern(r"[=>]=([\d.]+)\""),
    ),
    Sample(
        "environment.yml",
        "name: x\nchannels: [conda-forge]\ndependencies:\n  - python=3.10\n  - conda-forge::mlflow⟦=2.9.2=pyh1_0⇒=3.17.2⟧  # build\n"
        "  - mlflow-skinny ⟦>=2.9,<3⇒>=3.17.2,<4⟧\n  - pip:\n      - mlflow[extras]⟦==2.9.2⇒==3.17.2⟧\n      - numpy==2.9.2\n",
        _pattern(r"mlflow(?:-skinny |\[extras\])?[=>]=?([\d.]+\d)"),
    ),
    Sample(
        "conda/conda.yaml",
        "\ufeffdependencies:\r\n- mlflow⟦==2.9.2⇒==3.17.2⟧\r\n- {pip: ['mlflow-tracing⟦>=3.1⇒>=3.17.2⟧']}\r\n",
        _pattern(r"mlflow(?:-tracing)?[=>]=([\d.]+\d)"),
    ),
    Sample(
        "MLproject",
        "name: x\ndocker_env:\n  image: ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧\nentry_points:\n  main:\n"
        '    command: "pip install mlflow⟦==2.9.2⇒==3.17.2⟧ && python x.py"\n',
        _yaml(),
    ),
    Sample(
        "Dockerfile",
        "# syntax=docker/dockerfile:1\nARG MLFLOW_VERSION=⟦2.9.2⇒3.17.2⟧\nFROM ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧ AS base\n"
        "FROM registry.example.org:5000/team/mlflow:⟦2.9.2-full⇒3.17.2-full⟧ AS full\nFROM python:3.11 AS tool\n"
        "# RUN pip install mlflow==1.0\nENV MLFLOW_VERSION ⟦2.9.2⇒3.17.2⟧\n"
        "RUN pip install --no-cache-dir \\\n      'mlflow[extras]⟦==2.9.2⇒==3.17.2⟧' \\\n      mlflow-skinny⟦==2.9.2⇒==3.17.2⟧ numpy==1.26\n"
        'RUN pip install "mlflow==${MLFLOW_VERSION}"\n',
        lambda text: _pattern(r"(?:ARG MLFLOW_VERSION=|ENV MLFLOW_VERSION |mlflow:v?|\]==|skinny==)([\d.]+\d)")(text),
    ),
    Sample(
        "docker/mlflow.Dockerfile",
        "ARG TAG=latest\r\nFROM docker.io/bitnami/mlflow:⟦2.9.2-debian-11-r0⇒3.17.2-debian-11-r0⟧\r\nRUN conda install -y mlflow⟦=2.9.2⇒=3.17.2⟧\r\n",
        _text,
    ),
    Sample(
        "docker-compose.yml",
        "x-image: &image ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧   # anchor\nservices:\n  mlflow:\n    image: *image\n  two:\n"
        "    image: 'ghcr.io/mlflow/mlflow:${TAG:-⟦v2.9.2⇒v3.17.2⟧}'\n    build:\n      args: {MLFLOW_VERSION: ⟦2.9.2⇒3.17.2⟧}\n"
        "    environment:\n      - MLFLOW_VERSION=⟦2.9.2⇒3.17.2⟧\n    command: >\n      sh -c \"pip install mlflow⟦==2.9.2⇒==3.17.2⟧\n      && serve\"\n",
        lambda text: [*_text(text), *re.findall(r"(?:VERSION[:=] ?|TAG:-v)([\d.]+\d)", text)],
    ),
    Sample(
        "chart/Chart.yaml",
        'apiVersion: v2\nname: mlflow\nversion: 0.7.19\nappVersion: "⟦2.9.2⇒3.17.2⟧" # the server\ndependencies:\n- name: mlflow\n  version: 2.9.2\n',
        _yaml("appVersion"),
    ),
    Sample(
        "chart/values.yaml",
        "# defaults\nimage:\n  repository: ghcr.io/mlflow/mlflow\n  tag: ⟦v2.9.2⇒v3.17.2⟧\n  pullPolicy: Always\nsidecar:\n  image: {repository: nginx, tag: 1.25.2}\n",
        _pattern(r"tag: v([\d.]+)"),
    ),
    Sample(
        "platform/values-prod.yaml",
        'mlflow:\n  image:\n    tag: "⟦2.9.2⇒3.17.2⟧"\nredis:\n  image:\n    tag: "2.9.2"\n',
        _pattern(r'mlflow:\n  image:\n    tag: "([\d.]+)'),
    ),
    Sample(
        "chart/templates/job.yaml",
        '{{- if .Values.job }}\nspec:\n  image: "ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧"\n  # old: mlflow:v1.0.0\n{{- end }}\n',
        lambda text: _text(text.replace("mlflow:v1.0.0", "")),
    ),
    Sample(
        "k8s/deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  labels: {app.kubernetes.io/name: mlflow}\nspec:\n  template:\n    spec:\n      containers:\n"
        '      - name: mlflow\n        image: "ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧"\n        env:\n        - name: MLFLOW_VERSION\n'
        "          value: '⟦2.9.2⇒3.17.2⟧'\n        args: [\"pip install mlflow⟦==2.9.2⇒==3.17.2⟧\"]\n---\napiVersion: v1\nkind: ConfigMap\n"
        "data:\n  run.sh: |\n    # pip install mlflow==1.0\n    pip install mlflow⟦==2.9.2⇒==3.17.2⟧\n",
        lambda text: [version for version in _env_list(text) if version != "1.0"],
    ),
    Sample(
        "k8s/kustomization.yaml",
        "images:\n- name: ghcr.io/mlflow/mlflow\n  newTag: ⟦v2.9.2⇒v3.17.2⟧\n- name: postgres\n  newTag: 2.9.2\n",
        _pattern(r"newTag: v([\d.]+)"),
    ),
    Sample(
        ".github/workflows/ci.yml",
        "on: push\nenv:\n  MLFLOW_VERSION: ⟦2.9.2⇒3.17.2⟧\njobs:\n  test:\n    strategy:\n      matrix:\n        mlflow-version: ['⟦2.9.2⇒3.17.2⟧']\n"
        "    services:\n      mlflow: {image: 'ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧'}\n    steps:\n    - run: |\n        pip install \"mlflow⟦==2.9.2⇒==3.17.2⟧\"\n",
        lambda text: _yaml("MLFLOW_VERSION", "mlflow-version")(text),
    ),
    Sample(
        ".gitlab-ci.yml",
        'image: registry.example.org/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧\nvariables:\n  MLFLOW_VERSION: "⟦2.9.2⇒3.17.2⟧"\ntest:\n  script:\n    - uv pip install mlflow⟦==2.9.2⇒==3.17.2⟧\n',
        _yaml("MLFLOW_VERSION"),
    ),
    Sample(
        "infra/main.tf",
        '# mlflow 2.9\nvariable "mlflow_version" {\n  type = string # tag\n  validation { condition = true }\n  default = "⟦v2.9.2⇒v3.17.2⟧"\n}\n'
        'variable "redis_version" {\n  default = "2.9.2"\n}\nlocals {\n  image = "ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧"\n}\n'
        'resource "helm_release" "mlflow" {\n  version = "0.7.19"\n  set {\n    name  = "image.tag"\n    value = "⟦v2.9.2⇒v3.17.2⟧"\n  }\n}\n',
        _pattern(r'"(?:ghcr.io/mlflow/mlflow:)?v([\d.]+)"'),
    ),
    Sample("infra/prod.tfvars", 'mlflow_version = "⟦2.9.2⇒3.17.2⟧" // tag\n', _pattern(r'"([\d.]+)"')),
    Sample(
        "Makefile",
        "MLFLOW_VERSION ?= ⟦2.9.2⇒3.17.2⟧\n# mlflow==1.0\nrun:\n\tpip install mlflow⟦==2.9.2⇒==3.17.2⟧\n\tdocker run ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧\n",
        _make,
    ),
    Sample(
        "scripts/up.sh",
        "#!/usr/bin/env bash\nMLFLOW_VERSION=\"${MLFLOW_VERSION:-⟦2.9.2⇒3.17.2⟧}\"\n# was mlflow==1.0\npip install -q \"mlflow⟦>=2.9,<3⇒>=3.17.2,<4⟧\"\n"
        "conda install -y mlflow⟦=2.9.2⇒=3.17.2⟧\n",
        _bash,
    ),
    Sample(".env.example", "MLFLOW_VERSION=⟦2.9.2⇒3.17.2⟧\nPORT=5000\n", _pattern(r"VERSION=([\d.]+)")),
    Sample(
        "SECURITY.md",
        "# Security\n\n| package | version | CVEs | status |\n| --- | --- | --- | --- |\n| `mlflow`  | ⟦2.9.2⇒3.17.2⟧ | CVE-2024-37052 | open since 2.9.2 |\n"
        "| numpy | 2.9.2 | - | ok |\n",
        _pattern(r"`mlflow`  \| ([\d.]+)"),
    ),
    Sample(
        "config/mlflow_release.yaml",
        "# tracked\ncurrent_version: \"⟦2.9.2⇒3.17.2⟧\"\ncontainer_image: ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧  # registry\nlast_verified: 2026-01-05\n"
        "safety_cves:\n- CVE-2024-37052\nrelease_notes_url: https://github.com/mlflow/mlflow/releases/tag/⟦v2.9.2⇒v3.17.2⟧\nupgrade_status: queued\n",
        lambda text: [*_yaml("current_version")(text), *re.findall(r"tag/v([\d.]+)", text)],
    ),
    Sample(
        "docs/install.md",
        "Run `pip install mlflow⟦==2.9.2⇒==3.17.2⟧` or `docker run ghcr.io/mlflow/mlflow:⟦v2.9.2⇒v3.17.2⟧`.\n",
        _text,
        docs=True,
    ),
)  # fmt: skip


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
