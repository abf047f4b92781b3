"""`export`: everything people logged, in an open format."""

from __future__ import annotations

from pathlib import Path

from liftlock.app.workspace import Workspace
from liftlock.artifacts.local import LocalArtifacts
from liftlock.export.write import ExportReport, export
from liftlock.model.progress import Observer, silent


def export_all(
    workspace: Workspace,
    directory: str,
    *,
    copy_artifacts: bool,
    include_password_hashes: bool,
    observer: Observer = silent,
) -> ExportReport:
    """Export the configured deployment to a directory that does not exist or is empty. Nobody has to wait for it."""
    roots = {root: LocalArtifacts(Path(root)) for root in workspace.config.artifacts.roots if Path(root).is_dir()}
    return export(
        workspace.stores,
        Path(directory),
        release=workspace.config.server.release,
        artifacts=roots if copy_artifacts else None,
        include_password_hashes=include_password_hashes,
        observer=observer,
    )
