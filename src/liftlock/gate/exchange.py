"""One request on its way: what is known of it, and the bytes that could not be sent on yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from liftlock.gate.head import Head

if TYPE_CHECKING:
    from liftlock.gate.connection import ClientConnection
    from liftlock.gate.upstream import Upstream, UpstreamConnection


class Exchange:
    """A request from its head to the end of its answer. Times are of the monotonic clock, in seconds.

    `complete`: the client has sent all of it. `connection` is set while bytes may reach the upstream; until then they
    gather in `pending` (and stay there when a complete read may have to be sent again). `held`: how long it waited in
    a hold. `gone`: when the client left, 0 while it is there. `answered`: the answer's head was passed on. `keep`: the
    client's connection may serve another request afterwards.
    """

    __slots__ = (
        "answered", "client", "complete", "connection", "gone", "head", "held", "keep", "pending", "retried", "started",
        "status", "upstream", "write",
    )  # fmt: skip

    def __init__(self, client: ClientConnection, head: Head, pending: bytes, started: float, *, write: bool) -> None:
        self.client = client
        self.head = head
        self.write = write
        self.started = started
        self.complete = False
        self.pending = pending
        self.connection: UpstreamConnection | None = None
        self.upstream: Upstream | None = None
        self.held = 0.0
        self.gone = 0.0
        self.answered = False
        self.status = 0
        self.keep = head.keep
        self.retried = False

    def send(self, data: bytes) -> None:
        """Pass a part of the body on, or keep it until there is somewhere to send it."""
        if self.connection is not None:
            self.connection.send(data)
        else:
            self.pending += data
