"""Telling real receivers: what arrives, and what is said when nothing does."""

from __future__ import annotations

import email
import email.header
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


def receiver(kind: str, *, url: str = "", header: str = "", **section: Any) -> Receiver:
    made = from_builtins({"kind": kind, **section}, ReceiverSection)
    return Receiver(name=f"the {kind}", section=made, url=url, header=header)


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


def test_apprise_tells_a_service_in_words() -> None:
    with hook() as server:
        send(receiver("apprise", url=f"json://127.0.0.1:{server.port}/team?+X-Key=word"), MESSAGE, timeout=5)
    path, headers, _ = server.seen[0]
    assert path.rstrip("/") == "/team" and headers["X-Key"] == "word"
    said = server.bodies()[0]
    assert said["title"] == "[liftlock] prod Bcc: x: started"
    assert "it begins" in said["message"] and "dri: Jäne" in said["message"] and "upgrade-1" in said["message"]


def test_apprise_waits_no_longer_than_it_may() -> None:
    with hook(delay=2) as server, pytest.raises(NotTold):  # by itself it would wait for 4 s
        send(receiver("apprise", url=f"json://127.0.0.1:{server.port}/"), MESSAGE, timeout=0.3)


def test_a_mail_arrives_through_apprise_and_a_title_cannot_add_a_header() -> None:
    with mailbox() as box:
        url = f"mailto://127.0.0.1:{box.port}?mode=insecure&from=l@x.example&to=a@x.example,b@x.example"
        send(receiver("apprise", url=url), MESSAGE, timeout=5)
        with pytest.raises(NotTold, match="could not deliver"):
            send(receiver("apprise", url=url.replace("b@x.", "b@refused.")), MESSAGE, timeout=5)
    mail = email.message_from_string(box.mails[0])
    assert str(email.header.make_header(email.header.decode_header(mail["Subject"]))).startswith("[liftlock] prod Bcc:")
    assert mail["Bcc"] is None and any("a@x.example" in each for each in box.recipients)


def test_without_apprise_the_receiver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(NotTold, match=r"pip install 'liftlock\[notify\]'"):
        send(receiver("apprise", url="json://127.0.0.1"), MESSAGE, timeout=5)
    (told,) = send_all([receiver("apprise", url="json://127.0.0.1")], lambda _: MESSAGE, timeout=5)
    assert "not installed" in told.problem


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


def test_an_address_is_a_secret_in_every_failure(capfd: pytest.CaptureFixture[str]) -> None:
    word = f"canary-{uuid.uuid4().hex}"
    Secret(word)
    dead = free_port()
    urls = [
        f"http://127.0.0.1:{dead}/{word}",
        f"http://[{word}/",
        f"ftp://{word}",
        word,
        f"json://127.0.0.1:{dead}/{word}",
    ]
    for kind in ("webhook", "apprise"):
        for url in urls:
            with pytest.raises(NotTold) as caught:
                send(receiver(kind, url=url), MESSAGE, timeout=5)
            assert word not in repr(caught.value) + caught.value.message
    shown = capfd.readouterr()
    assert word not in shown.out + shown.err
    with hook() as server, pytest.raises(NotTold):
        send(receiver("webhook", url=server.url(), header=f"A\nB: {word}"), MESSAGE, timeout=5)


def test_one_that_hangs_holds_nobody_up_for_longer_than_it_may() -> None:
    with hook(delay=3) as slow, hook() as quick:
        began = time.monotonic()
        told = send_all(
            [receiver("webhook", url=slow.url()), receiver("webhook", url=quick.url())], lambda _: MESSAGE, timeout=0.5
        )
        assert time.monotonic() - began < 2.5
    assert told[0].problem and not told[1].problem and len(quick.seen) == 1
    assert send_all([], lambda _: MESSAGE, timeout=1) == ()
