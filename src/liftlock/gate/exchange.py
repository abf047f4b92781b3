"""One request on its way: what is known of it, and the bytes that could not be sent on yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from liftlock.gate.head import Head

if TYPE_CHECKING:
    from liftlock.gate.connection import ClientConnection
    from liftlock.gate.upstream import Upstream, UpstreamConnection


class Exchange:
    """A request from its head to the end of its answer. Times are of the monotonic clock, in seconds.

    `complete`: the client has sent all of it. `connection` is set once bytes may reach the upstream; until then they
    gather in `pending`; `size` is what it keeps in memory while held. `gone`: the client left. `keep`: its connection
    may serve another request afterwards.
    """

    __slots__ = (
        "abandoned", "answered", "client", "complete", "connection", "gone", "head", "held", "held_since", "keep",
        "pending", "pending_bytes", "retried", "size", "started", "status", "upstream", "whole", "write",
    )  # fmt: skip

    def __init__(self, client: ClientConnection, head: Head, *, write: bool, started: float) -> None:
        self.client = client
        self.head = head
        self.write = write
        self.started = started
        self.complete = head.length == 0
        self.pending = [head.forward]
        self.pending_bytes = len(head.forward)
        self.connection: UpstreamConnection | None = None
        self.upstream: Upstream | None = None
        self.held_since = 0.0
        self.held = 0.0
        self.size = 0
        self.gone = False
        self.abandoned = 0.0
        self.answered = False
        self.status = 0
        self.keep = head.keep
        self.whole = b""
        self.retried = False

    def send(self, data: bytes) -> None:
        """Pass a part of the body on, or keep it until there is somewhere to send it."""
        if self.connection is not None:
            self.connection.send(data)
        else:
            self.pending.append(data)
            self.pending_bytes += len(data)

    def begin(self, connection: UpstreamConnection) -> None:
        """Send what has gathered; from here on the upstream knows of this request."""
        self.connection = connection
        data = b"".join(self.pending)
        self.pending = []
        self.pending_bytes = 0
        if self.complete and not self.write:
            self.whole = data  # a read may be sent again if the connection turns out to be dead
        connection.send(data)
        self.client.resume()
