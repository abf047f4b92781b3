"""A package index in a directory: tiny wheels of MLflow and what it needs, so that real resolvers run offline."""

from __future__ import annotations

import zipfile
from pathlib import Path

WHEELS = (
    ("mlflow", "2.9.2", ("mlflow-skinny==2.9.2", "helper<2")),
    ("mlflow", "3.17.2", ("mlflow-skinny==3.17.2", "helper>=2")),
    ("mlflow", "3.18.0", ("mlflow-skinny==3.18.0", "helper>=2")),
    *(("mlflow-skinny", version, ()) for version in ("2.9.2", "3.17.2", "3.18.0")),
    *(("helper", version, ()) for version in ("1.0", "2.0")),
)


def make(directory: Path) -> Path:
    """Write the wheels into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, version, needs in WHEELS:
        plain = name.replace("-", "_")
        info = f"{plain}-{version}.dist-info"
        requires = "".join(f"Requires-Dist: {each}\n" for each in needs)
        with zipfile.ZipFile(directory / f"{plain}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{plain}/__init__.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    return directory
