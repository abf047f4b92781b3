"""The four ways to tell: a webhook, a Slack-compatible hook, a mail, a command. Errors never name an address."""

from __future__ import annotations

import smtplib
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

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
    password: str = ""


def send(receiver: Receiver, message: Message, *, timeout: float) -> None:
    """Tell one receiver; `timeout` is in seconds. Raises NotTold with a reason that names no address or secret."""
    senders: dict[str, Callable[[Receiver, Message, float], None]] = {
        "webhook": _webhook, "slack": _slack, "email": _mail, "command": _command,
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
    _post(receiver, to_json(message), timeout)


def _slack(receiver: Receiver, message: Message, timeout: float) -> None:
    text = f"*{message.title}*\n{message.words()}"
    for sign, stands in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, stands)  # <!channel> and links are made of these
    _post(receiver, to_json({"text": text}), timeout)


def _post(receiver: Receiver, body: str, timeout: float) -> None:
    if not receiver.url.startswith(("https://", "http://")):
        raise NotTold("its url is no http address")
    headers = {"Content-Type": "application/json", "User-Agent": "liftlock"}
    name, colon, value = receiver.header.partition(":")
    if colon:
        headers[name.strip()] = value.strip()
    try:
        # no redirects: the header would go to whoever the answer names
        answer = urllib3.request(
            "POST", receiver.url, body=body.encode(), headers=headers, timeout=timeout, retries=False, redirect=False
        )
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise NotTold(f"not reached ({type(error).__name__})") from None
    if not 200 <= answer.status < 300:
        raise NotTold(f"it answered {answer.status}")


def _mail(receiver: Receiver, message: Message, timeout: float) -> None:
    section = receiver.section
    if not section.server or not section.to or not section.sender:
        raise NotTold("it needs server, sender and to")
    mail = EmailMessage()
    try:
        mail["Subject"], mail["From"], mail["To"] = message.title, section.sender, ", ".join(section.to)
    except ValueError:
        raise NotTold("its sender or to is no mail address") from None
    mail.set_content(message.words())
    context = ssl.create_default_context()
    try:
        if section.tls == "implicit":
            client: smtplib.SMTP = smtplib.SMTP_SSL(section.server, section.port, timeout=timeout, context=context)
        else:
            client = smtplib.SMTP(section.server, section.port, timeout=timeout)
        with client:
            if section.tls == "starttls":
                client.starttls(context=context)
            if section.username:
                client.login(section.username, receiver.password)
            refused = client.send_message(mail)
    except (smtplib.SMTPException, OSError) as error:
        raise NotTold(f"the mail was not taken ({type(error).__name__})") from None
    if refused:
        raise NotTold(f"{len(refused)} of {len(section.to)} addresses were refused")


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
