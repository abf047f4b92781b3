"""Write to a server through the release's real client until told to stop, and keep a ledger of what was acknowledged.

Run as a program: one JSON object on stdin (`name`, `ledger`, `stop`, `pause`, `artifacts`, `traces`), the server in
MLFLOW_TRACKING_URI. The ledger is JSON lines: an intent before each call, and how it ended after it.
"""

import json
import os
import random
import sys
import tempfile
import time


def main():
    arguments = json.load(sys.stdin)
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    rng = random.Random(arguments["name"])
    with open(arguments["ledger"], "a", buffering=1) as ledger:
        writer = Writer(client, rng, ledger, arguments)
        writer.start()
        turn = 0
        while not os.path.exists(arguments["stop"]):
            writer.run(turn)
            turn += 1
    return 0


class Writer:
    """One person's script: runs with metrics, params, tags, artifacts, and model versions now and then."""

    def __init__(self, client, rng, ledger, arguments):
        self.client, self.rng, self.ledger, self.arguments = client, rng, ledger, arguments
        self.name = arguments["name"]
        self.number = 0
        self.experiment = None

    def start(self):
        self.experiment = self.call("experiment", {"name": "load-" + self.name}, self.client.create_experiment,
                                    "load-" + self.name)  # fmt: skip
        self.call("model", {"name": "load-" + self.name}, self.client.create_registered_model, "load-" + self.name)

    def run(self, turn):
        mark = "%s-%d" % (self.name, turn)
        made = self.call("run", {"mark": mark}, self.client.create_run, self.experiment, tags={"load.mark": mark})
        if made is None:
            return
        run = made.info.run_id
        self.call("param", {"run": run, "key": "rate", "value": mark}, self.client.log_param, run, "rate", mark)
        for step in range(5):
            now, value = int(time.time() * 1000), self.rng.random()
            self.call("metric", {"run": run, "key": "loss", "value": value, "step": step, "timestamp": now},
                      self.client.log_metric, run, "loss", value, timestamp=now, step=step)  # fmt: skip
            time.sleep(self.arguments["pause"])
        self.call("tag", {"run": run, "key": "note", "value": mark}, self.client.set_tag, run, "note", mark)
        if self.arguments["artifacts"] and turn % 3 == 0:
            with tempfile.TemporaryDirectory() as place:
                path = os.path.join(place, "note.txt")
                with open(path, "w") as file:
                    file.write(mark)
                self.call(
                    "artifact", {"run": run, "path": "note.txt", "text": mark}, self.client.log_artifact, run, path
                )
        if turn % 4 == 0:
            self.call("version", {"name": "load-" + self.name, "mark": mark}, self.client.create_model_version,
                      "load-" + self.name, "runs:/%s/model" % run, run, tags={"load.mark": mark})  # fmt: skip
        if self.arguments["traces"]:
            self.call("trace", {"mark": mark}, self.trace, mark)
        self.call("end", {"run": run, "status": "FINISHED"}, self.client.set_terminated, run, "FINISHED")

    def trace(self, mark):
        """A trace with two spans and a tag; acknowledged when it can be read again."""
        import mlflow

        mlflow.set_experiment(experiment_id=self.experiment)
        with mlflow.start_span("load") as outer:
            outer.set_inputs({"mark": mark})
            with mlflow.start_span("inner"):
                pass
            mlflow.update_current_trace(tags={"load.mark": mark})
        if len(self.client.get_trace(outer.trace_id).data.spans) != 2:
            raise RuntimeError("the trace lacks spans")

    def call(self, kind, what, function, *arguments, **named):
        """One write: noted before, and after it whether it was acknowledged and how long that took."""
        self.number += 1
        began = time.time()
        self.note({"n": self.number, "kind": kind, "at": began, "what": what})
        try:
            result = function(*arguments, **named)
        except Exception as error:
            self.note({"n": self.number, "failed": "%s: %s" % (type(error).__name__, str(error)[:300]),
                       "seconds": time.time() - began})  # fmt: skip
            return None
        self.note({"n": self.number, "ok": getattr(getattr(result, "info", None), "run_id", None) or str(result)[:80],
                   "seconds": time.time() - began})  # fmt: skip
        return result

    def note(self, line):
        self.ledger.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
