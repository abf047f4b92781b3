"""The table of reads against the catalogue of releases: nothing invented, nothing that writes, no search forgotten."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from liftlock.gate.endpoints import Classifier, table
from liftlock.knowledge.catalogue import Catalogue

READS = Classifier(table())
# GET, and yet not in the table: they act on other systems.
ACTING = re.compile("gateway-proxy|/assistant/")
WRITING = re.compile(
    r"create|update|delete|log-|set-|/set|upload|register$|rename|transition|restore|add|remove|cancel|invoke|"
    r"generate|install|grant|revoke|abort|complete|reset|attach|detach|link|assign|upsert|records|alias|"
    r"/(traces|logged-models|webhooks|issues|workspaces|mcp-servers|skills|assessments|jobs/?|params|tags|versions|"
    r"endpoints|outputs|users|permissions|ui-telemetry|message|permission|tool-result|state|jobs|test|online-config|"
    r"chat/completions|embeddings|responses|compact|messages|systemone|invocations|users/get|gateway-proxy)$|"
    r"^/gateway/|start|end-trace|finalize"
)


def endpoints() -> set[tuple[str, str]]:
    catalogue = Catalogue(resources.files("liftlock.knowledge") / "data" / "catalogue")
    found: set[tuple[str, str]] = set()
    for release in catalogue.releases:
        for key in catalogue.section("rest", release):
            verb, _, path = key.partition(" ")
            found.add((verb, path))
    return found


ALL = endpoints()


def example(path: str) -> bytes:
    return re.sub(r"\{\w+\}", "some-1", path).encode()


def test_every_row_is_an_endpoint_of_some_release() -> None:
    rows = {(read.verb, mount + read.path) for read in table() for mount in read.mounts}
    assert rows <= ALL
    assert len(rows) > 200


def test_every_get_is_a_read_but_the_few_that_act_elsewhere() -> None:
    for verb, path in ALL:
        if verb == "GET":
            assert READS.reads(b"GET", example(path)) is not bool(ACTING.search(path)), path
            assert READS.reads(b"HEAD", example(path)) is not bool(ACTING.search(path)), path


def test_no_put_patch_or_delete_is_a_read() -> None:
    for verb, path in ALL:
        if verb in ("PUT", "PATCH", "DELETE"):
            assert not READS.reads(verb.encode(), example(path)), path


def test_each_post_is_a_read_or_says_what_it_writes() -> None:
    for verb, path in ALL:
        if verb == "POST":
            # A presigned URL for a download says `create` and writes nothing.
            writes = bool(WRITING.search(path)) and "presigned-download-url" not in path
            assert READS.reads(b"POST", example(path)) is not writes, path


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        (b"POST", b"/api/2.0/mlflow/runs/search/"),
        (b"POST", b"//api/2.0/mlflow/runs/search"),
        (b"POST", b"/api/2.0/mlflow/runs%2Fsearch"),
        (b"POST", b"/API/2.0/mlflow/runs/search"),
        (b"GET", b"/unknown"),
        (b"PUT", b"/api/2.0/mlflow/runs/search"),
        (b"OPTIONS", b"/health"),
        (b"POST", b"/api/2.0/mlflow/runs/log-metric"),
    ],
)
def test_unknown_means_write(verb: bytes, path: bytes) -> None:
    assert not READS.reads(verb, path)


def test_a_static_prefix_is_known_only_when_it_is_given() -> None:
    prefixed = Classifier(table(), static_prefix="/ml/")
    for path in (b"/ml/ajax-api/2.0/mlflow/runs/search", b"/ajax-api/2.0/mlflow/runs/search"):
        assert prefixed.reads(b"POST", path)
    assert not READS.reads(b"POST", b"/ml/ajax-api/2.0/mlflow/runs/search")
    assert prefixed.reads(b"GET", b"/api/2.0/mlflow-artifacts/artifacts/a/b/c.txt")
