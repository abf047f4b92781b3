"""`pin` on real source distributions that name MLflow's version: what changes, what is left, and how long it takes.

The distributions come from the package index through pip, into a scratch directory; nothing is kept. `changed bytes`
counts the bytes between the pins' own that differ (which must be none); `left over` is what `pin` says it did not
change. The last line is a generated repository of 20,000 files, of which one in a hundred holds a pin.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import uv

from liftlock.app.pin import Options, apply, prepare, undo
from liftlock.model.release import Release
from liftlock.report.text import table

SDISTS = (
    "kedro-mlflow==2.0.3",
    "aim-mlflow==0.2.1",
    "mlserver-mlflow==1.7.1",
    "pytorch-tabular==1.2.0",
    "airflow-provider-mlflow==1.1.0",
    "dagster-mlflow==0.29.27",
    "auto-mlflow==1.5",
    "bentoml==1.4.40",
    "flaml==2.8.0",
    "optuna-integration==5.0.0",
    "sagemaker-mlflow==0.5.0",
    "sitaka-api==0.1.0",
    "smartdeploymiguel==0.1.1",
    "tango-mlflow==2.0.0",
    "trieye==0.1.5",
    "umlaut==0.3.4",
    "zendag==0.1.5",
)
TARGET = Release(version="3.17.2")
FILES = 20_000


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="liftlock-bench-") as scratch:
        rows = [row for name in SDISTS if (row := _sdist(name, Path(scratch))) is not None]
        rows.append(_measured("generated, 20,000 files", _generated(Path(scratch, "many"))))
    print(
        table(("repository", "files", "pins", "changed", "other bytes", "left over", "look s", "write s", "undo"), rows)
    )


def _sdist(name: str, scratch: Path) -> tuple[object, ...] | None:
    place = scratch / name.replace("==", "-")
    place.mkdir()
    words = [
        uv.find_uv_bin(),
        "tool",
        "run",
        "--quiet",
        "pip",
        "download",
        "--no-deps",
        "--no-binary",
        ":all:",
        "-q",
        name,
    ]
    done = subprocess.run(words, cwd=place, capture_output=True, check=False)
    archives = list(place.glob("*.tar.gz"))
    if done.returncode or not archives:
        print(f"{name}: not to be had as a source distribution", file=sys.stderr)
        return None
    with tarfile.open(archives[0]) as archive:
        archive.extractall(place / "tree", filter="data")
    return _measured(name, next((place / "tree").iterdir()))


def _measured(name: str, root: Path) -> tuple[object, ...]:
    options = Options(offline=True, plain=True, drop_digests=True)
    before = _contents(root)
    start = time.perf_counter()
    proposed = prepare(root, TARGET, options)
    looked = time.perf_counter()
    apply(proposed)
    written = time.perf_counter()
    after = _contents(root)
    other = sum(_other_bytes(before[path], after[path], proposed.proposal.target.version) for path in before)
    if proposed.proposal.changes:
        undo(root, plain=True)
    return (
        name, len(before), proposed.proposal.pins, len(proposed.proposal.changes), other,
        len(proposed.proposal.leftovers) + len(proposed.proposal.stale), f"{looked - start:.2f}",
        f"{written - looked:.2f}", "exact" if _contents(root) == before else "DIFFERS",
    )  # fmt: skip


def _other_bytes(before: bytes, after: bytes, version: object) -> int:
    """Characters on changed lines that differ and are neither digits, dots and operators nor part of the version."""
    if before == after:
        return 0
    pairs = zip(before.decode().splitlines(), after.decode().splitlines(), strict=True)
    count = 0
    for old, new in pairs:
        if old == new:
            continue
        for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if kind != "equal":
                count += sum(1 for each in old[a:b] + new[c:d] if each not in f"0123456789.*<>=~^{version}")
    return count


def _contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and ".liftlock" not in path.parts
    }


def _generated(root: Path) -> Path:
    for number in range(FILES):
        folder = root / f"d{number // 200}" / f"s{number // 20}"
        folder.mkdir(parents=True, exist_ok=True)
        if number % 100 == 0:
            (folder / "requirements.txt").write_text(f"six=={number}\nmlflow==2.9.2\nnumpy>=1\n")
        else:
            (folder / f"m{number}.py").write_text("def f(x):\n    return x + 1\n\n\n" * 40)
    return root


if __name__ == "__main__":
    main()
