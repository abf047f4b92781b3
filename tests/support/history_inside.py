"""Runs inside a release's environment: a random history on a database, by the release's own stores.

Each line on stdin is a command `{"uri": ..., "seed": 1, "ops": 50}`; the answer is a line with how often each kind of
operation worked and what it raised otherwise. Syntax and library of Python 3.8.
"""

import json
import os
import random
import sys
import time

NAMES = ["alpha", "beta", "gamma", "delta", "epsilon"]
TEXTS = ["", "x", "Ünïcödé ☃", "line\nline", "quote ' \" \\", "0", "NULL", "1e5", "  spaces  ", "v" * 400]
VALUES = [0.0, -0.0, 1.0, -1.5, 1e300, float("nan"), float("inf"), float("-inf"), 0.1, 3.0]

WEIGHTS = {
    "log_batch": 4.0, "start_trace": 4.0, "spans": 4.0, "create_run": 3.0, "assess": 3.0, "create_version": 3.0,
    "create_model": 2.0, "delete_experiment": 0.3, "erase_run": 0.5, "delete_run": 0.5, "delete_model": 0.5, "job": 2.0,
}  # fmt: skip


class Chance:
    """Random operations of a subclass: methods named `op_...`."""

    first = ()

    def go(self, seed, count, weights=None):
        self.random = random.Random(seed)
        made = {}
        wanted = {name[3:]: 1.0 for name in dir(self) if name.startswith("op_")}
        wanted.update({kind: weight for kind, weight in WEIGHTS.items() if kind in wanted})
        wanted.update({kind: weight for kind, weight in (weights or {}).items() if kind in wanted})
        kinds, shares = list(wanted), list(wanted.values())
        first = list(self.first) if self.new_here() else []
        for _ in range(20 * count):
            if sum(made.values()) >= count:
                break
            kind = first.pop(0) if first else self.random.choices(kinds, shares)[0]
            try:
                getattr(self, "op_" + kind)()
                made[kind] = made.get(kind, 0) + 1
            except (Skip, ImportError, AttributeError):  # nothing to do it to, or this release has no such call
                pass
            except Exception as error:
                name = f"{kind} !{type(error).__name__} {str(error)[:80]}"
                made[name] = made.get(name, 0) + 1
        return made

    def one(self, of):
        if not of:
            raise Skip
        return self.random.choice(of)


class Permissions(Chance):
    """Users and permissions, by the basic-auth application's own store."""

    first = ("create_user", "create_user", "grant_experiment", "grant_model")

    def __init__(self, uri):
        from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

        self.store = SqlAlchemyStore()
        self.store.init_db(uri)
        self.engines = [self.store.engine]
        self.users = [user.username for user in self.store.list_users()]

    def new_here(self):
        return not self.users

    def permission(self):
        return self.random.choice(["READ", "EDIT", "MANAGE"])

    def op_create_user(self):
        name = f"user{len(self.users)}-{self.random.randrange(1000)}"
        self.store.create_user(name, "password-1234")
        self.users.append(name)

    def op_delete_user(self):
        name = self.one(self.users[1:])
        self.store.delete_user(name)
        self.users.remove(name)

    def op_grant_experiment(self):
        self.store.create_experiment_permission(str(self.random.randrange(6)), self.one(self.users), self.permission())

    def op_deny_experiment(self):
        self.store.create_experiment_permission(str(self.random.randrange(6)), self.one(self.users), "NO_PERMISSIONS")

    def op_change_experiment(self):
        self.store.update_experiment_permission(str(self.random.randrange(6)), self.one(self.users), self.permission())

    def op_revoke_experiment(self):
        self.store.delete_experiment_permission(str(self.random.randrange(6)), self.one(self.users))

    def op_grant_model(self):
        self.store.create_registered_model_permission(
            self.random.choice(NAMES), self.one(self.users), self.permission()
        )

    def op_revoke_model(self):
        self.store.delete_registered_model_permission(self.random.choice(NAMES), self.one(self.users))

    def seen(self):
        """Who may do what, as this release tells it (denials left out: newer ones have none)."""
        found = {}
        for user in self.store.list_users():
            experiments = self.store.list_experiment_permissions(user.username)
            models = self.store.list_registered_model_permissions(user.username)
            given = [[each.experiment_id, each.permission] for each in experiments]
            given += [[each.name, each.permission] for each in models]
            found[user.username] = sorted(each for each in given if each[1] != "NO_PERMISSIONS")
        return found


