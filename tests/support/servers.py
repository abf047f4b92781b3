"""A stand-in for `python -m mlflow server` that misbehaves on request, and free ports.

`stub(directory)` writes a package `mlflow` into the directory; a ServerSpec with that working directory runs it,
because `python -m` looks there first. It forks workers that serve HTTP as gunicorn's do.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from liftlock.runtimes.interface import ServerSpec

_STUB = """
import http.server, os, signal, socket, sys, time

behaviour = os.environ.get("STUB", "")
words = sys.argv[1:]
assert words[0] in ("server", "ui"), words
host = words[words.index("--host") + 1]
port = int(words[words.index("--port") + 1])
print("stub starting", words, flush=True)

if "early-death" in behaviour:
    print(os.environ.get("STUB_SAYS", "boom"), flush=True)
    sys.exit(3)
if "slow" in behaviour:
    time.sleep(float(os.environ["STUB_SLOW"]))
if "hang" in behaviour:
    time.sleep(3600)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        prefix = os.environ.get("STUB_PREFIX", "")
        version = os.environ.get("STUB_VERSION", "2.9.2").encode()
        body = {prefix + "/health": b"OK", prefix + "/version": version}.get(self.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"")
    def log_message(self, *args):
        print("request", self.path, flush=True)

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, port))
listener.listen(16)

def serve():
    if "ignore-term" in behaviour:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "own-group" in behaviour:
        os.setpgid(0, 0)
    server = http.server.HTTPServer((host, port), Handler, bind_and_activate=False)
    server.socket = listener
    server.serve_forever()

for _ in range(int(os.environ.get("STUB_WORKERS", "2"))):
    if os.fork() == 0:
        serve()
if "orphan" in behaviour:
    # As `mlflow server` up to 3.6: the first process dies of the signal, its workers stay.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
listener.close()
if "leave" in behaviour:
    sys.exit(0)
while True:
    time.sleep(3600)
"""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def stub(directory: Path) -> Path:
    """Write the stand-in below `directory` and return the directory."""
    package = directory / "mlflow"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(_STUB)
    return directory


def stub_spec(directory: Path, *, port: int | None = None, behaviour: str = "", **settings: str) -> ServerSpec:
    """How to start the stand-in: `behaviour` is a list of words, `settings` become STUB_* variables."""
    port = port or free_port()
    environment = {"PATH": os.environ["PATH"], "STUB": behaviour}
    environment |= {f"STUB_{name.upper()}": value for name, value in settings.items()}
    return ServerSpec(
        python=Path(sys.executable),
        arguments=("--host", "127.0.0.1", "--port", str(port)),
        environment=environment,
        working_directory=stub(directory),
        host="127.0.0.1",
        port=port,
        static_prefix=settings.get("prefix", ""),
    )
