"""A systemd unit for the gate of this deployment, so that it runs again after a crash and after a reboot."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from liftlock.app import gate_process as process
from liftlock.app.gate import installed
from liftlock.app.workspace import Workspace
from liftlock.errors import Refused

_UNIT = """\
[Unit]
Description=liftlock gate in front of MLflow ({name})
Wants=network-online.target
After=network-online.target
# Should another gate of this directory run still, try until it has ended.
StartLimitIntervalSec=0

[Service]
ExecStart={command}
WorkingDirectory={directory}
User={user}
UMask=0077
LimitNOFILE=65536
NoNewPrivileges=yes
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def unit(workspace: Workspace) -> str:
    """The text of the unit. Raises Refused when no gate is installed."""
    record = installed(workspace)
    if record is None:
        raise Refused("no gate is installed", hint="`liftlock gate install` first.")
    config = workspace.config
    command = [*_program(), *process.words(workspace, record, process.directory(workspace))]
    return _UNIT.format(
        name=_plain(config.name), command=" ".join(map(_quoted, command)), directory=_plain(str(config.directory)),
        user=getpass.getuser(),
    )  # fmt: skip


def _program() -> list[str]:
    script = Path(sys.executable).with_name("liftlock")
    return [str(script)] if script.exists() else [sys.executable, "-m", "liftlock.cli.main"]


def _plain(text: str) -> str:
    """A text outside of a command, where only specifiers have a meaning."""
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(word: str) -> str:
    """One word of ExecStart: systemd unquotes it, and replaces specifiers and variables (systemd.service(5))."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if set(word) & set(" \t'\";") or not word else word
