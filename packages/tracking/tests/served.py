"""A real server for a test, as the fixtures hand it over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A real server of a release, and the interpreter of that release's client."""

    version: str
    python: Path
    folder: Path
    url: str

    @property
    def database(self) -> Path:
        """What the server wrote."""
        return self.folder / "mlflow.db"

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Rows of the server's database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            return list(db.execute(sql))

    def has(self, table: str) -> bool:
        """Whether this release has a table."""
        return bool(self.rows(f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{table}'"))
