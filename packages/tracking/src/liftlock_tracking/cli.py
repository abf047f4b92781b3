"""`liftlock-tracking`: what is in the spool, send it, find out what is wrong, throw away what was refused.

Exit statuses: 0 done, 1 something is waiting, refused or wrong, 2 the words of the command are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from liftlock_tracking import __version__, settings
from liftlock_tracking.settings import PREFIX, SWITCHES, Settings, SettingsError

SERVICE_EVERY = 2.0


def main(argv: Optional[list[str]] = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="liftlock-tracking", description="The spool of liftlock-tracking.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--spool", help="the spool's root (default: LIFTLOCK_TRACKING_SPOOL or the user's state folder)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="phase, waiting calls, oldest, last error")
    status.add_argument("--json", action="store_true")
    status.add_argument("--metrics", action="store_true", help="as text for Prometheus")
    status.add_argument("--ids", action="store_true", help="also the server's id for every provisional one")
    ship = commands.add_parser("ship", help="send what processes that are gone left behind")
    ship.add_argument("--seconds", type=float, default=60.0, help="give up after this long (default 60)")
    ship.add_argument("--service", action="store_true", help="keep running and ship whatever appears")
    commands.add_parser("doctor", help="test every link of the chain and say what to do about a broken one")
    purge = commands.add_parser("purge", help="throw away calls the server refused, or everything that waits")
    purge.add_argument("--refused", action="store_true")
    purge.add_argument("--everything", action="store_true", help="also calls not sent yet: they are lost")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(argv)
    if given.spool:
        os.environ["LIFTLOCK_TRACKING_SPOOL"] = given.spool
    try:
        return {"status": _status, "ship": _ship, "doctor": _doctor, "purge": _purge}[given.command](given)
    except SettingsError as problem:
        print(f"liftlock-tracking: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0


# --- what is there -----------------------------------------------------------------------------------------


def spools() -> list[Path]:
    """Every server's folder in the spool."""
    root = settings.spool_root()
    return sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []


def describe(folder: Path, *, ids: bool = False) -> dict[str, Any]:
    """The facts about one server's spool: sizes in bytes, times in Unix seconds."""
    from liftlock_tracking.segments import owner_lives, read_window, segment_files
    from liftlock_tracking.state import State

    state = State(folder)
    known = (folder / "state.sqlite").exists()
    calls = waiting = live = 0
    oldest: Optional[float] = None
    for path in segment_files(folder):
        offset = state.marked(path.name) if known else 0
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            size = os.fstat(descriptor).st_size
            waiting += max(0, size - offset)
            if size > offset:
                oldest = min(oldest or 1e18, int(path.name.split("-")[0]) / 1e9)
            while offset < size:
                good, _, end = read_window(descriptor, offset, size, complete=True)
                calls += len(good)
                if end <= offset:
                    break
                offset = end
        finally:
            os.close(descriptor)
        live += owner_lives(path)
    notes = state.notes() if known else {}
    quarantine = folder / "quarantine"
    facts: dict[str, Any] = {
        "server": bare(server(folder)),
        "folder": str(folder),
        "waiting_calls": calls,
        "waiting_bytes": waiting,
        "artifact_bytes": sum(p.stat().st_size for p in (folder / "blobs").rglob("*") if p.is_file()),
        "oldest": oldest,
        "live_writers": live,
        "refused": len(state.rejected()) if known else 0,
        "quarantined": len(list(quarantine.iterdir())) if quarantine.is_dir() else 0,
        "lost": int(notes.get("calls lost", ("0", 0))[0]),
        "last_error": notes.get("last error", ("", 0.0))[0],
        "last_error_at": notes.get("last error", ("", 0.0))[1] or None,
    }
    if ids and known:
        facts["ids"] = [{"provisional": p, "server": r, "kind": k} for p, r, k in state.ids()]
    if known:
        facts["refused_calls"] = [
            {"run": run, "reason": reason, "at": at, "call": json.loads(call)}
            for _, run, call, reason, at in state.rejected()
        ]
    return facts


def server(folder: Path) -> str:
    """The server's URI as the application wrote it down, for `ship`; credentials are in the environment."""
    try:
        return (folder / "server").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def bare(uri: str) -> str:
    """A URI as it may be shown: without a user and password that somebody wrote into it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def phase() -> str:
    """Which of the three phases the environment asks for."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or not SWITCHES.tracking() or uri.startswith(settings.OFF_URI):
        return "0 off"
    if not uri.startswith(PREFIX):
        return "MLflow without the plugin"
    return "2 tracking and tracing" if SWITCHES.tracing() else "1 tracking"


