"""How long `liftlock --help` and `liftlock status` take, whole processes, beside an interpreter that does nothing."""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROUNDS = 20
GOAL = 0.2

_CONFIG = """
format = 1
name = "bench"
[server]
release = "2.9.2"
python = "{python}"
working_directory = "{directory}"
host = "127.0.0.1"
port = 59999
[stores]
tracking = "sqlite:///{directory}/mlflow.db"
"""


def seconds(words: list[str], directory: Path) -> float:
    # Byte code is kept, as it is for every installed program; here beside the data, so that the first round is alike.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(directory / "pycache")
    started = time.perf_counter()
    subprocess.run(words, cwd=directory, env=env, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> int:
    program = str(Path(sys.executable).with_name("liftlock"))
    with tempfile.TemporaryDirectory(prefix="liftlock-bench-") as name:
        directory = Path(name)
        (directory / "liftlock.toml").write_text(_CONFIG.format(python=sys.executable, directory=directory))
        with closing(sqlite3.connect(directory / "mlflow.db")) as connection, connection:
            connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            connection.execute("INSERT INTO alembic_version VALUES ('acf3f17fdcc7')")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "liftlock --help": [program, "--help"],
            "liftlock status": [program, "status"],
        }
        times: dict[str, list[float]] = {shown: [] for shown in commands}
        for words in commands.values():
            seconds(words, directory)  # writes byte code once
        for _ in range(ROUNDS):
            for shown, words in commands.items():
                times[shown].append(seconds(words, directory))
    print(f"{ROUNDS} alternated rounds, goal {GOAL} s for liftlock's")
    for shown, values in times.items():
        print(f"  {shown:<16} {statistics.median(values):.3f} s  ({min(values):.3f}-{max(values):.3f})")
    return int(any(statistics.median(values) > GOAL for shown, values in times.items() if "liftlock" in shown))


if __name__ == "__main__":
    sys.exit(main())
