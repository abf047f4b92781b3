"""Runs inside a release's own Python: takes one JSON command a line on stdin, answers in marked JSON lines.

Everything MLflow itself prints goes to stderr, so the answers stay clean. When stdin ends (our parent stopped
or died) the process ends at once, in the middle of a migration too: the database then rolls back or stays at a
revision boundary, and nothing goes on behind the parent's back. Syntax and library of Python 3.7.
"""

import importlib.util
import json
import os
import queue
import sys
import threading
import traceback

MARK = "@liftlock "
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    # The directory of this script must not shadow anything that MLflow imports.
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != HERE]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    commands = queue.Queue()

    def read():
        for line in sys.stdin:
            commands.put(line)
        os._exit(3)

    def answer(kind, value):
        answers.write(MARK + json.dumps({kind: value}, default=str) + "\n")
        answers.flush()

    threading.Thread(target=read, daemon=True).start()
    answer("ready", {"pid": os.getpid()})
    while True:
        command = json.loads(commands.get())
        try:
            function = getattr(load(command["module"]), command["call"])
            result = function(command.get("arguments", {}), lambda value: answer("progress", value))
        except BaseException as error:
            traceback.print_exc()
            answer("failed", {"type": type(error).__name__, "message": str(error)})
        else:
            answer("done", result)


_loaded = {}


def load(name):
    if name not in _loaded:
        spec = importlib.util.spec_from_file_location("liftlock_inside_" + name, os.path.join(HERE, name + ".py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _loaded[name] = module
    return _loaded[name]


if __name__ == "__main__":
    main()
