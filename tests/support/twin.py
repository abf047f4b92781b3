"""The same history, told by the same old client to two servers: one that is upgraded and taken back, one left alone.

What the client reads from both in the end must be equal, but for the ids that each server gave out.
"""

from __future__ import annotations

import json
from pathlib import Path

from liftlock.proc import run
from liftlock.releases.children import clean_environment
from tests.support import releases

_SCRIPT = """
import json, random, sys
from pathlib import Path
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.tracking import MlflowClient

client, names, steps = MlflowClient(), Path(sys.argv[1]), int(sys.argv[3])
chance = random.Random(int(sys.argv[2]))
known = {"runs": {}, "experiments": {}, "models": [], "n": 0, "gone": []}
if names.exists():
    known = json.loads(names.read_text())

def fresh(kind):
    known["n"] += 1
    return "%s-%d" % (kind, known["n"])

def experiment():
    name = fresh("experiment")
    known["experiments"][name] = client.create_experiment(name, tags={"made": "by twin"})

def a_run():
    name = chance.choice(sorted(known["runs"]))
    return name, known["runs"][name]

def new_run():
    where = known["experiments"][chance.choice(sorted(known["experiments"]))]
    name = fresh("run")
    made = client.create_run(where, start_time=1000 + known["n"], run_name=name, tags={"twin": name})
    known["runs"][name] = made.info.run_id

def metrics():
    # Every point once: what a repeated one does differs between releases. Aliased versions stay for the same reason.
    _, run = a_run()
    at = known["n"] * 10
    values = [0.5, -1e300, float("nan"), float("inf")]
    points = [Metric("m%d" % (i % 3), chance.choice(values), 5000 + at + i, i) for i in range(7)]
    client.log_batch(run, metrics=points, params=[Param(fresh("param"), "v")], tags=[RunTag("t", fresh("tag"))])

def delete_or_restore():
    name, run = a_run()
    if name in known["gone"]:
        client.restore_run(run)
        known["gone"].remove(name)
    else:
        client.delete_run(run)
        known["gone"].append(name)

def end():
    _, run = a_run()
    client.set_terminated(run, status=chance.choice(["FINISHED", "FAILED", "KILLED"]), end_time=9000 + known["n"])

def untag():
    _, run = a_run()
    if "t" in client.get_run(run).data.tags:
        client.delete_tag(run, "t")

def rename_experiment():
    old = chance.choice(sorted(known["experiments"]))
    new = fresh("experiment")
    client.rename_experiment(known["experiments"][old], new)
    known["experiments"][new] = known["experiments"].pop(old)

def model():
    name = fresh("model")
    client.create_registered_model(name, tags={"a": "b"}, description="a model")
    known["models"].append(name)

def version():
    name = chance.choice(sorted(known["models"]))
    _, run = a_run()
    made = client.create_model_version(name, "s3://somewhere/%s" % fresh("source"), description="Ünïcode")
    client.set_registered_model_alias(name, chance.choice(["champion", "challenger"]), made.version)
    client.set_model_version_tag(name, made.version, "k", fresh("value"))

def rename_model():
    old = chance.choice(sorted(known["models"]))
    new = fresh("model")
    client.rename_registered_model(old, new)
    known["models"][known["models"].index(old)] = new

def passing_version():
    name = chance.choice(sorted(known["models"]))
    made = client.create_model_version(name, "s3://somewhere/%s" % fresh("source"))
    client.delete_model_version(name, made.version)

def artifact():
    _, run = a_run()
    client.log_text(run, "text", fresh("file") + ".txt")

def guarded(act):
    try:
        act()
    except Exception as error:  # a deleted run takes no metric: the same on both
        return type(error).__name__

if not known["n"]:
    experiment(), new_run(), new_run(), model(), version()
acts = [experiment, new_run, new_run, metrics, metrics, metrics, delete_or_restore, end, untag, rename_experiment,
        model, version, version, rename_model, passing_version, artifact]
log = [(act.__name__, guarded(act)) for act in (chance.choice(acts) for _ in range(steps))]
names.write_text(json.dumps(known))

label = {run: name for name, run in known["runs"].items()}
place = {identity: name for name, identity in known["experiments"].items()}
seen = {"log": log}
for name, run in sorted(known["runs"].items()):
    found = client.get_run(run)
    history = {key: sorted((m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run, key))
               for key in found.data.metrics}
    info, data = found.info, found.data
    seen[name] = repr([
        place[info.experiment_id], info.status, info.lifecycle_stage, info.start_time, info.end_time, info.run_name,
        sorted(data.params.items()), sorted(data.tags.items()), sorted(history.items()),
        sorted(item.path for item in client.list_artifacts(run)),
    ])
for each in client.search_experiments(view_type=ViewType.ALL):
    if each.experiment_id in place:
        seen["experiment " + each.name] = repr([each.lifecycle_stage, sorted(each.tags.items())])
for each in client.search_registered_models():
    if each.name in known["models"]:
        seen["model " + each.name] = repr([each.description, sorted(each.tags.items()), sorted(each.aliases.items())])
        for v in client.search_model_versions("name = '%s'" % each.name):
            name = "version %s/%s" % (v.name, v.version)
            seen[name] = repr([v.source, v.description, v.current_stage, sorted(v.tags.items())])
ids = sorted(known["experiments"].values())
search = client.search_runs(ids, order_by=["attributes.start_time ASC"], run_view_type=ViewType.ALL, max_results=1000)
seen["search"] = [label[each.info.run_id] for each in search]
print(json.dumps(seen))
"""


def tell(version: str, url: str, memory: Path, seed: int, steps: int) -> dict[str, object]:
    """Carry a history on through a server; what an old client reads afterwards, by names instead of ids.

    `memory` is a file with the ids that this server gave out so far.
    """
    env = clean_environment({"MLFLOW_TRACKING_URI": url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"})
    words: list[str | Path] = [releases.environment(version).python, "-c", _SCRIPT, memory, str(seed), str(steps)]
    done = run(words, timeout=300, env=env, what=f"a client of {version}")
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
