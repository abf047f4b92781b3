"""Small distributions made for a test: a wheel or an sdist with the files it needs."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

_MINIMAL = {
    "mlflow/__init__.py": "",
    "mlflow/cli.py": "import click\n@click.group()\ndef cli():\n    pass\n",
    "mlflow/server/__init__.py": "",
    "mlflow/server/handlers.py": "HANDLERS = {}\ndef get_endpoints():\n    return []\n",
}
_WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(directory: Path, version: str, files: Mapping[str, str], metadata: str = "") -> Path:
    """A wheel `mlflow-VERSION` with these files over an empty program; `metadata` are further METADATA lines."""
    path = directory / f"mlflow-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**_MINIMAL, **files}.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10)), text)
        head = f"Metadata-Version: 2.1\nName: mlflow\nVersion: {version}\n{metadata}"
        for name, text in {"METADATA": head, "WHEEL": _WHEEL, "RECORD": ""}.items():  # all of them, or pip takes it not
            archive.writestr(zipfile.ZipInfo(f"mlflow-{version}.dist-info/{name}", (2024, 5, 6, 7, 8, 10)), text)
    return path


def sdist(directory: Path, version: str, files: Mapping[str, str]) -> Path:
    """An sdist `mlflow-VERSION.tar.gz` whose PKG-INFO says nothing of dependencies, as MLflow's old ones."""
    path = directory / f"mlflow-{version}.tar.gz"
    info = f"Metadata-Version: 1.1\nName: mlflow\nVersion: {version}\n"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {**_MINIMAL, "PKG-INFO": info, **files}.items():
            entry = tarfile.TarInfo(f"mlflow-{version}/{name}")
            entry.size = len(text.encode())
            entry.mtime = 1_572_500_000  # 31 October 2019
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path
