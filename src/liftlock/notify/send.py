"""The three ways to tell: a webhook, a command, and whatever Apprise reaches. Errors never name an address."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import urllib3

from liftlock import clock, proc
from liftlock.describe.sections import ReceiverSection
from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, LiftlockError
from liftlock.model.codec import Value, to_json
from liftlock.model.secret import redact
from liftlock.notify.message import Message
from liftlock.releases.children import clean_environment


class NotTold(LiftlockError):
    """A receiver was not reached, or did not take the message."""


class Told(Value, frozen=True):
    """Whether one receiver took a message; `problem` is empty when it did."""

    receiver: str
    problem: str = ""


@dataclass(frozen=True)
class Receiver:
    """A receiver with its secrets put in. `name` tells it apart in reports and holds none of them."""

    name: str
    section: ReceiverSection
    url: str = ""
    header: str = ""


def send(receiver: Receiver, message: Message, *, timeout: float) -> None:
    """Tell one receiver; `timeout` is in seconds. Raises NotTold with a reason that names no address or secret."""
    senders: dict[str, Callable[[Receiver, Message, float], None]] = {
        "webhook": _webhook, "command": _command, "apprise": _apprise,
    }  # fmt: skip
    with side_effect(f"notify {receiver.section.kind}"):
        senders[receiver.section.kind](receiver, message, timeout)


def send_all(receivers: Sequence[Receiver], make: Callable[[Receiver], Message], *, timeout: float) -> tuple[Told, ...]:
    """Tell all at once, and wait `timeout` seconds and a little for the slowest. Never raises."""
    problems: dict[int, str] = {}

    def work(number: int, receiver: Receiver) -> None:
        try:
            send(receiver, make(receiver), timeout=timeout)
            problems[number] = ""
        except LiftlockError as error:
            problems[number] = redact(error.message)
        except (OSError, ValueError, RuntimeError) as error:  # telling must not stop what is told about
            problems[number] = type(error).__name__

    # daemons: a name server that never answers must not keep the program from ending
    threads = [
        threading.Thread(target=work, args=(number, receiver), daemon=True) for number, receiver in enumerate(receivers)
    ]
    ends = clock.monotonic() + timeout + 1
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - clock.monotonic()))
    late = f"no answer within {timeout:g} s"
    return tuple(
        Told(receiver=receiver.name, problem=problems.get(number, late)) for number, receiver in enumerate(receivers)
    )


def _webhook(receiver: Receiver, message: Message, timeout: float) -> None:
    if not receiver.url.startswith(("https://", "http://")):
        raise NotTold("its url is no http address")
    headers = {"Content-Type": "application/json", "User-Agent": "liftlock"}
    name, colon, value = receiver.header.partition(":")
    if colon:
        headers[name.strip()] = value.strip()
    try:
        # no redirects: the header would go to whoever the answer names
        answer = urllib3.request(
            "POST", receiver.url, body=to_json(message).encode(), headers=headers, timeout=timeout, retries=False,
            redirect=False,
        )  # fmt: skip
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise NotTold(f"not reached ({type(error).__name__})") from None
    if not 200 <= answer.status < 300:
        raise NotTold(f"it answered {answer.status}")


def _apprise(receiver: Receiver, message: Message, timeout: float) -> None:
    """Mail, Slack, Teams and the rest. What Apprise logs may hold the address, so nobody is shown it."""
    try:
        import apprise
    except ImportError:
        raise NotTold("Apprise is not installed: pip install 'liftlock[notify]'") from None
    quiet = logging.getLogger("apprise")
    quiet.propagate = False
    quiet.addHandler(logging.NullHandler())
    service = apprise.Apprise.instantiate(receiver.url, suppress_exceptions=True)
    if not isinstance(service, apprise.NotifyBase):
        raise NotTold("its url is none that Apprise knows")
    service.socket_connect_timeout = service.socket_read_timeout = timeout
    if not service.notify(body=message.words(), title=message.title, body_format=apprise.NotifyFormat.TEXT):
        raise NotTold("Apprise could not deliver it; `apprise -vv` with the same url says why")


def _command(receiver: Receiver, message: Message, timeout: float) -> None:
    if not receiver.section.command:
        raise NotTold("it names no command")
    environment = clean_environment({"LIFTLOCK_EVENT": message.event.value, "LIFTLOCK_TITLE": message.title})
    try:
        proc.run(
            receiver.section.command, timeout=timeout, env=environment, stdin=to_json(message), what=receiver.name
        )  # fmt: skip
    except CommandFailed as error:
        raise NotTold(error.message) from error
