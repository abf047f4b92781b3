"""`scan` beside ruff and grep: a million lines of which 1 % of files mention MLflow, and 50,000 lines that all do.

The trees are made from the Python files of this checkout's own environment and of MLflow's source distribution, so
they are real code. Each program is started anew; times are the best of three; memory is its own peak.
grep looks for six names, as people do; ruff runs its default rules and reads every file.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uv

import liftlock
from liftlock.report.text import table

ROUNDS = 3
LINES = 1_000_000
DENSE = 50_000
GOALS = {"sparse": (3.0, 300), "dense": (1.5, 300)}
MLFLOW = "mlflow==2.9.2"
_Best = tuple[float, float]  # seconds by the clock, and of processors
_NAMES = r"list_experiments|list_run_infos|run_uuid|baseline_model|custom_metrics|higher_is_better"
_SCAN = (
    "import resource, sys; from liftlock.cli.main import process\n"
    "try: process()\n"
    "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
)


def main() -> bool:
    """Print the table; True when a goal is missed."""
    missed = False
    with tempfile.TemporaryDirectory(prefix="liftlock-bench-") as scratch:
        source = _mlflow(Path(scratch))
        trees = {"sparse": _sparse(Path(scratch, "sparse"), source), "dense": _dense(Path(scratch, "dense"), source)}
        rows = []
        for name, (tree, lines) in trees.items():
            (wall, cpu), megabytes = _scan(tree)
            goal, most = GOALS[name]
            missed = missed or wall > goal or megabytes > most
            figures = (f"{wall:.2f}", f"{cpu:.2f}", f"{megabytes:.0f}", f"{goal} s, {most} MB")
            rows.append((name, lines, "liftlock scan", *figures))
            for program, words in {"ruff check": _ruff(tree), "grep -rE": ["grep", "-rnE", _NAMES, str(tree)]}.items():
                (wall, cpu), _ = _best(words)
                rows.append((name, lines, program, f"{wall:.2f}", f"{cpu:.2f}", "", ""))
    print(table(("tree", "lines", "program", "s", "processor s", "MB", "goal"), rows))
    return missed


def _mlflow(scratch: Path) -> list[Path]:
    words = [uv.find_uv_bin(), "tool", "run", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*words, "--no-build-isolation", MLFLOW, "-d", scratch], check=False, capture_output=True)
    archive = next(iter(scratch.glob("mlflow-*.tar.gz")), None)
    if archive is None:
        subprocess.run([*words, MLFLOW, "-d", scratch], check=True, capture_output=True)
        archive = next(iter(scratch.glob("mlflow-*.tar.gz")))
    with tarfile.open(archive) as opened:
        opened.extractall(scratch / "source", filter="data")
    return sorted(path for path in (scratch / "source").rglob("*.py") if "protos" not in path.parts)


def _sparse(tree: Path, source: list[Path]) -> tuple[Path, int]:
    """Every hundredth file mentions MLflow."""
    packages = Path(liftlock.__file__).parents[2]
    site = next((Path(each) for each in sys.path if each.endswith("site-packages")), packages)
    others = [path for path in sorted(site.rglob("*.py")) if b"mlflow" not in path.read_bytes().lower()]
    lines = number = 0
    while lines < LINES:
        path = source[number // 100 % len(source)] if number % 100 == 99 else others[number % len(others)]
        lines += _copy(path, tree / f"d{number // 200}" / f"{number}_{path.name}")
        number += 1
    return tree, lines


def _dense(tree: Path, source: list[Path]) -> tuple[Path, int]:
    """Only files that mention it."""
    lines = 0
    for number, path in enumerate(path for path in source if b"mlflow" in path.read_bytes()):
        if lines >= DENSE:
            break
        lines += _copy(path, tree / f"d{number // 50}" / f"{number}_{path.name}")
    return tree, lines


def _copy(path: Path, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    return target.read_bytes().count(b"\n")


def _scan(tree: Path) -> tuple[_Best, float]:
    words = [sys.executable, "-c", _SCAN, "scan", str(tree), "--from", "2.9.2", "--to", "3.17.2", "--json"]
    best, said = _best(words)
    return best, max(int(each.split()[-1]) for each in said) / 1024


def _ruff(tree: Path) -> list[str]:
    return [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--isolated", "-q", str(tree)]


def _best(words: Sequence[str]) -> tuple[_Best, list[str]]:
    """The least of the rounds, and what each wrote to its standard error."""
    walls, cpus, said = [], [], []
    for _ in range(ROUNDS):
        start, before = time.perf_counter(), _used()
        said.append(subprocess.run(words, capture_output=True, text=True, check=False).stderr)
        walls.append(time.perf_counter() - start)
        cpus.append(_used() - before)
    return (min(walls), min(cpus)), said


def _used() -> float:
    """Processor seconds of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
