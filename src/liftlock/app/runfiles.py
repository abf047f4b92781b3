"""What a run needs to be built again after a crash, as private files: the configuration and the plan it began with.

They stand beside the journal, not in it: the journal's texts are redacted, and these must come back to the letter.
The journal's first entry holds their SHA-256.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from liftlock import files
from liftlock.errors import JournalError
from liftlock.model.journal import RunState


class RunFiles:
    """The directory of one run."""

    def __init__(self, state_directory: Path, run: str) -> None:
        self.directory = state_directory / "runs" / run

    def write(self, texts: dict[str, str]) -> None:
        """Write files by name."""
        files.private_directory(self.directory)
        for name, text in texts.items():
            files.write_atomic(self.directory / name, text)

    def read(self, state: RunState, name: str) -> str:
        """One file, proven to be what the journal says. Raises JournalError when it is not."""
        try:
            text = (self.directory / name).read_text("utf-8")
        except FileNotFoundError:
            text = ""
        if digest(text) != state.payload.get("files", {}).get(name):
            raise JournalError(
                f"{self.directory / name} is not what run {state.id} began with",
                hint="Bring it back from a backup of .liftlock, or put the deployment back by hand from the backup.",
            )
        return text


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
