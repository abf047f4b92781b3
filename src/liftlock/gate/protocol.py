"""What goes over the control socket: one JSON object a line, a request and its reply."""

from __future__ import annotations

from liftlock.gate.model import Counts, State
from liftlock.model.codec import Value

MAX_LINE = 65_536


class Request(Value, frozen=True):
    """A command. `generation` is the one the caller believes in; `ttl` is in seconds; `upstream` is HOST:PORT;
    `percent` is a share of the reads.
    """

    do: str
    generation: int = 0
    ttl: float = 0.0
    holder: str = ""
    upstream: str = ""
    percent: int = 0


class Reply(Value, frozen=True):
    """The outcome. `code` and `message` are empty unless it was refused; `state` is what holds after the command."""

    ok: bool
    state: State
    code: str = ""
    message: str = ""
    hint: str = ""
    retryable: bool = False
    counts: Counts | None = None
    text: str = ""
    pid: int = 0
    listen: str = ""
