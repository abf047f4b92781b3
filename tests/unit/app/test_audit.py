"""pip-audit is run on the locked set; where it cannot answer everything is unknown, with the reason."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from liftlock.app import audit as auditing
from liftlock.errors import CommandFailed, UsageError
from liftlock.model.release import Release
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.uv import IndexUnreachable

OLD, NEW = Release(version="2.9.2"), Release(version="3.17.2")
ANSWERS = {
    "a==1": '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X", "fix_versions": ["2"]}]}]}',
    "a==2": '{"dependencies": [{"name": "a", "version": "2", "vulns": []}]}',
}


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environments:
    def made(release: Release, lock: str) -> Environment:
        return Environment(
            release=release, python=tmp_path, python_version="3.11.1", package=tmp_path, lock=lock, lock_digest="",
            owned=True,
        )  # fmt: skip

    both = (made(OLD, "a==1 \\\n  --hash=sha256:00\n"), made(NEW, "a==2\n"))
    monkeypatch.setattr(Environments, "cached", lambda _: both)
    return Environments(tmp_path)


def _value(words: Sequence[Any], option: str) -> Path:
    return Path(words[list(words).index(option) + 1])


def test_a_hop_fixes_what_its_set_no_longer_has(environments: Environments, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: Sequence[Any], **_: object) -> None:
        pin = _value(words, "--requirement").read_text().strip()
        _value(words, "--output").write_text(ANSWERS[pin])
        if pin == "a==1":  # that is how it says that there is something
            raise CommandFailed("found", argv=(), status=1, output="found 1")

    monkeypatch.setattr(auditing, "uv", run)
    found = auditing.audit(environments, OLD, NEW, None)
    assert [(each.what, each.flaw.id) for each in found.changes] == [("fixed", "X")]
    assert (found.before.unknown, found.after and found.after.unknown) == ({}, {})
    alone = auditing.audit(environments, OLD, None, None)
    assert (alone.after, [each.what for each in alone.changes]) == (None, ["left"])


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (IndexUnreachable("the index does not answer"), "the index does not answer"),
        (CommandFailed("x", argv=(), status=2, output="error: no such option"), "no such option"),
        (None, "gave no answer"),
    ],
)
def test_no_answer_is_unknown(
    error: Exception | None, says: str, environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(auditing, "uv", run)
    found = auditing.audit(environments, OLD, None, None).before
    assert found.flaws == ()
    assert says in found.unknown["a"]


def test_a_release_that_was_not_built_has_no_set(environments: Environments) -> None:
    with pytest.raises(UsageError, match="no environment of MLflow"):
        auditing.audit(environments, Release(version="3.0.1"), None, None)
    with pytest.raises(UsageError, match="which environment"):
        auditing.audit(environments, None, None, None)


@contextmanager
def service(known: dict[str, dict[str, Any]], status: int = 200) -> Iterator[str]:
    """A real OSV service on this machine that knows flaws by package; the address of its queries."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = known.get(asked["package"]["name"])
            body = json.dumps({"vulns": [found]} if found else {}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def _flaw(package: str, fixed: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = {"package": {"name": package, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": "GHSA-flaw", "aliases": ["CVE-2099-1"], "summary": "a flaw", "affected": [affected]}


@pytest.mark.xdist_group("releases")
def test_the_real_pip_audit_asks_a_service_of_ones_own(environments: Environments) -> None:
    """Its own command line, its own questions and its own answer, which is what the tests above stand for."""
    with service({"a": _flaw("a", "2")}) as url:
        found = auditing.audit(environments, OLD, None, None, osv_url=url)
    (flaw,) = found.before.flaws
    assert (flaw.package, flaw.version, flaw.fixes) == ("a", "1", ("2",))
    assert {flaw.id, *flaw.aliases} == {"GHSA-flaw", "CVE-2099-1"}
    assert found.before.unknown == {}
    with service({}) as url:
        assert auditing.audit(environments, OLD, None, None, osv_url=url).before.flaws == ()
    with service({}, status=500) as url:
        broken = auditing.audit(environments, OLD, None, None, osv_url=url).before
    assert (broken.flaws, list(broken.unknown)) == ((), ["a"]), "nobody answered, so nothing is known"
