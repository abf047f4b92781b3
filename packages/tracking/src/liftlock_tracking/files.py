"""Artifacts in the spool: a copy (or a hard link) taken at the call, sent to where the server keeps artifacts."""

from __future__ import annotations

import mimetypes
import os
import posixpath
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote, urlsplit

from liftlock_tracking.segments import make_private
from liftlock_tracking.wire import Away, Refused, Unreachable, Wire

if TYPE_CHECKING:
    from liftlock_tracking.replay import Replay

SCHEME = "liftlock-artifacts"
LINK_FROM = 16 << 20
UPLOAD_SECONDS = 120.0
_PROXIED = "/api/2.0/mlflow-artifacts/artifacts/"


def keep(folder: Path, source: str) -> tuple[str, int]:
    """Take a file into the spool; returns its name there and its size. Raises OSError.

    Small files are copied. From LINK_FROM bytes on a hard link is taken where possible, so that the call
    stays short: such a file must be replaced, not written into, until it is shipped.
    """
    name = f"{uuid.uuid4().hex}/{os.path.basename(source)}"
    target = folder / "blobs" / name
    make_private(folder)
    target.parent.mkdir(parents=True, mode=0o700)
    size = os.path.getsize(source)
    if size >= LINK_FROM:
        with suppress(OSError):
            os.link(source, target)
            return name, size
    try:
        shutil.copyfile(source, target)
        target.chmod(0o600)
    except OSError:
        drop(folder, name)
        raise
    return name, size


def drop(folder: Path, name: str) -> None:
    """Remove a file from the spool."""
    target = folder / "blobs" / name
    with suppress(OSError):
        target.unlink()
    with suppress(OSError):
        target.parent.rmdir()


def ship(replay: Replay, wire: Wire, call: dict[str, Any]) -> Optional[str]:
    """Send one artifact; returns why the server refused it, or None. Raises Unreachable."""
    blob = Path(call["folder"]) / "blobs" / call["blob"]
    if not blob.exists():
        return None if replay.repeated else "its copy in the spool is gone"
    root = place(replay, call["root"])
    if root is None:
        return "the run it belongs to was refused by the server"
    if root:
        _name_itself_truly(replay, blob)
        refused = _send(wire, root, call.get("path") or "", blob)
        if refused is not None:
            return refused
    drop(Path(call["folder"]), call["blob"])
    return None


def _name_itself_truly(replay: Replay, blob: Path) -> None:
    """A model's own description, and a trace, name themselves and their run: put the server's ids in place of ours."""
    if blob.name not in ("MLmodel", "traces.json"):
        return
    before = blob.read_text(encoding="utf-8")
    after = replay.resolve(before)
    if after != before:
        fresh = blob.with_name(f"{blob.name}.new")
        fresh.write_text(after, encoding="utf-8")
        fresh.replace(blob)


def place(replay: Replay, root: str) -> Optional[str]:
    """The real root for a spooled artifact: None if refused, empty if it need not be sent at all."""
    if not root.startswith(SCHEME):
        return str(replay.resolve(root))
    kind, _, name = urlsplit(root).path.strip("/").partition("/")
    if kind == "trace":
        known = replay.told(f"trace:{name}")
        # The server took the spans themselves into its database: the copy as a file is not needed.
        return "" if known.get("spans") == "TRACKING_STORE" else known.get("artifact_uri") or None
    replay.resolve(name)
    return replay.told(name).get("artifact_uri") or None


def _send(wire: Wire, root: str, path: str, blob: Path) -> Optional[str]:
    parts = urlsplit(root)
    if parts.scheme == "mlflow-artifacts" and not parts.netloc:
        target = posixpath.join(parts.path.lstrip("/"), path, blob.name)
        kind = mimetypes.guess_type(blob.name)[0] or "application/octet-stream"
        with blob.open("rb") as body:
            answer = wire.call(
                "PUT",
                _PROXIED + quote(target),
                data=body if blob.stat().st_size else b"",
                extra_headers={"Content-Type": kind},
                timeout=max(UPLOAD_SECONDS, wire.timeout),
            )
        if isinstance(answer, Away):
            raise Unreachable(answer)
        return answer.reason if isinstance(answer, Refused) else None
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        get_artifact_repository(root).log_artifact(str(blob), path or None)
    except Exception as problem:
        raise Unreachable(Away(f"artifact store: {problem}", reached=True)) from problem
    return None
