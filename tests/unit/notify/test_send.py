"""Telling real receivers: what arrives, and what is said when nothing does."""

from __future__ import annotations

import email
import json
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from liftlock.describe.sections import ReceiverSection
from liftlock.model.codec import from_builtins
from liftlock.model.secret import Secret
from liftlock.notify.message import Event, Message
from liftlock.notify.send import NotTold, Receiver, send, send_all
from tests.support.receivers import hook, mailbox
from tests.support.servers import free_port

MESSAGE = Message(
    event=Event.STARTED, deployment="prod\nBcc: x", text="it begins <!channel> & more",
    at=datetime(2026, 1, 2, tzinfo=UTC),
    by="jane@host", run="upgrade-1", role="owner", owners={"dri": "Jäne", "backup": "Joe"},
)  # fmt: skip


def receiver(kind: str, *, url: str = "", header: str = "", password: str = "", **section: Any) -> Receiver:
    made = from_builtins({"kind": kind, **section}, ReceiverSection)
    return Receiver(name=f"the {kind}", section=made, url=url, header=header, password=password)


def test_a_webhook_gets_json_and_its_header() -> None:
    with hook() as server:
        send(receiver("webhook", url=server.url(), header="Authorization: Bearer x"), MESSAGE, timeout=5)
    path, headers, _ = server.seen[0]
    assert path == "/hook" and headers["Authorization"] == "Bearer x" and headers["Content-Type"] == "application/json"
    assert server.bodies() == [
        {
            "event": "started", "deployment": "prod\nBcc: x", "text": "it begins <!channel> & more", "run": "upgrade-1",
            "at": "2026-01-02T00:00:00Z", "by": "jane@host", "role": "owner",
            "owners": {"dri": "Jäne", "backup": "Joe"},
        }
    ]  # fmt: skip


def test_a_slack_hook_gets_text_that_mentions_nobody() -> None:
    with hook() as server:
        send(receiver("slack", url=server.url()), MESSAGE, timeout=5)
    text = server.bodies()[0]["text"]
    assert "*[liftlock] prod Bcc: x: started*" in text and "dri: Jäne" in text and "upgrade-1" in text
    assert "<!channel>" not in text and "&lt;!channel&gt; &amp; more" in text


def test_a_mail_arrives_and_a_title_cannot_add_a_header() -> None:
    with mailbox() as box:
        section: dict[str, Any] = {
            "server": "127.0.0.1", "port": box.port, "sender": "l@x.example", "to": ["a@x.example", "b@x.example"],
        }  # fmt: skip
        send(receiver("email", **section), MESSAGE, timeout=5)
        with pytest.raises(NotTold, match="1 of 2 addresses were refused"):
            send(receiver("email", **{**section, "to": ["a@x.example", "b@refused.example"]}), MESSAGE, timeout=5)
        with pytest.raises(NotTold, match="no mail address"):
            send(receiver("email", **{**section, "sender": "a\nBcc: b"}), MESSAGE, timeout=5)
        with pytest.raises(NotTold, match="needs server"):
            send(receiver("email", sender="a@x.example"), MESSAGE, timeout=5)
    mail = email.message_from_string(box.mails[0])
    assert mail["Subject"] == "[liftlock] prod Bcc: x: started" and mail["Bcc"] is None
    assert len(box.recipients) == 4 and len(box.mails) == 2


def test_a_command_gets_json_on_its_input_and_no_environment_of_ours(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text(os.environ['LIFTLOCK_EVENT'] + sys.stdin.read())"
    )
    send(receiver("command", command=[sys.executable, "-c", script, str(tmp_path / "out")]), MESSAGE, timeout=20)
    text = (tmp_path / "out").read_text()
    assert text.startswith("started{") and json.loads(text.removeprefix("started"))["run"] == "upgrade-1"
    with pytest.raises(NotTold, match="status 3"):
        send(receiver("command", command=[sys.executable, "-c", "raise SystemExit(3)"]), MESSAGE, timeout=20)
    with pytest.raises(NotTold, match="no command"):
        send(receiver("command"), MESSAGE, timeout=5)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500])
def test_only_2xx_is_told_and_redirects_are_not_followed(status: int) -> None:
    with hook(status=status) as server, pytest.raises(NotTold, match=str(status)):
        send(receiver("webhook", url=server.url(), header="X: secret"), MESSAGE, timeout=5)
    assert len(server.seen) == 1


def test_an_address_is_a_secret_in_every_failure() -> None:
    word = f"canary-{uuid.uuid4().hex}"
    Secret(word)
    dead = free_port()
    urls = [f"http://127.0.0.1:{dead}/{word}", f"http://[{word}/", f"ftp://{word}", word]
    for kind in ("webhook", "slack"):
        for url in urls:
            with pytest.raises(NotTold) as caught:
                send(receiver(kind, url=url), MESSAGE, timeout=5)
            assert word not in repr(caught.value) + caught.value.message
    with hook() as server, pytest.raises(NotTold):
        send(receiver("webhook", url=server.url(), header=f"A\nB: {word}"), MESSAGE, timeout=5)
    with pytest.raises(NotTold):
        send(
            receiver("email", server="127.0.0.1", port=dead, sender="a@b.example", to=["c@d.example"]),
            MESSAGE,
            timeout=5,
        )


def test_one_that_hangs_holds_nobody_up_for_longer_than_it_may() -> None:
    with hook(delay=3) as slow, hook() as quick:
        began = time.monotonic()
        told = send_all(
            [receiver("webhook", url=slow.url()), receiver("webhook", url=quick.url())], lambda _: MESSAGE, timeout=0.5
        )
        assert time.monotonic() - began < 2.5
    assert told[0].problem and not told[1].problem and len(quick.seen) == 1
    assert send_all([], lambda _: MESSAGE, timeout=1) == ()
