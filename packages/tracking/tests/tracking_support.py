"""Support for the plugin's tests: the plugin beside a release, and applications and commands run with it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import tomllib

PACKAGE = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("worker.py")


def overlay(folder: Path) -> Path:
    """A folder for PYTHONPATH that makes the plugin's entry points known without touching the release's environment."""
    meta = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = folder / "overlay" / "liftlock_tracking-0.1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: liftlock-tracking\nVersion: 0.1.0\n")
    lines: list[str] = []
    for group, points in meta["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return info.parent


def variables(folder: Path, uri: str | None, **more: str) -> dict[str, str]:
    """The environment of an application that uses the plugin with its spool in `folder`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LIFTLOCK_", "PYTHON"))}
    env = {
        **kept,
        "PYTHONPATH": f"{overlay(folder)}{os.pathsep}{PACKAGE / 'src'}",
        "PYTHONWARNINGS": "ignore",
        "LIFTLOCK_TRACKING_SPOOL": str(folder / "spool"),
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if uri:
        env["MLFLOW_TRACKING_URI"] = uri
    return {**env, **more}


def run(
    python: Path, arguments: list[str], env: dict[str, str], cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run an application to its end."""
    return subprocess.run([str(python), *arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout)


def command(
    python: Path, words: list[str], env: dict[str, str], cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `liftlock-tracking`."""
    return run(python, ["-m", "liftlock_tracking.cli", *words], env, cwd, timeout)


def begin(
    python: Path, tmp: Path, uri: str, seeds: str, seconds: float, *words: str, **more: str
) -> subprocess.Popen[bytes]:
    """Start applications, one a seed; their ledgers, reports and log are in `tmp`."""
    arguments = [str(python), str(WORKER), str(tmp), seeds, str(seconds), *words]
    env = variables(tmp, uri, **more)
    with (tmp / "log").open("ab") as log:
        return subprocess.Popen(arguments, env=env, cwd=tmp, stdout=log, stderr=subprocess.STDOUT)


def ended(app: subprocess.Popen[bytes], tmp: Path, timeout: float = 180) -> None:
    """Wait for applications to end well."""
    assert app.wait(timeout) == 0, (tmp / "log").read_text()[-3000:]


def held_up(tmp: Path, bound: float) -> list[object]:
    """Of the applications' own reports those that say that a call failed, or waited for the server.

    Calls may be held up by a busy machine, four of them for long; waiting for a server that hangs would show as more.
    """
    found: list[object] = []
    for path in tmp.glob("report-*.json"):
        report = json.loads(path.read_text())
        if report["failed"] or report["slowest"][0][0] >= bound or report["slowest"][-1][0] >= 0.5:
            found.append(report)
    assert list(tmp.glob("report-*.json")), "no application wrote a report"
    return found


def ship(python: Path, tmp: Path, uri: str) -> None:
    """Send everything that was left; nothing may be refused or stay."""
    env = variables(tmp, uri)
    done = command(python, ["ship", "--seconds", "600"], env, tmp, 630)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [p.name for p in (tmp / "spool").rglob("*.seg")] == []
    assert list((tmp / "spool").rglob("blobs/*/*")) == []


def status(python: Path, tmp: Path, uri: str) -> dict[str, Any]:
    """What `status --json --ids` says about the only spool."""
    shown = command(python, ["status", "--json", "--ids"], variables(tmp, uri), tmp)
    (facts,) = json.loads(shown.stdout)["spools"]
    return dict(facts)
