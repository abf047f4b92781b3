"""The artifact repository: writing is spooled, reading asks the release's own repository once all is shipped."""

from __future__ import annotations

import os
import posixpath
import shutil
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import urlsplit

from mlflow.entities import FileInfo

from liftlock_tracking import asking, files
from liftlock_tracking.runtime import Runtime, runtime_for
from liftlock_tracking.settings import OFF_URI, PREFIX, SWITCHES


def build(artifact_uri: str, tracking_uri: Optional[str] = None, registry_uri: Optional[str] = None, **_: Any) -> Any:
    """Ours where the tracking URI is ours; the release's own repository otherwise."""
    uri = tracking_uri
    if not uri:
        from mlflow.tracking import get_tracking_uri

        uri = get_tracking_uri()
    if not uri.startswith(PREFIX):
        return _release(artifact_uri, uri, registry_uri)
    runtime = None if uri.startswith(OFF_URI) else runtime_for(uri)
    return _repository_class()(artifact_uri, runtime)


def _release(artifact_uri: str, tracking_uri: str, registry_uri: Optional[str]) -> Any:
    """The release's own repository for an mlflow-artifacts: URI and a plain http(s) tracking URI."""
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    try:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)
    except TypeError:
        # Releases before 2.22 ask for the tracking URI themselves, and would find ours.
        return HttpArtifactRepository(MlflowArtifactsRepository.resolve_uri(artifact_uri, tracking_uri))


if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
else:
    # The release's own class is mixed in by `_repository_class`, when it is needed.
    ArtifactRepository = object


@lru_cache(maxsize=1)
def _repository_class() -> type:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    return type("LiftlockArtifacts", (SpooledArtifacts, ArtifactRepository), {"__module__": __name__})


class SpooledArtifacts(ArtifactRepository):
    """Mixed in before the release's ArtifactRepository by `_repository_class`."""

    def __init__(self, artifact_uri: str, runtime: Optional[Runtime]) -> None:
        super().__init__(artifact_uri)
        self._runtime = runtime
        self._root = artifact_uri.rstrip("/")

    def log_artifact(self, local_file: str, artifact_path: Optional[str] = None) -> None:
        """Take a file into the spool."""
        runtime = self._runtime
        if runtime is None or not SWITCHES.tracking() or "/lo" in self._root:
            return
        local_file = os.fspath(local_file)
        folder = runtime.settings.spool
        call: dict[str, Any] = {"k": "file", "root": self._root, "folder": str(folder), "r": self._run()}
        if artifact_path:
            call["path"] = str(artifact_path)
        try:
            call["blob"], call["size"] = files.keep(folder, local_file)
        except FileNotFoundError:
            raise
        except OSError as problem:
            runtime.spool.lose(call, problem)
            return
        if runtime.append(call) is None:
            files.drop(folder, call["blob"])
            return
        inside = posixpath.join(call.get("path", ""), os.path.basename(local_file))
        runtime.blobs.setdefault(self._root, {})[inside] = folder / "blobs" / call["blob"]

    def log_artifacts(self, local_dir: str, artifact_path: Optional[str] = None) -> None:
        """Take a folder into the spool, file by file."""
        local_dir = os.path.abspath(local_dir)
        for folder, _, names in os.walk(local_dir):
            inside = os.path.relpath(folder, local_dir).replace(os.sep, "/")
            target = posixpath.join(artifact_path or "", "" if inside == "." else inside).rstrip("/")
            for name in sorted(names):
                self.log_artifact(os.path.join(folder, name), target or None)

    def list_artifacts(self, path: Optional[str] = None) -> Any:
        """As the server has it once everything is shipped; for a run it does not know yet, what is in the spool."""
        real = self._real()
        if real is not None:
            return real.list_artifacts(path)
        base = (path or "").strip("/")
        found: dict[str, Any] = {}
        for name, blob in self._kept().items():
            inside = posixpath.relpath(name, base) if base else name
            if inside.startswith("..") or inside == ".":
                continue
            head, _, rest = inside.partition("/")
            full = posixpath.join(base, head)
            found[full] = FileInfo(full, bool(rest), None if rest else blob.stat().st_size)
        return [found[name] for name in sorted(found)]

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        real = self._real()
        if real is not None:
            real._download_file(remote_file_path, local_path)
            return
        blob = self._kept().get(remote_file_path.strip("/"))
        if blob is None:
            raise asking.away(f"artifact {remote_file_path}", "not shipped yet")
        shutil.copyfile(blob, local_path)

    def delete_artifacts(self, artifact_path: Optional[str] = None) -> None:
        """Deletes at once: it needs the server."""
        real = self._real()
        if real is not None:
            real.delete_artifacts(artifact_path)

    def _kept(self) -> dict[str, Any]:
        kept = self._runtime.blobs.get(self._root, {}) if self._runtime else {}
        return {name: blob for name, blob in kept.items() if blob.exists()}

    def _run(self) -> str:
        return next((part for part in self._root.split("/") if part.startswith("lt") and len(part) == 32), "")

    def _real(self) -> Any:
        """The release's own repository for the real place; None if the server does not know it yet."""
        runtime = self._runtime
        if runtime is None or not SWITCHES.tracking():
            return None
        asked = runtime.flush(runtime.settings.read_bound)
        root = self._root
        if root.startswith(files.SCHEME):
            name = urlsplit(root).path.strip("/").partition("/")[2]
            bound = runtime.state.bound(name) or runtime.state.bound(f"trace:{name}")
            root = bound[1].get("artifact_uri", "") if bound else ""
        if not root or (not asked and self._kept()):
            return None
        if runtime.breaker.open:
            raise asking.away(root, runtime.breaker.reason)
        if root.startswith("mlflow-artifacts:"):
            return _release(root, runtime.settings.uri, None)
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(root)