class History(Chance):
    first = ("create_experiment",) * 3 + ("create_run",) * 3 + ("start_trace",) * 2

    def __init__(self, uri):
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        self.uri = uri
        self.store = SqlAlchemyStore(uri, "/tmp/liftlock-artifacts-that-are-never-written")
        self.registry = Registry(uri)
        self.experiments, self.runs, self.traces, self.assessments = [], [], [], []
        self.models, self.jobs, self.logged, self.datasets, self.issues = {}, [], [], [], []
        self.serial = 0
        self.engines = [self.store.engine, self.registry.engine]

    def new_here(self):
        return not self.experiments

    # -- choices --

    def new(self, prefix):
        self.serial += 1
        return f"{prefix}-{self.serial}-{self.random.randrange(10**9)}"

    def text(self):
        return self.random.choice(TEXTS)

    def key(self):
        return self.random.choice(NAMES)

    def now(self):
        return int(time.time() * 1000) + self.random.randrange(10)

    # -- tracking --

    def op_create_experiment(self):
        from mlflow.entities import ExperimentTag

        self.experiments.append(
            self.store.create_experiment(self.new("e"), tags=[ExperimentTag(self.key(), self.text())])
        )

    def op_rename_experiment(self):
        self.store.rename_experiment(self.one(self.experiments), self.new("renamed"))

    def op_swap_experiments(self):
        """Two names change places: the rows collide for whoever replays them one by one."""
        one, other = self.one(self.experiments), self.one(self.experiments)
        if one == other:
            raise Skip
        names = [self.store.get_experiment(each).name for each in (one, other)]
        self.store.rename_experiment(one, self.new("swap"))
        self.store.rename_experiment(other, names[0])
        self.store.rename_experiment(one, names[1])

    def op_delete_experiment(self):
        self.store.delete_experiment(self.one(self.experiments))

    def op_restore_experiment(self):
        self.store.restore_experiment(self.one(self.experiments))

    def op_tag_experiment(self):
        from mlflow.entities import ExperimentTag

        self.store.set_experiment_tag(self.one(self.experiments), ExperimentTag(self.key(), self.text()))

    def op_create_run(self):
        from mlflow.entities import RunTag

        run = self.store.create_run(
            self.one(self.experiments), "somebody", self.now(), [RunTag("first", self.text())], self.new("run")
        )
        self.runs.append(run.info.run_id)

    def op_log_batch(self):
        from mlflow.entities import Metric, Param, RunTag

        run = self.one(self.runs)
        metrics = [
            Metric(self.key(), self.random.choice(VALUES), self.now(), self.random.randrange(4)) for _ in range(5)
        ]
        params = [Param(self.new("p"), self.text() or "empty")]
        self.store.log_batch(run, metrics=metrics, params=params, tags=[RunTag(self.key(), self.text())])

    def op_log_metric(self):
        from mlflow.entities import Metric

        self.store.log_metric(self.one(self.runs), Metric(self.key(), self.random.choice(VALUES), self.now(), 1))

    def op_set_tag(self):
        from mlflow.entities import RunTag

        self.store.set_tag(self.one(self.runs), RunTag(self.key(), self.text()))

    def op_delete_tag(self):
        self.store.delete_tag(self.one(self.runs), self.key())

    def op_end_run(self):
        from mlflow.entities import RunStatus

        self.store.update_run_info(self.one(self.runs), RunStatus.FINISHED, self.now(), self.new("named"))

    def op_delete_run(self):
        self.store.delete_run(self.one(self.runs))

    def op_restore_run(self):
        self.store.restore_run(self.one(self.runs))

    def op_erase_run(self):
        """What `mlflow gc` does."""
        run = self.one(self.runs)
        self.store.delete_run(run)
        self.store._hard_delete_run(run)
        self.runs.remove(run)

    def op_log_inputs(self):
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(self.key(), self.new("d")[:30], "local", self.text() or "s", "schema", "profile")
        self.store.log_inputs(self.one(self.runs), [DatasetInput(data, [InputTag("context", self.text() or "t")])])

    # -- registry --

    def model(self):
        return self.one(sorted(self.models))

    def op_create_model(self):
        from mlflow.entities.model_registry import RegisteredModelTag

        name = self.new("m")
        self.registry.create_registered_model(name, [RegisteredModelTag(self.key(), self.text())], self.text())
        self.models[name] = []

    def op_create_version(self):
        from mlflow.entities.model_registry import ModelVersionTag

        name = self.model()
        made = self.registry.create_model_version(
            name,
            "s3://bucket/" + self.new("s"),
            self.random.choice(self.runs) if self.runs else None,
            [ModelVersionTag(self.key(), self.text())],
        )
        self.models[name].append(made.version)

    def op_rename_model(self):
        name, new = self.model(), self.new("m")
        self.registry.rename_registered_model(name, new)
        self.models[new] = self.models.pop(name)

    def op_delete_model(self):
        name = self.model()
        self.registry.delete_registered_model(name)
        del self.models[name]

    def op_again_model(self):
        """A model comes back under a name that was deleted: the same key, another row."""
        name = self.model()
        self.registry.delete_registered_model(name)
        self.registry.create_registered_model(name, [], "again")
        self.models[name] = []

    def op_update_model(self):
        self.registry.update_registered_model(self.model(), self.text())

    def op_tag_model(self):
        from mlflow.entities.model_registry import RegisteredModelTag

        self.registry.set_registered_model_tag(self.model(), RegisteredModelTag(self.key(), self.text()))

    def op_alias(self):
        name = self.model()
        self.registry.set_registered_model_alias(name, self.key(), self.one(self.models[name]))

    def op_tag_version(self):
        from mlflow.entities.model_registry import ModelVersionTag

        name = self.model()
        self.registry.set_model_version_tag(name, self.one(self.models[name]), ModelVersionTag(self.key(), self.text()))

    def op_stage(self):
        name = self.model()
        version = self.one(self.models[name])
        self.registry.transition_model_version_stage(name, version, self.random.choice(["Staging", "Production"]), True)

    def op_delete_version(self):
        name = self.model()
        self.registry.delete_model_version(name, self.one(self.models[name]))

    # -- traces --

    def metadata(self):
        found = {"note": self.text()}
        if self.random.random() < 0.7:
            found["mlflow.trace.session"] = self.random.choice(["s1", "s2", "s" * 240])
        if self.random.random() < 0.7:
            found["mlflow.trace.tokenUsage"] = json.dumps(
                {
                    "input_tokens": self.random.randrange(99),
                    "output_tokens": 7,
                    "total_tokens": self.random.randrange(99),
                }
            )
        if self.random.random() < 0.5:
            found["mlflow.trace.cost"] = json.dumps({"input_cost": 0.1, "total_cost": self.random.random()})
        if self.random.random() < 0.3:
            found["mlflow.gateway.endpointId"] = "gateway"
        return found

    def op_start_trace(self):
        tags = {"mlflow.traceName": self.random.choice(NAMES), self.key(): self.text()}
        try:
            from mlflow.entities.trace_info import TraceInfo
            from mlflow.entities.trace_location import TraceLocation
            from mlflow.entities.trace_state import TraceState
        except ImportError:
            if not hasattr(self.store, "start_trace"):
                raise Skip from None
            made = self.store.start_trace(self.one(self.experiments), self.now(), self.metadata(), tags)
            self.traces.append(made.request_id)
            return
        trace = f"tr-{self.random.getrandbits(128):032x}"
        location = TraceLocation.from_experiment_id(self.one(self.experiments))
        self.store.start_trace(
            TraceInfo(
                trace_id=trace,
                trace_location=location,
                request_time=self.now(),
                state=TraceState.OK,
                request_preview=self.text(),
                execution_duration=5,
                trace_metadata=self.metadata(),
                tags=tags,
            )
        )
        self.traces.append(trace)

    def op_end_trace(self):
        from mlflow.entities.trace_status import TraceStatus

        end = getattr(self.store, "end_trace", None) or getattr(self.store, "deprecated_end_trace_v2", None)
        if end is None:
            raise Skip
        end(self.one(self.traces), self.now(), TraceStatus.ERROR, self.metadata(), {"ended": self.text()})

    def op_tag_trace(self):
        key = self.random.choice(["mlflow.traceName", *NAMES])
        self.store.set_trace_tag(self.one(self.traces), key, self.text())

    def op_untag_trace(self):
        self.store.delete_trace_tag(self.one(self.traces), self.random.choice(["mlflow.traceName", "ended"]))

    def op_delete_trace(self):
        trace = self.one(self.traces)
        from mlflow.store.tracking.dbmodels.models import SqlTraceInfo

        with self.session() as session:
            experiment = session.get(SqlTraceInfo, trace).experiment_id
        self.store._delete_traces(str(experiment), None, None, [trace])
        self.traces.remove(trace)

    def op_spans(self):
        if not hasattr(self.store, "log_spans"):
            raise Skip
        from mlflow.entities.span import Span
        from mlflow.store.tracking.dbmodels.models import SqlTraceInfo
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        trace = self.one([each for each in self.traces if each.startswith("tr-")])
        with self.session() as session:
            found = session.get(SqlTraceInfo, trace)
            if found is None:
                raise Skip
            experiment = found.experiment_id
        spans, parent = [], None
        for number in range(self.random.randrange(1, 4)):
            attributes = {
                "mlflow.traceRequestId": json.dumps(trace),
                "mlflow.spanType": json.dumps("LLM"),
                "mlflow.llm.model": json.dumps(self.random.choice(["m" * 40, "gpt"])),
                "mlflow.llm.provider": json.dumps("provider"),
                "mlflow.llm.cost": json.dumps({"input_cost": 0.1, "output_cost": 0.2, "total_cost": 0.3 * number}),
            }
            context = SpanContext(int(trace[3:], 16), self.random.getrandbits(63), False, TraceFlags(1))
            spans.append(
                Span(
                    ReadableSpan(
                        name=self.text(),
                        context=context,
                        parent=parent,
                        resource=Resource({}),
                        attributes=attributes,
                        start_time=self.now() * 10**6,
                        end_time=self.now() * 10**6 + 5,
                        status=Status(StatusCode.OK),
                    )
                )
            )
            parent = context
        self.store.log_spans(str(experiment), spans)

    def op_assess(self):
        if not hasattr(self.store, "create_assessment"):
            raise Skip
        from mlflow.entities.assessment import AssessmentSource, Expectation, Feedback

        source = AssessmentSource(source_type="HUMAN", source_id=self.key())
        kind = self.random.choice([Feedback, Expectation])
        value = self.random.choice([1, 2.5, True, "yes", "No", "other", ["a"], {"b": 1}])
        made = self.store.create_assessment(
            kind(name=self.key(), value=value, source=source, trace_id=self.one(self.traces))
        )
        self.assessments.append((made.trace_id, made.assessment_id))

    def op_update_assessment(self):
        from mlflow.entities.assessment import FeedbackValue

        trace, assessment = self.one(self.assessments)
        self.store.update_assessment(trace, assessment, feedback=FeedbackValue(value=self.random.random()))

    def op_delete_assessment(self):
        trace, assessment = self.one(self.assessments)
        self.store.delete_assessment(trace, assessment)

    def op_move_assessment(self):
        """No API does this, a person with SQL may: the row leaves one trace's family for another's."""
        from mlflow.store.tracking.dbmodels.models import SqlAssessments

        _, assessment = self.one(self.assessments)
        with self.session() as session:
            found = session.get(SqlAssessments, assessment)
            if found is None:
                raise Skip
            found.trace_id = self.one(self.traces)
            session.commit()

    # -- what came with 3.x --

    def op_logged_model(self):
        if not hasattr(self.store, "create_logged_model"):
            raise Skip
        from mlflow.entities import LoggedModelParameter, LoggedModelTag

        made = self.store.create_logged_model(
            self.one(self.experiments),
            self.new("lm"),
            self.random.choice(self.runs) if self.runs else None,
            [LoggedModelTag(self.key(), self.text())],
            [LoggedModelParameter(self.key(), self.text() or "x")],
            "type",
        )
        self.logged.append(made.model_id)

    def op_logged_model_tags(self):
        from mlflow.entities import LoggedModelTag

        self.store.set_logged_model_tags(self.one(self.logged), [LoggedModelTag(self.key(), self.text())])

    def op_delete_logged_model(self):
        self.store.delete_logged_model(self.one(self.logged))

    def op_dataset(self):
        if not hasattr(self.store, "create_dataset"):
            raise Skip
        made = self.store.create_dataset(self.new("ds"), {self.key(): self.text()}, [self.one(self.experiments)])
        self.datasets.append(made.dataset_id)
        self.store.upsert_dataset_records(
            made.dataset_id, [{"inputs": {"q": self.text()}, "expectations": {"a": 1}, "tags": {}}]
        )

    def op_delete_dataset(self):
        dataset = self.one(self.datasets)
        self.store.delete_dataset(dataset)
        self.datasets.remove(dataset)

    def op_scorer(self):
        if not hasattr(self.store, "register_scorer"):
            raise Skip
        self.store.register_scorer(self.one(self.experiments), self.key(), json.dumps({"name": self.text()}))

    def op_issue(self):
        if not hasattr(self.store, "create_issue"):
            raise Skip
        made = self.store.create_issue(
            self.one(self.experiments),
            self.new("issue"),
            self.text(),
            categories=self.random.choice([None, ["A", "b"]]),
        )
        self.issues.append(made.issue_id)

    def jobs_store(self):
        try:
            from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
        except ImportError:
            raise Skip from None
        return SqlAlchemyJobStore(self.uri)

    def op_job(self):
        store = self.jobs_store()
        self.jobs.append(store.create_job(self.key(), json.dumps({"n": self.serial})).job_id)

    def op_start_job(self):
        self.jobs_store().start_job(self.one(self.jobs))

    def op_finish_job(self):
        self.jobs_store().finish_job(self.one(self.jobs), json.dumps(self.text()))

    def session(self):
        from sqlalchemy.orm import sessionmaker

        return sessionmaker(self.store.engine)()


class Skip(Exception):
    pass


def main():
    sys.path[:] = [
        place for place in sys.path if os.path.abspath(place or ".") != os.path.dirname(os.path.abspath(__file__))
    ]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    histories = {}
    for line in sys.stdin:
        command = json.loads(line)
        uri = command["uri"]
        if uri not in histories:
            histories[uri] = (Permissions if command.get("auth") else History)(uri)
        history = histories[uri]
        try:
            made = history.go(command["seed"], command["ops"], command.get("weights"))
            if command.get("auth"):
                made["seen"] = history.seen()
        except BaseException as error:
            made = {"failed": repr(error)}
        for engine in history.engines:
            engine.dispose()
        answers.write("@answer " + json.dumps(made) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
