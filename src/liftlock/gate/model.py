"""The gate's values: its phase and generation, its limits, and what it counts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from liftlock.errors import LiftlockError
from liftlock.model.codec import Value


class Phase(StrEnum):
    """OPEN: never switched. HOLDING: writes wait, under a lease. SWITCHED: a switch was committed."""

    OPEN = "open"
    HOLDING = "holding"
    SWITCHED = "switched"


class Address(Value, frozen=True):
    """Where a server listens: host and TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """`127.0.0.1:5000`, `[::1]:5000` or `http://127.0.0.1:5000`. Raises ValueError for anything else."""
        bare = text.removeprefix("http://").rstrip("/")
        host, separator, port = bare.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not separator or not host or "/" in host or not port.isdecimal() or not 0 <= int(port) < 65536:
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host=host, port=int(port))


class Switch(Value, frozen=True):
    """The last committed switch: who held, the generation it led to, from where to where, when."""

    holder: str
    generation: int
    source: Address
    target: Address
    at: str


class State(Value, frozen=True):
    """All that outlives the gate's process. `generation` grows by one with every change of phase.

    `upstream` is where requests go now; in a hold it is still the old side. `resting` is the phase a hold falls back
    to. `holder` names who holds, empty otherwise.
    """

    generation: int
    phase: Phase
    upstream: Address
    resting: Phase = Phase.OPEN
    holder: str = ""
    switch: Switch | None = None


class Side(Value, frozen=True):
    """One upstream and what is in flight there: requests sent (or being connected for) and not fully answered."""

    address: Address
    reads: int
    writes: int


class Share(Value, frozen=True):
    """A second server that gets `percent` of the reads, and what both answered to reads since that was said.

    `failed` are answers of 500 and above and connections that broke or could not be made; `others` are the reads of the
    first server.
    """

    address: Address
    percent: int
    answered: int
    failed: int
    others: int
    others_failed: int


class Counts(Value, frozen=True):
    """What the gate knows this moment. Times in seconds.

    `sides` are the current upstream and those of earlier generations that still answer something. `held` writes wait
    (`held_bytes` of them buffered); `overflowed`, `left` and `expired` count, since the process began, writes refused
    for a full queue, requests that waited (in a hold, or for a server that was away) and were dropped because their
    client left, and holds that ended by themselves. `unsettled`
    counts writes whose upstream connection broke before the answer: nobody knows whether they were done.
    """

    generation: int
    phase: Phase
    sides: tuple[Side, ...]
    held: int
    held_bytes: int
    oldest_held: float
    overflowed: int
    left: int
    expired: int
    unsettled: int
    clients: int
    share: Share | None = None


class Limits(Value, frozen=True):
    """Bounds on what clients and holders may use. Times in seconds, sizes in bytes.

    A body must arrive at `body_rate` bytes a second after `body_grace`; `stall` bounds a client that takes no part of
    its answer. `hold` bounds a whole hold, however faithful its heartbeat, and so the wait of every held request.
    """

    connections: int = 10_000
    head_bytes: int = 65_536
    head: float = 10.0
    idle: float = 75.0
    body_grace: float = 30.0
    body_rate: int = 500
    stall: float = 120.0
    # As long as MLflow clients go on by themselves when a port refuses them (2.9.2: 62 s).
    connect: float = 60.0
    queue: int = 4096
    queue_bytes: int = 128 << 20
    hold: float = 30.0
    lease: float = 5.0
    # Shorter than the shortest keep-alive of a server MLflow uses (gunicorn's 2 s), so that a request is not sent
    # on a connection that is just being closed.
    reuse: float = 1.5
    log_bytes: int = 64 << 20
    log_files: int = 5


class Settings(Value, frozen=True):
    """How a gate runs: where it listens, the first upstream, its directory (state, socket, log), TLS and limits.

    `beside`: the user (UID) of a server that listens on the same address and lent it, see `gate.common_port`.
    """

    listen: Address
    upstream: Address
    directory: Path
    static_prefix: str = ""
    certificate: Path | None = None
    key: Path | None = None
    beside: int | None = None
    limits: Limits = Limits()

    @property
    def state_file(self) -> Path:
        """The generation and the phase, fsynced."""
        return self.directory / "state.json"

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.directory / "control.sock"

    @property
    def log(self) -> Path:
        """The access log, JSON lines; rotated to `access.log.1` and so on."""
        return self.directory / "access.log"


class GateError(LiftlockError):
    """The gate refused a command, cannot be reached, or its state is unreadable. `code` is stable."""

    def __init__(self, message: str, *, code: str, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint=hint, retryable=retryable)
        self.code = code


class Stale(GateError):
    """The caller's generation is not the gate's: somebody else acted, or the lease ran out."""

    def __init__(self, given: int, state: State) -> None:
        super().__init__(
            f"the gate is at generation {state.generation} ({state.phase}), not {given}",
            code="stale",
            hint="Ask for its status; a hold that ran out has already let go to the old side.",
        )
