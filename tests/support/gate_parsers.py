"""Runs in a release's environment: what the parsers of MLflow's servers understand of bytes, for a parser to compare.

Reads a JSON list of texts (a byte each character), writes for each parser a list: the requests found in each text as
[verb, target, body], or null where it refused.
"""

import contextlib
import io
import json
import sys


def gunicorn(data: bytes) -> list[list[str]] | None:
    from gunicorn.config import Config
    from gunicorn.http.parser import RequestParser

    found = []
    try:
        for request in RequestParser(Config(), io.BytesIO(data), ("127.0.0.1", 1)):
            found.append([request.method, request.uri, request.body.read().decode("latin-1")])
    except StopIteration:
        pass
    except Exception:
        return None
    return found


def h11(data: bytes) -> list[list[str]] | None:
    import h11 as library

    found: list[list[str]] = []
    connection = library.Connection(library.SERVER)
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, library.Request):
                found.append([event.method.decode(), event.target.decode("latin-1"), ""])
            elif isinstance(event, library.Data):
                found[-1][2] += bytes(event.data).decode("latin-1")
            elif isinstance(event, library.EndOfMessage):
                connection.send(library.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(library.EndOfMessage())
                if connection.our_state is not library.DONE:
                    return found
                connection.start_next_cycle()
            else:
                return found
    except library.RemoteProtocolError:
        return None


def main() -> None:
    texts = [text.encode("latin-1") for text in json.load(sys.stdin)]
    answers = {"gunicorn": [gunicorn(text) for text in texts]}
    with contextlib.suppress(ImportError):
        answers["h11"] = [h11(text) for text in texts]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