def _status(given: argparse.Namespace) -> int:
    found = [describe(folder, ids=given.ids) for folder in spools()]
    if given.json:
        print(json.dumps({"phase": phase(), "spools": found}, indent=2))
    elif given.metrics:
        for facts in found:
            label = '{server="' + facts["server"].replace('"', "") + '"}'
            for name in (
                "waiting_calls",
                "waiting_bytes",
                "artifact_bytes",
                "refused",
                "quarantined",
                "lost",
                "live_writers",
            ):
                print(f"liftlock_tracking_{name}{label} {facts[name]}")
            age = time.time() - facts["oldest"] if facts["oldest"] else 0
            print(f"liftlock_tracking_oldest_seconds{label} {age:.0f}")
    else:
        print(f"phase: {phase()}")
        for facts in found:
            print(f"\n{facts['server'] or facts['folder']}")
            print(
                f"  waiting   {facts['waiting_calls']} calls, {facts['waiting_bytes']} bytes, artifacts {facts['artifact_bytes']} bytes"
            )
            if facts["oldest"]:
                print(f"  oldest    {_when(facts['oldest'])}")
            print(f"  writers   {facts['live_writers']} processes running")
            print(
                f"  refused   {facts['refused']} calls, {facts['quarantined']} damaged pieces set aside, {facts['lost']} lost"
            )
            for call in facts.get("refused_calls", [])[:10]:
                print(f"            run {call['run'] or '-'}: {call['reason']}")
            if facts["last_error"]:
                print(f"  last error {_when(facts['last_error_at'])}: {facts['last_error']}")
            for pair in facts.get("ids", []):
                print(f"  {pair['kind']} {pair['provisional']} -> {pair['server'] or 'refused'}")
        if not found:
            print(f"nothing was ever spooled in {settings.spool_root()}")
    return 1 if any(f["refused"] or f["quarantined"] or f["lost"] for f in found) else 0


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


# --- send --------------------------------------------------------------------------------------------------


def _settings(folder: Path) -> Settings:
    return replace(settings.load(PREFIX + server(folder)), spool=folder)


def _ship(given: argparse.Namespace) -> int:
    if not SWITCHES.tracking():
        print("tracking is switched off (MLFLOW_ENABLE_TRACKING=false): nothing is sent", file=sys.stderr)
        return 1
    from liftlock_tracking.shipper import drain

    stop: list[int] = []
    if given.service:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: stop.append(received))
    said: dict[Path, str] = {}
    while True:
        status = 0
        for folder in spools():
            if not server(folder):
                continue
            calls, left, reason = drain(_settings(folder), seconds=given.seconds)
            if calls or not given.service or reason != said.get(folder, ""):
                # A service says a reason once, not every two seconds of an outage.
                why = f" ({reason})" if reason else ""
                print(f"{bare(server(folder))}: {calls} calls sent, {left} files left{why}", flush=True)
            said[folder] = reason
            status |= bool(reason)
        if not given.service or stop:
            return status
        deadline = time.monotonic() + SERVICE_EVERY
        while time.monotonic() < deadline:
            if stop:
                return status
            time.sleep(0.05)


# --- find out what is wrong ----------------------------------------------------------------------------------


def _doctor(_: argparse.Namespace) -> int:
    from liftlock_tracking import doctor

    wrong = 0
    for name, good, said, fix in doctor.examine():
        wrong += good is False
        print(f"{'ok  ' if good else 'FAIL' if good is False else '--  '} {name}: {said}")
        if good is False and fix:
            print(f"     fix: {fix}")
    return 1 if wrong else 0


# --- throw away ----------------------------------------------------------------------------------------------


def _purge(given: argparse.Namespace) -> int:
    from liftlock_tracking.segments import owner_lives, segment_files
    from liftlock_tracking.state import State

    if not (given.refused or given.everything):
        print("say what: --refused or --everything", file=sys.stderr)
        return 2
    if not given.yes:
        if not sys.stdin.isatty():
            print("this loses calls for good: say --yes", file=sys.stderr)
            return 2
        if input("this loses calls for good; type yes: ").strip() != "yes":
            return 1
    for folder in spools():
        state = State(folder)
        count = state.clear_rejected() if (folder / "state.sqlite").exists() else 0
        shutil.rmtree(folder / "quarantine", ignore_errors=True)
        print(f"{bare(server(folder)) or folder}: {count} refused calls thrown away")
        if given.everything:
            kept = 0
            for path in segment_files(folder):
                if owner_lives(path):
                    kept += 1
                    continue
                path.unlink(missing_ok=True)
                try:
                    state.forget(path.name)
                except sqlite3.Error as problem:
                    print(f"  {problem}", file=sys.stderr)
            if not kept:
                shutil.rmtree(folder / "blobs", ignore_errors=True)
            print(f"  everything that waited thrown away; {kept} files of running processes kept")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
