"""REST endpoints declared in the serialized descriptors inside `*_pb2.py`, read from protobuf's wire format.

The field numbers are those of `google/protobuf/descriptor.proto` and of MLflow's `databricks.proto`: a file's
services are field 6, a service's methods field 2, a method's name, input and options fields 1, 2 and 4; the option
`rpc` is extension 51310, its endpoints field 1 (method, path, since: 1, 2, 3). A file's messages are field 4, a
message's name, fields and inner messages fields 1, 2 and 3, a field's name field 1.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from liftlock.knowledge.extract.source import parse

_RPC = 51310


class Endpoint(NamedTuple):
    """One HTTP binding of a service method: `request` is the bare name of its message, `major` of its API version;
    `takes` are the fields of the message, `gives` those of the message `Response` inside it (names, sorted)."""

    service: str
    method: str
    request: str
    verb: str
    path: str
    major: int
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()


def endpoints(source: bytes) -> Iterator[Endpoint]:
    """All endpoints of the first descriptor in a generated file (later ones repeat it for another protobuf)."""
    raw = _serialized(source)
    if raw is None:
        return
    messages = {_text(each, 1): each for number, each in _fields(raw) if number == 4 and isinstance(each, bytes)}
    for number, service in _fields(raw):
        if number != 6 or not isinstance(service, bytes):
            continue
        name = _text(service, 1)
        for inner, method in _fields(service):
            if inner == 2 and isinstance(method, bytes):
                yield from _bound(name, method, messages)


def _bound(service: str, method: bytes, messages: Mapping[str, bytes]) -> Iterator[Endpoint]:
    request = _text(method, 2).rpartition(".")[2]
    message = messages.get(request, b"")
    inner = [each for number, each in _fields(message) if number == 3 and isinstance(each, bytes)]
    answer = next((each for each in inner if _text(each, 1) == "Response"), b"")
    for number, options in _fields(method):
        if number != 4 or not isinstance(options, bytes):
            continue
        for extension, rpc in _fields(options):
            if extension != _RPC or not isinstance(rpc, bytes):
                continue
            for field, endpoint in _fields(rpc):
                if field == 1 and isinstance(endpoint, bytes):
                    major = 2
                    for key, since in _fields(endpoint):
                        if key == 3 and isinstance(since, bytes):
                            numbers = dict(_fields(since))
                            found = numbers.get(1, 0)
                            major = found if isinstance(found, int) else 0
                    yield Endpoint(service, _text(method, 1), request, _text(endpoint, 1), _text(endpoint, 2), major,
                                   _names(message), _names(answer))  # fmt: skip


def _names(message: bytes) -> tuple[str, ...]:
    """The names of a message's own fields."""
    return tuple(sorted(_text(each, 1) for number, each in _fields(message) if number == 2 and isinstance(each, bytes)))


def _serialized(source: bytes) -> bytes | None:
    """The first serialized descriptor: `AddSerializedFile(b'...')`, or `serialized_pb=...` in older files."""
    calls = [node for node in ast.walk(parse(source)) if isinstance(node, ast.Call)]
    for node in calls:
        added = isinstance(node.func, ast.Attribute) and node.func.attr == "AddSerializedFile" and node.args
        if added and (found := _bytes(node.args[0])) is not None:
            return found
    for node in calls:
        for keyword in node.keywords:
            if keyword.arg == "serialized_pb" and (found := _bytes(keyword.value)) is not None:
                return found
    return None


def _bytes(node: ast.expr) -> bytes | None:
    if isinstance(node, ast.Call) and node.args:  # _b('...') of files made for Python 2 and 3
        node = node.args[0]
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes):
            return node.value
        if isinstance(node.value, str):
            return node.value.encode("latin-1")
    return None


def _text(message: bytes, wanted: int) -> str:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, bytes):
            return value.decode("utf-8")
    return ""


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with their values: integers for varints, bytes for the rest."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind == 1:
            size = 8
        elif kind == 5:
            size = 4
        else:
            raise ValueError(f"wire type {kind} in a descriptor")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
