from __future__ import annotations

import http.server
import threading
from collections import Counter
from typing import Any

from liftlock.verify.warm import warm


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Answers as MLflow does for what is not there."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        self.server.paths[self.path.partition("?")[0]] += 1  # type: ignore[attr-defined]  # a counter of the test's
        self.send_response(404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


def test_each_worker_is_called_often_enough_and_a_refusal_is_an_answer() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    paths: Counter[str] = Counter()
    server.paths = paths  # type: ignore[attr-defined]  # read by the handler
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answered = warm(f"http://127.0.0.1:{server.server_port}", workers=2, login=None)
    finally:
        server.shutdown()
        server.server_close()
    assert answered == sum(paths.values()) >= 2 * 9
    assert paths["/api/2.0/mlflow/runs/log-batch"] == paths["/api/2.0/mlflow/experiments/search"] >= 6


def test_a_server_that_does_not_answer_is_no_error() -> None:
    assert warm("http://127.0.0.1:9", workers=1, login=None) == 0
