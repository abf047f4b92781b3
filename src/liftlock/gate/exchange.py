"""One request on its way: what is known of it, and the bytes that could not be sent on yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from liftlock.gate.head import Head

if TYPE_CHECKING:
    from liftlock.gate.connection import ClientConnection
    from liftlock.gate.upstream import Upstream, UpstreamConnection


class Exchange(msgspec.Struct, eq=False):
    """A request from its head to the end of its answer. Times are of the monotonic clock, in seconds.

    `keep`: the client's connection may serve another request afterwards. `complete`: the client has sent all of it.
    `connection` is set while bytes may reach the upstream; until then they gather in `pending` (and stay there when a
    complete read may have to be sent again). `held`: how long it waited in a hold. `gone`: when the client left, 0
    while it is there. `answered`: the answer's head was passed on.
    """

    client: ClientConnection
    head: Head
    write: bool
    started: float
    pending: bytes
    keep: bool
    complete: bool
    connection: UpstreamConnection | None = None
    upstream: Upstream | None = None
    held: float = 0.0
    gone: float = 0.0
    answered: bool = False
    status: int = 0
    retried: bool = False

    def send(self, data: bytes) -> None:
        """Pass a part of the body on, or keep it until there is somewhere to send it."""
        if self.connection is not None:
            self.connection.send(data)
        else:
            self.pending += data
