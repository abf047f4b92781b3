"""Applications under test, run by a release's own interpreter: random histories through `mlflow`, with ledgers.

Before a call an application writes "begun", after the call returned "done". Waits and exceptions are in its report.
MLflow is imported once; then every seed is a process of its own, as with any server that forks its workers.

    python worker.py FOLDER SEED[,SEED...] SECONDS [--fork SEED] [--artifacts SEED] [--nap SECONDS] [--until FILE]
"""

import argparse
import json
import os
import random
import time

from mlflow import MlflowClient
from mlflow.entities import Metric

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("seeds")
parser.add_argument("seconds", type=float)
parser.add_argument("--fork", type=int, help="the seed whose process forks another one in the middle of its work")
parser.add_argument("--artifacts", type=int, help="the seed that logs artifacts too")
parser.add_argument("--nap", type=float, default=0.004)
parser.add_argument("--until", default="", help="end as soon as this file is there")
given = parser.parse_args()


for seed in map(int, given.seeds.split(",")):
    if os.fork() == 0:
        break
else:
    statuses = [os.wait()[1] for _ in given.seeds.split(",")]
    raise SystemExit(max(map(os.waitstatus_to_exitcode, statuses)))
with open(f"{given.folder}/pid-{seed}", "w") as note:
    note.write(str(os.getpid()))
given.seed, given.fork, given.artifacts = seed, seed == given.fork, seed == given.artifacts
given.ledger = f"{given.folder}/ledger-{seed}.jsonl"

rng = random.Random(given.seed)
book = open(given.ledger, "a", buffering=1)
count = 0
waits = []
errors = []


def call(op, function, **entry):
    global count
    count += 1
    name = f"{os.getpid()}-{count}"
    book.write(json.dumps({"id": name, "op": op, "state": "begun", **entry}) + "\n")
    began = time.perf_counter()
    try:
        result = function()
    except Exception as problem:
        errors.append(f"{op}: {type(problem).__name__}: {problem}"[:400])
        return None
    waits.append((time.perf_counter() - began, op))
    book.write(json.dumps({"id": name, "op": op, "state": "done", **entry}) + "\n")
    return result


client = MlflowClient()
os.makedirs(f"files-{seed}", exist_ok=True)


class Run:
    def __init__(self, parent=None):
        self.name = f"w{given.seed}-{os.getpid()}-{count}"
        tags = {"mlflow.parentRunId": parent.id} if parent else {}
        made = call(
            "start",
            lambda: client.create_run("0", run_name=self.name, tags=tags),
            run=self.name,
            parent=parent.name if parent else None,
        )
        self.id = made.info.run_id if made else None
        self.step = 0

    def act(self):
        kind = rng.choices(
            ["metric", "batch", "param", "tag", "untag", "artifact", "end"],
            [60, 10, 6, 8, 2, 3 if given.artifacts else 0, 0 if given.fork else 2],
        )[0]
        self.step += 1
        if kind == "metric":
            value = rng.choice([rng.random(), float(self.step), -1e300])
            call(
                "metrics",
                lambda: client.log_metric(self.id, "m", value, step=self.step),
                run=self.name,
                points=[["m", value, self.step]],
            )
        elif kind == "batch":
            points = [[f"b{i}", rng.random(), self.step] for i in range(rng.randint(1, 40))]
            now = int(time.time() * 1000)
            call(
                "metrics",
                lambda: client.log_batch(self.id, metrics=[Metric(k, v, now, s) for k, v, s in points]),
                run=self.name,
                points=points,
            )
        elif kind == "param":
            key, value = f"p{self.step}", f"value {rng.random()}"
            call("param", lambda: client.log_param(self.id, key, value), run=self.name, key=key, value=value)
        elif kind == "tag":
            key, value = f"t{os.getpid()}-{rng.randint(0, 5)}", f"tag {rng.random()}"
            call("tag", lambda: client.set_tag(self.id, key, value), run=self.name, key=key, value=value)
        elif kind == "untag":
            key = f"t{os.getpid()}-{rng.randint(0, 5)}"
            call("tag", lambda: client.delete_tag(self.id, key), run=self.name, key=key, value=None)
        elif kind == "artifact":
            path, text = f"a{self.step}.txt", f"text {rng.random()}"
            with open(f"files-{given.seed}/{path}", "w") as file:
                file.write(text)
            call(
                "artifact",
                lambda: client.log_artifact(self.id, f"files-{given.seed}/{path}"),
                run=self.name,
                path=path,
                text=text,
            )
        else:
            status = rng.choice(["FINISHED", "FAILED"])
            call("end", lambda: client.set_terminated(self.id, status), run=self.name, status=status)
            return False
        return True


deadline = time.time() + given.seconds
runs = []
forked = False
while time.time() < deadline and not (given.until and os.path.exists(given.until)):
    if len(runs) < 4:
        parent = rng.choice(runs) if runs and rng.random() < 0.5 else None
        fresh = Run(parent)
        if fresh.id:
            runs.append(fresh)
    run = rng.choice(runs)
    if not run.act():
        runs.remove(run)
    if given.fork and not forked and count > 50:
        forked = True
        child = os.fork()
        if child == 0:
            book = open(given.ledger.replace(".jsonl", "-child.jsonl"), "a", buffering=1)
            count = 0
            # The child goes on with its parent's runs (steps of its own) and with new ones.
            for each in runs:
                each.step += 1_000_000
            given.seed += 1000
            os.makedirs(f"files-{given.seed}", exist_ok=True)
    time.sleep(given.nap * rng.random())
for run in runs:
    if not forked:
        call("end", lambda run=run: client.set_terminated(run.id, "FINISHED"), run=run.name, status="FINISHED")
waits.sort()
report = {"errors": errors[:5], "failed": len(errors), "calls": len(waits), "slowest": waits[-5:]}
with open(given.ledger.replace("ledger-", "report-").replace(".jsonl", f"-{os.getpid()}.json"), "w") as file:
    json.dump(report, file)
if forked and child:
    os.waitpid(child, 0)
