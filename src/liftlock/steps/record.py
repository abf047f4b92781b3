"""Record the release that runs now in liftlock.toml; taken back by writing the old text."""

from __future__ import annotations

from collections.abc import Callable

from liftlock import files
from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Probe
from liftlock.errors import NeedsPerson
from liftlock.steps.site import Site


class Record(BaseStep):
    """Replace the configuration's text atomically. `after` makes the new text from the run's outcomes.

    The text holds no secrets (they are references), so it may be noted in the journal for the way back.
    """

    def __init__(
        self, site: Site, *, title: str, before: str, after: Callable[[Context], str], name: str = "record"
    ) -> None:
        self.site = site
        self.name = name
        self.title = title
        self.before = before
        self.after = after

    def probe(self, context: Context) -> Probe:
        """Compare the file with both texts; somebody else's edit is not ours to overwrite."""
        if self.site.config_path is None:
            return Probe.DONE
        text = self.site.config_path.read_text("utf-8")
        if text == self.after(context):
            return Probe.DONE
        return Probe.NOT_STARTED if text == self.before else Probe.UNKNOWN

    def run(self, context: Context) -> None:
        """Write the new text."""
        if self.site.config_path is None:
            return
        if self.site.config_path.read_text("utf-8") != self.before:
            raise NeedsPerson(
                f"{self.site.config_path.name} was edited during the upgrade",
                hint="Put the text back as it was when the upgrade began, then run `liftlock resume`.",
            )
        with side_effect("write configuration"):
            files.write_atomic(self.site.config_path, self.after(context))

    def undo(self, context: Context) -> None:
        """Write the old text, if the new one is there."""
        if self.site.config_path is not None and self.site.config_path.read_text("utf-8") == self.after(context):
            with side_effect("write configuration back"):
                files.write_atomic(self.site.config_path, self.before)
