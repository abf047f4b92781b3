"""Give the old release a version table of its own, before anything else changes."""

from __future__ import annotations

from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_shared as shared


class ShareSchema(BaseStep):
    """A schema with nothing but `alembic_version` at the old revision; taken back by dropping it."""

    name = "share-schema"

    def __init__(self, uri: StoreUri, revision: str, *, title: str) -> None:
        self.uri = uri
        self.revision = revision
        self.title = title

    def probe(self, context: Context) -> Probe:
        """Done when it is there: it is made in one transaction."""
        return Probe.DONE if self.revision in shared.given(self.uri) else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Nobody notices."""
        shared.give(self.uri, self.revision)

    def result(self, context: Context) -> Payload:
        """The revision it is for."""
        return {"revision": self.revision}

    def undo(self, context: Context) -> None:
        """Drop it."""
        shared.take_away(self.uri, self.revision)
