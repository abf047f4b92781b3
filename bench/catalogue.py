"""The catalogue of releases: what it weighs, how fast it answers, and how long reading every release again takes.

Times of answers are of whole processes (start, load, print), the median of five. Reading is measured over the
distributions already kept in liftlock's cache (`make catalogue` fetches them); without any the line is left out.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

from liftlock.knowledge.catalogue import load
from liftlock.knowledge.extract.release import Reader
from liftlock.releases.environment import default_cache
from liftlock.report.text import table

COMMANDS = (
    ("releases", "list"),
    ("releases", "path", "2.9.2", "3.17.2"),
    ("releases", "diff", "2.9.2", "3.17.2"),
    ("releases", "diff", "1.0.0", "3.18.0", "--all"),
    ("advisories", "--from", "2.9.2", "--to", "3.17.2"),
)
RUNS = 5


def main() -> None:
    """Print the table."""
    rows: list[tuple[object, ...]] = []
    place = resources.files("liftlock.knowledge").joinpath("data/catalogue")
    with resources.as_file(place) as directory:
        size = sum(path.stat().st_size for path in directory.iterdir())
    rows.append((f"shipped, {len(load().releases)} releases", f"{size / 1000:.0f} kB", "500 kB"))
    for words in COMMANDS:
        rows.append(("liftlock " + " ".join(words), f"{_answer(words):.2f} s", "0.5 s"))
    kept = sorted((default_cache() / "distributions").glob("mlflow-*.whl"))
    if kept:
        rows.append((f"reading {len(kept)} distributions, one process", f"{_read(kept):.0f} s CPU", "1800 s CPU"))
    print(table(("what", "measured", "target"), rows))


def _answer(words: tuple[str, ...]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        with tempfile.TemporaryFile() as out:
            subprocess.run([str(Path(sys.executable).parent / "liftlock"), *words], stdout=out, check=False)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _read(kept: list[Path]) -> float:
    reader = Reader()
    start = time.process_time()
    for path in kept:
        reader.facts(path)
    return time.process_time() - start


if __name__ == "__main__":
    main()
