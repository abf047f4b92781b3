"""Answers of the gate's own, in the form of MLflow's errors."""

from __future__ import annotations

import json

_REASONS = {
    400: "Bad Request", 408: "Request Timeout", 417: "Expectation Failed", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}  # fmt: skip
_CODES = {429: "REQUEST_LIMIT_EXCEEDED", 502: "TEMPORARILY_UNAVAILABLE", 503: "TEMPORARILY_UNAVAILABLE"}


def message(status: int, reason: str, *, keep: bool, bodiless: bool = False) -> bytes:
    """A whole answer; `bodiless` when it answers a HEAD."""
    body = json.dumps({"error_code": _CODES.get(status, "BAD_REQUEST"), "message": f"liftlock gate: {reason}"})
    again = "Retry-After: 1\r\n" if status in (429, 503) else ""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n{again}"
        f"Content-Length: {len(body)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        f"{'' if bodiless else body}"
    ).encode()
