"""`pin --support --build`: what resolves is really installed and imported, in the cache, before a file changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import stub_release
from tests.support.stub_release import NEW, OLD


def pin(place: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LIFTLOCK_", "UV_", "PIP_"))}
    words = ["pin", NEW, str(place), "--plain-directory", "--support", "--build", "--yes"]
    return subprocess.run(
        [Path(sys.executable).parent / "liftlock", *words], env={**kept, **stub_release.variables(cache)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_it_is_built_before_it_is_pinned(tmp_path: Path) -> None:
    place, cache = tmp_path / "repository", tmp_path / "cache"
    place.mkdir()
    requirements = place / "requirements.txt"
    requirements.write_text(f"mlflow=={OLD}\n")
    cache.write_text("not a directory, so nothing can be built in it")
    failed = pin(place, cache)
    assert failed.returncode not in (0, 1) and "Traceback" not in failed.stderr
    assert requirements.read_text() == f"mlflow=={OLD}\n"
    cache.unlink()
    done = pin(place, cache)
    assert done.returncode == 0, done.stderr
    assert requirements.read_text() == f"mlflow=={NEW}\n" and "resolves: requirements.txt" in done.stdout
    (python,) = cache.glob(f"environments/{NEW}-*/venv/bin/python")
    told = subprocess.run([python, "-c", "import mlflow; print(mlflow.__version__)"], capture_output=True, text=True)
    assert told.stdout.strip() == NEW
