"""The executor with steps made for it: every order of failure, of failing undo, and of a process that dies."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from liftlock.engine.executor import Executor
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.engine.journal import Journal
from liftlock.errors import LiftlockError, NeedsPerson, PutBack, Refused, StoreError
from liftlock.model.finding import Finding, Outcome
from liftlock.model.journal import Kind, RunKind, RunOutcome
from liftlock.model.plan import Reversibility
from liftlock.model.progress import Progress


class Died(BaseException):
    """The process ends here: nothing may catch it."""


class Fake(BaseStep):
    """A step whose world is a dictionary; `fails` and `undo_fails` are raised where they are set,
    and `leaves` is what the first of them leaves there.
    """

    def __init__(self, name: str, world: dict[str, str], log: list[str]) -> None:
        self.name = name
        self.title = f"do {name}"
        self.world = world
        self.log = log
        self.fails: BaseException | None = None
        self.fails_after: BaseException | None = None
        self.leaves: str | None = "half"
        self.undo_fails: BaseException | None = None
        self.probed: Probe | None = None
        self.findings: tuple[Finding, ...] = ()

    def precheck(self, context: Context) -> tuple[Finding, ...]:
        return self.findings

    def probe(self, context: Context) -> Probe:
        if self.probed is not None:
            return self.probed
        found = self.world.get(self.name)
        return {None: Probe.NOT_STARTED, "half": Probe.PARTIAL, "done": Probe.DONE}[found]

    def run(self, context: Context) -> None:
        self.log.append(f"run {self.name}")
        assert self.name not in self.world, "run on what is there already"
        self.world[self.name] = "half"
        if self.fails is not None:
            if self.leaves is None:
                del self.world[self.name]
            else:
                self.world[self.name] = self.leaves
            raise self.fails
        self.world[self.name] = "done"
        if self.fails_after is not None:
            raise self.fails_after

    def result(self, context: Context) -> Payload:
        return {"name": self.name}

    def undo(self, context: Context) -> None:
        self.log.append(f"undo {self.name}")
        if self.undo_fails is not None:
            raise self.undo_fails
        self.world.pop(self.name, None)


class Bench:
    def __init__(self, directory: Path, count: int = 3) -> None:
        self.world: dict[str, str] = {}
        self.log: list[str] = []
        self.steps = [Fake(name, self.world, self.log) for name in "abcdef"[:count]]
        self.journal = Journal(directory / "journal.db")
        self.executor = Executor(self.journal)
        self.run = self.executor.begin(RunKind.UPGRADE, "me", {}).id

    def again(self) -> list[Fake]:
        """A new process: new steps, the same world and journal."""
        self.steps = [Fake(step.name, self.world, self.log) for step in self.steps]
        self.executor = Executor(self.journal)
        return self.steps

    def outcome(self) -> RunOutcome:
        return self.journal.run(self.run).outcome


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_forward_runs_all_in_order(bench: Bench) -> None:
    results = bench.executor.forward(bench.run, bench.steps)
    assert bench.log == ["run a", "run b", "run c"]
    assert {name: result["name"] for name, result in results.items()} == {"a": "a", "b": "b", "c": "c"}
    bench.executor.end(bench.run, RunOutcome.DONE)
    assert bench.outcome() is RunOutcome.DONE
    bench.journal.verify()


def test_intent_is_durable_before_the_effect(bench: Bench) -> None:
    seen: list[tuple[str, str]] = []

    class Looks(Fake):
        def run(self, context: Context) -> None:
            seen.extend((entry.kind.value, entry.step) for entry in bench.journal.entries())
            super().run(context)

    bench.executor.forward(bench.run, [Looks("a", bench.world, bench.log)])
    assert seen[-1] == ("intent", "a")


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("error", [StoreError("full", hint="look"), ValueError("a bug"), KeyboardInterrupt("SIGINT")])
def test_failure_is_put_back_in_reverse(bench: Bench, at: int, error: BaseException) -> None:
    from liftlock.engine.interruption import Interrupted

    bench.steps[at].fails = Interrupted("SIGINT") if isinstance(error, KeyboardInterrupt) else error
    with pytest.raises(PutBack) as caught:
        bench.executor.forward(bench.run, bench.steps)
    names = "abc"[: at + 1]
    assert bench.log == [f"run {name}" for name in names] + [f"undo {name}" for name in reversed(names)]
    assert bench.world == {}
    assert bench.outcome() is RunOutcome.PUT_BACK
    assert "put back" in caught.value.message
    if isinstance(error, StoreError):
        assert caught.value.hint == "look"


@pytest.mark.parametrize(("at", "undo_at"), [(a, u) for a in range(3) for u in range(a + 1)])
@pytest.mark.parametrize("undo_error", [StoreError("stuck"), OSError("gone")])
def test_failing_undo_stops_for_a_person_and_abort_finishes(
    tmp_path: Path, at: int, undo_at: int, undo_error: Exception
) -> None:
    bench = Bench(tmp_path)
    bench.steps[at].fails = StoreError("no")
    bench.steps[undo_at].undo_fails = undo_error
    with pytest.raises(NeedsPerson, match="putting back") as caught:
        bench.executor.forward(bench.run, bench.steps)
    assert "liftlock abort" in caught.value.hint
    assert bench.outcome() is RunOutcome.OPEN
    assert bench.executor.going_back(bench.run)
    steps = bench.again()
    bench.executor.put_back(bench.run, steps, reason="aborted")
    assert bench.world == {}
    assert bench.outcome() is RunOutcome.PUT_BACK


@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_putting_back_waits_for_what_is_away_for_a_moment(bench: Bench, patience: float) -> None:
    bench.executor.patience = patience
    bench.steps[1].fails = StoreError("full")
    bench.steps[1].undo_fails = StoreError("the database restarts", retryable=True)

    def observe(progress: Progress) -> None:
        if "waiting" in progress.work:
            bench.steps[1].undo_fails = None

    bench.executor.observer = observe
    with pytest.raises(PutBack if patience else NeedsPerson):
        bench.executor.forward(bench.run, bench.steps)
    assert bench.outcome() is (RunOutcome.PUT_BACK if patience else RunOutcome.OPEN)
    assert bench.log.count("undo b") == (2 if patience else 1)


@pytest.mark.parametrize(
    ("came", "retryable", "ends", "runs"),
    [(None, True, "well", 2), ("done", True, "well", 1), ("half", True, "stuck", 1), (None, False, "stuck", 1)],
    ids=["anew", "done before it failed", "half-way", "for good"],
)
def test_a_step_without_a_way_back_waits_too(
    bench: Bench, came: str | None, retryable: bool, ends: str, runs: int
) -> None:
    """And is begun again where its probe says that it can be."""
    step = bench.steps[2]
    step.reversibility = Reversibility.NONE
    step.fails = StoreError("the database restarts", retryable=retryable)

    def observe(progress: Progress) -> None:
        if "waiting" in progress.work:
            step.fails = None

    bench.executor.observer = observe
    step.leaves = came
    if ends == "well":
        bench.executor.forward(bench.run, bench.steps)
        assert bench.world["c"] == "done"
    else:
        with pytest.raises(NeedsPerson, match="no way back"):
            bench.executor.forward(bench.run, bench.steps)
        assert "undo" not in " ".join(bench.log)
    assert bench.log.count("run c") == runs


def test_an_unforeseen_error_in_an_undo_leaves_the_run_open(bench: Bench) -> None:
    bench.steps[1].fails = StoreError("no")
    bench.steps[0].undo_fails = ValueError("a bug")
    with pytest.raises(NeedsPerson, match="a bug"):
        bench.executor.forward(bench.run, bench.steps)
    assert bench.outcome() is RunOutcome.OPEN


def test_needs_person_leaves_everything_where_it_is(bench: Bench) -> None:
    bench.steps[1].fails_after = NeedsPerson("your turn", hint="look")
    with pytest.raises(NeedsPerson, match="your turn"):
        bench.executor.forward(bench.run, bench.steps)
    assert "undo" not in " ".join(bench.log)
    assert bench.outcome() is RunOutcome.OPEN
    steps = bench.again()
    bench.executor.forward(bench.run, steps)
    assert bench.log == ["run a", "run b", "run c"]


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("after", [False, True])
def test_death_then_resume_finishes(tmp_path: Path, at: int, after: bool) -> None:
    """Half-done work is undone and done again; finished work is only recorded."""
    bench = Bench(tmp_path)
    if after:
        bench.steps[at].fails_after = Died()
    else:
        bench.steps[at].fails = Died()
    with pytest.raises(Died):
        bench.executor.forward(bench.run, bench.steps)
    steps = bench.again()
    bench.log.clear()
    bench.executor.forward(bench.run, steps)
    name = "abc"[at]
    first = [] if after else [f"undo {name}", f"run {name}"]
    assert bench.log == [*first, *(f"run {each}" for each in "abc"[at + 1 :])]
    assert bench.world == dict.fromkeys("abc", "done")


@pytest.mark.parametrize(("at", "undo_at"), [(a, u) for a in range(3) for u in range(a + 1)])
def test_death_while_putting_back(tmp_path: Path, at: int, undo_at: int) -> None:
    bench = Bench(tmp_path)
    bench.steps[at].fails = StoreError("no")
    bench.steps[undo_at].undo_fails = Died()
    with pytest.raises(Died):
        bench.executor.forward(bench.run, bench.steps)
    steps = bench.again()
    assert bench.executor.going_back(bench.run)
    bench.executor.put_back(bench.run, steps, reason="resumed")
    assert bench.world == {}
    assert bench.outcome() is RunOutcome.PUT_BACK


def test_unknown_stops_for_a_person(bench: Bench) -> None:
    bench.steps[1].fails = Died()
    with pytest.raises(Died):
        bench.executor.forward(bench.run, bench.steps)
    steps = bench.again()
    steps[1].probed = Probe.UNKNOWN
    with pytest.raises(NeedsPerson, match="how far"):
        bench.executor.forward(bench.run, steps)
    assert bench.world == {"a": "done", "b": "half"}


def test_no_way_back_is_said_before_anything_is_undone(bench: Bench) -> None:
    bench.steps[0].reversibility = Reversibility.NONE
    bench.steps[1].fails = StoreError("no")
    with pytest.raises(NeedsPerson, match="no way back"):
        bench.executor.forward(bench.run, bench.steps)
    assert not [line for line in bench.log if line.startswith("undo")]
    steps = bench.again()
    steps[0].reversibility = Reversibility.NONE
    bench.executor.forward(bench.run, steps)


def test_half_of_what_has_no_way_back(bench: Bench) -> None:
    bench.steps[0].fails = Died()
    with pytest.raises(Died):
        bench.executor.forward(bench.run, bench.steps)
    steps = bench.again()
    steps[0].reversibility = Reversibility.NONE
    with pytest.raises(NeedsPerson, match="half-way"):
        bench.executor.forward(bench.run, steps)


def test_blocking_precheck_puts_back_without_running(bench: Bench) -> None:
    bench.steps[1].findings = (Finding(code="X1", title="no", outcome=Outcome.UNKNOWN, message="cannot tell"),)
    with pytest.raises(PutBack, match="X1 cannot tell"):
        bench.executor.forward(bench.run, bench.steps)
    assert bench.log == ["run a", "undo a"]


def test_second_run_is_refused_while_one_is_open(bench: Bench) -> None:
    with pytest.raises(Refused, match="has not ended") as caught:
        bench.executor.begin(RunKind.ROLLBACK, "you", {})
    assert "liftlock resume" in caught.value.hint
    bench.executor.end(bench.run, RunOutcome.DONE)
    assert bench.executor.begin(RunKind.ROLLBACK, "you", {}).kind is RunKind.ROLLBACK


def test_outcomes_and_notes_survive(bench: Bench) -> None:
    class Notes(Fake):
        def run(self, context: Context) -> None:
            super().run(context)
            context.note("fact", {"n": 7})
            if self.world.get("die"):
                del self.world["die"]
                raise Died

        def result(self, context: Context) -> Payload:
            return context.noted("fact") or {}

    bench.world["die"] = "yes"
    with pytest.raises(Died):
        bench.executor.forward(bench.run, [Notes("a", bench.world, bench.log)])
    results = bench.executor.forward(bench.run, [Notes("a", bench.world, bench.log)])
    assert results["a"] == {"n": 7}


@pytest.mark.parametrize("deaths", list(itertools.product(["before", "half", "after", "none"], repeat=2)))
def test_any_two_deaths_in_a_row(tmp_path: Path, deaths: tuple[str, str]) -> None:
    """Die, resume, die, resume: the end is always whole."""
    bench = Bench(tmp_path, count=2)

    def doom(step: Fake, how: str) -> None:
        step.fails = Died() if how == "half" else None
        step.fails_after = Died() if how == "after" else None

    for how in deaths:
        steps: list[Any] = bench.again()
        doom(steps[0], how)
        doom(steps[1], how)
        try:
            bench.executor.forward(bench.run, steps)
        except Died:
            continue
    bench.executor.forward(bench.run, bench.again())
    assert bench.world == {"a": "done", "b": "done"}
    bench.journal.verify()


def test_errors_are_redacted(bench: Bench) -> None:
    from liftlock.model.secret import Secret

    Secret("hidden-in-an-error")
    bench.steps[0].fails = ValueError("password hidden-in-an-error")
    with pytest.raises(LiftlockError) as caught:
        bench.executor.forward(bench.run, bench.steps)
    assert "hidden-in-an-error" not in caught.value.message
    assert b"hidden-in-an-error" not in bench.journal.path.read_bytes()


def test_failed_entry_says_why(bench: Bench) -> None:
    bench.steps[0].fails = StoreError("the disk is full")
    with pytest.raises(PutBack):
        bench.executor.forward(bench.run, bench.steps)
    failed = [entry for entry in bench.journal.entries() if entry.kind is Kind.FAILED]
    assert failed[0].payload["message"] == "the disk is full"
