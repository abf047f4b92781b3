"""Ctrl-C and requests to end, heard wherever the work is, and once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

_PATIENCE = 0.2


class Interrupted(KeyboardInterrupt):
    """The operator pressed Ctrl-C or the process was asked to end; no `except Exception` may swallow it."""


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into Interrupted; the callable it gives makes them ignored from then on.

    Only the main thread may install handlers; elsewhere (tests, a page) signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # What the caller had ignored stays so: `nohup liftlock upgrade` must outlive its terminal.
    heard = [number for number in watched if signal.getsignal(number) is not signal.SIG_IGN]
    taken = threading.Event()

    def hush() -> None:
        taken.set()
        for number in heard:
            # Not SIG_IGN: a server started while putting back would inherit that, and never hear its own SIGTERM.
            signal.signal(number, lambda *_: None)

    def stop(number: int, _: object) -> None:
        hush()  # a second signal while putting back must not leave it half-way
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in heard}
    try:
        with _nudged(heard, taken):
            yield hush
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _nudged(heard: list[signal.Signals], taken: threading.Event) -> Iterator[None]:
    """Send a signal to the main thread again until it is `taken`.

    Python runs handlers in the main thread only, between two of its steps. A signal that another thread received, or
    that came just before a call that waits, does not end that call: the handler would run when it ends by itself.
    """
    main = threading.get_ident()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def nudge() -> None:
        while numbers := os.read(reading, 64):
            if numbers[-1] in heard and not taken.wait(_PATIENCE):
                signal.pthread_kill(main, numbers[-1])

    thread = threading.Thread(target=nudge, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        taken.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)
