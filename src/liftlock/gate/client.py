"""The orchestrator's side of the control socket, and the lease that keeps a hold alive."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.gate.address import fitting
from liftlock.gate.model import Address, Counts, GateError, Stale, State
from liftlock.gate.protocol import Reply, Request
from liftlock.model.codec import from_json, to_json

TTL = 5.0
HEARTBEAT = 0.25
_POLL = 0.005


class GateClient:
    """One conversation with a gate over its control socket; connects anew when the connection broke.

    `timeout` (seconds) bounds each command. Not for use by two threads at once.
    """

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._rest = b""

    def __enter__(self) -> GateClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the gate does not mind, a hold lives by its heartbeat."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b""

    def status(self) -> Reply:
        """State, counts, the gate's PID and where it listens. Raises GateError `unreachable`."""
        return self._ask(Request(do="status"))

    def counts(self) -> Counts:
        """What is in flight and held this moment."""
        return _counts(self._ask(Request(do="counts")))

    def metrics(self) -> str:
        """Prometheus' text."""
        return self._ask(Request(do="metrics")).text

    def hold(self, generation: int, *, ttl: float = TTL, holder: str = "") -> State:
        """Hold writes; the new generation is in the answer. Raises Stale, or GateError `held`."""
        with side_effect("gate hold"):
            return self._ask(Request(do="hold", generation=generation, ttl=ttl, holder=holder)).state

    def heartbeat(self, generation: int, *, ttl: float = TTL) -> State:
        """Renew the lease of the hold of this generation. Raises Stale when it is over."""
        return self._ask(Request(do="heartbeat", generation=generation, ttl=ttl)).state

    def release(self, generation: int) -> State:
        """End the hold, everything to the upstream it was on before. Raises Stale."""
        with side_effect("gate release"):
            return self._ask(Request(do="release", generation=generation)).state

    def switch(self, generation: int, upstream: Address) -> State:
        """Commit: traffic goes to `upstream`. Raises GateError when it was refused.

        GateError `unknown` means that the connection broke before the answer: ask `committed`.
        """
        with side_effect("gate switch"):
            try:
                return self._ask(Request(do="switch", generation=generation, upstream=str(upstream))).state
            except GateError as error:
                if error.code != "unreachable":
                    raise
                raise GateError(
                    "the gate broke off before it said whether the switch was done",
                    code="unknown", hint="Its state file knows; it is asked again when the gate answers.",
                ) from error  # fmt: skip

    def share(self, upstream: Address | None, percent: int) -> State:
        """Send `percent` of the reads to a second server; None takes it away. A switch does, too. Raises GateError."""
        with side_effect("gate share"):
            return self._ask(Request(do="share", upstream=str(upstream or ""), percent=percent)).state

    def committed(self, holder: str, upstream: Address) -> bool:
        """Whether the last switch of the gate was this holder's, to this upstream."""
        last = self.status().state.switch
        return last is not None and last.holder == holder and last.target == upstream

    def drain(self, generation: int, *, limit: float) -> Counts:
        """Wait until no write is in flight on any side. Raises Stale when the hold ended, GateError `undrained`."""
        deadline = clock.monotonic() + limit
        while True:
            reply = self._ask(Request(do="counts"))
            if reply.state.generation != generation:
                raise Stale(generation, reply.state)
            counts = _counts(reply)
            writes = sum(side.writes for side in counts.sides)
            if not writes:
                return counts
            if clock.monotonic() >= deadline:
                raise GateError(
                    f"{writes} writes were still in flight after {limit:g} s",
                    code="undrained", hint="Release, and try again when less is uploaded.", retryable=True,
                )  # fmt: skip
            clock.sleep(_POLL)

    def _ask(self, request: Request) -> Reply:
        try:
            reply = self._exchange(to_json(request).encode() + b"\n")
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self.close()
            raise GateError(
                f"the gate at {self._path} does not answer: {error}",
                code="unreachable", hint="Is it running? `liftlock gate status` shows it.", retryable=True,
            ) from error  # fmt: skip
        if not reply.ok:
            if reply.code == "stale":
                raise Stale(request.generation, reply.state)
            raise GateError(reply.message, code=reply.code, hint=reply.hint, retryable=reply.retryable)
        return reply

    def _exchange(self, line: bytes) -> Reply:
        if self._socket is None:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(self._timeout)
            try:
                with fitting(self._path) as name:
                    sock.connect(name)
            except BaseException:
                sock.close()
                raise
            self._socket = sock
        self._socket.sendall(line)
        while b"\n" not in self._rest:
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionResetError("it closed the connection")
            self._rest += data
        answer, _, self._rest = self._rest.partition(b"\n")
        return from_json(answer, Reply)


class Lease:
    """A hold with its heartbeat. `generation` is the hold's; `lost` is set once the gate let go by itself."""

    def __init__(self, path: Path, generation: int, ttl: float) -> None:
        self.generation = generation
        self.lost = threading.Event()
        self._stop = threading.Event()
        self._ttl = ttl
        self._client = GateClient(path, timeout=ttl)
        self._thread = threading.Thread(target=self._beat, name="gate-heartbeat", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop the heartbeat."""
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _beat(self) -> None:
        last = clock.monotonic()
        while not self._stop.wait(HEARTBEAT):
            try:
                self._client.heartbeat(self.generation, ttl=self._ttl)
                last = clock.monotonic()
            except GateError as error:
                # Unreachable for a moment is not lost; the gate's own clock decides.
                if error.code != "unreachable" or clock.monotonic() - last > self._ttl:
                    self.lost.set()
                    return


@contextlib.contextmanager
def holding(path: Path, generation: int, *, holder: str, ttl: float = TTL) -> Iterator[Lease]:
    """Hold writes for the duration of the block. A hold neither switched nor released in it is released after it.

    Raises what `GateClient.hold` raises.
    """
    with GateClient(path) as client:
        held = client.hold(generation, ttl=ttl, holder=holder)
        lease = Lease(path, held.generation, ttl)
        try:
            yield lease
        finally:
            lease.end()
            with contextlib.suppress(GateError):  # switched, released or run out already
                client.release(lease.generation)


def _counts(reply: Reply) -> Counts:
    assert reply.counts is not None, "every reply to a command carries counts"
    return reply.counts
