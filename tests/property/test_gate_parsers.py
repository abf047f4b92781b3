"""What the gate forwards means the same to the parsers of MLflow's own servers: gunicorn, and uvicorn's h11."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from liftlock.gate.head import CHUNKED, Head, Rejected, parse
from liftlock.releases.children import clean_environment
from tests.support.releases import OLD, environment, newest

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "gate_parsers.py"
NEXT = b"GET /next HTTP/1.1\r\nHost: g\r\n\r\n"
# What heads are mangled with: everything that servers have been known to read in their own way.
PIECES = [
    b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\x7f", b"\x85", b"\xa0", b"\xff", b":", b";", b",",
    b"+", b"-", b"_", b'"', b"0", b"4", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"chunked", b"identity", b"close", b"#", b"?",
    b"\r\nContent-Length: 4", b"\r\nContent-Length:0", b"\r\nTransfer-Encoding: chunked", b"\r\nTransfer-Encoding:x",
    b"\r\ncontent_length: 4", b"\r\nConnection: close", b"\r\nConnection: upgrade", b"\r\nUpgrade: h2c", b"\r\nX: y",
    b"\r\nExpect: 100-continue", b"\r\nHost: h", b"%00", b"//", b"http://h", b"HTTP/1.0", b"HTTP/1.1", b"GET", b"POST",
]  # fmt: skip
HEADS = [
    b"POST /a?b=1 HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\nAccept: */*\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nUser-Agent: m/1\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: g\r\nConnection: keep-alive\r\n\r\n",
    b"DELETE /a HTTP/1.0\r\nHost: g\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n",
]


def mangled(number: int) -> list[Head]:
    """Heads of `number` mangled ones that the gate would forward, and each of them once."""
    chance = random.Random(20261121)
    found: dict[bytes, Head] = {}
    for _ in range(number):
        raw = chance.choice(HEADS)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(raw))
            raw = raw[:at] + chance.choice(PIECES) + raw[at + chance.choice((0, 0, 1, 2)) :]
        end = raw.find(b"\r\n\r\n")
        if end < 0:
            continue
        try:
            head = parse(raw[: end + 4], b"127.0.0.1", b"http")
        except Rejected:
            continue
        if head.length <= 1000:
            found[head.forward] = head
    return list(found.values())


def sent(head: Head) -> tuple[bytes, bytes]:
    """The request with a body as the gate understands its length, then another request; and the body."""
    if head.length == CHUNKED:
        return head.forward + b"5;a=b\r\nabcde\r\n0\r\n\r\n" + NEXT, b"abcde"
    body = b"z" * head.length
    return head.forward + body + NEXT, body


@pytest.mark.release
@pytest.mark.parametrize("release", [OLD, "newest"])
def test_servers_understand_what_the_gate_understood(release: str) -> None:
    heads = mangled(20_000)
    assert len(heads) > 1000
    texts = [sent(head)[0].decode("latin-1") for head in heads]
    child = subprocess.run(
        [environment(newest() if release == "newest" else release).python, SCRIPT],
        input=json.dumps(texts), env=clean_environment({}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    understood = json.loads(child.stdout)
    assert set(understood) == ({"gunicorn"} if release == OLD else {"gunicorn", "h11"})
    for parser, answers in understood.items():
        assert sum(answer is not None for answer in answers) > 500, f"{parser} refuses nearly everything"
        for head, answer in zip(heads, answers, strict=True):
            if answer is None:
                continue  # refused whole: no request is smuggled
            target = head.forward.split(b" ")[1].decode("latin-1")
            first = [head.method.decode(), target, sent(head)[1].decode("latin-1")]
            assert answer[0] == first, (parser, head.forward)
            assert answer[1:] in ([], [["GET", "/next", ""]]), (parser, head.forward)
