"""`evidence`: run proofs, collect what a run left behind, and seal it as one signed bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from liftlock import __version__, clock, files
from liftlock.app.evidence_facts import QUESTIONS, Facts, ask, client_of, conceal, redacted_text
from liftlock.app.evidence_images import images
from liftlock.app.lives.interface import CONFIG, PLAN
from liftlock.app.upgrade import write_hold
from liftlock.app.workspace import Workspace
from liftlock.engine.lock import operator
from liftlock.errors import LiftlockError, Refused, UsageError
from liftlock.evidence import account, bundle, chain, document, proofs, signing
from liftlock.model.codec import from_builtins, from_json, to_builtins
from liftlock.model.evidence import CommandResult, Decision, ImageLine, Missing, Predicate, Summary
from liftlock.model.finding import Outcome
from liftlock.model.journal import Entry, RunKind, RunOutcome, RunState
from liftlock.model.plan import Plan
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.secret import redact
from liftlock.report import text

_ENDED = (RunOutcome.DONE, RunOutcome.PUT_BACK, RunOutcome.ROLLED_BACK, RunOutcome.FINALIZED)


@dataclass(frozen=True)
class Made:
    """A bundle that was made: where it is, what it says, and the fingerprint of the key it is signed with."""

    path: Path
    summary: Summary
    key: str


@dataclass(frozen=True)
class Options:
    """`run` None: the last upgrade. `output` None: a new directory beside liftlock.toml. `key` None: the deployment's
    own, made at first use. `attach`: further files. `offline`: ask no package index for newer packages. `registry`:
    ask the registries of the images that the deployment's files name for their digests.
    """

    run: str | None = None
    output: Path | None = None
    key: Path | None = None
    attach: tuple[Path, ...] = ()
    offline: bool = False
    registry: bool = False


def record(
    workspace: Workspace, *, tests: str | None = None, checklist: bool = False, answers: bool = False,
    timeout: float = 3600.0, observer: Observer = silent,
) -> tuple[CommandResult, ...]:  # fmt: skip
    """Run a test suite, the checklist of [tracking], ask the server, in liftlock.toml's directory; keep the results.

    Raises UsageError when a checklist was asked for and there is none.
    """
    conceal(workspace)
    config = workspace.config
    kept = proofs.Proofs(workspace.state / "proofs")
    by = operator()
    results = []
    if tests is not None:
        observer(Progress(work=f"run {tests}"))
        results.append(kept.keep(*proofs.run_tests(tests, timeout=timeout, cwd=config.directory, by=by)))
    if checklist:
        checks = config.tracking.checks if config.tracking else ()
        if not checks:
            raise UsageError(
                f"{config.path} has no checks", hint="Add [[tracking.checks]] with a name and a command to it."
            )
        for each in checks:
            observer(Progress(work=f"check: {each.name}"))
            result = proofs.run_check(
                each.name, each.command, status=each.expect_status, output=each.expect_output, timeout=each.timeout,
                cwd=config.directory, by=by,
            )  # fmt: skip
            results.append(kept.keep(result))
    if answers:
        observer(Progress(work="ask the server"))
        results += [kept.keep(each) for each in _answers(workspace, by)]
    return tuple(results)


def _answers(workspace: Workspace, by: str) -> Iterator[CommandResult]:
    """The server's health, version and experiments as proofs: each answer's beginning is its output."""
    for method, path, body in QUESTIONS:
        at, began = clock.now(), clock.monotonic()
        try:
            answer = ask(client_of(workspace), method, path, body)
        except LiftlockError as error:
            answer, message = {"status": None, "body": ""}, error.message
        else:
            message = "" if answer["status"] == 200 else f"it answered {answer['status']}"
        yield CommandResult(
            kind="answer", name=f"{method} {path}", command=(method, path), expected="status 200", at=at, by=by,
            seconds=round(clock.monotonic() - began, 3), status=answer["status"], output=redact(answer["body"]),
            outcome=Outcome.FAIL if message else Outcome.PASS, message=redact(message) or "as expected",
        )  # fmt: skip


def create(workspace: Workspace, options: Options, *, observer: Observer = silent) -> Made:
    """Collect the evidence of one ended upgrade and sign it. Raises Refused, JournalError when the journal was edited.

    What cannot be had is listed in the summary with the reason; nothing is left out in silence.
    """
    workspace.journal.verify()
    state = _run(workspace, options.run)
    conceal(workspace)
    key = options.key or signing.ensure_key(
        workspace.state / "evidence-key", owner=f"liftlock evidence of {workspace.config.name}"
    )
    signing.public_key(key)  # a key that cannot be used is said before minutes of collecting
    entries = workspace.journal.entries()
    contents = bundle.Contents()
    for path in options.attach:
        contents.raw(f"attachments/{path.name}", _bytes(path))
    summary = _collect(workspace, state, entries, contents, options, observer)
    contents.json(bundle.SUMMARY_FILE, summary)
    contents.text("summary.md", document.markdown(summary))
    contents.text("summary.html", document.html(summary))
    journal = chain.dump(entries)
    contents.text(bundle.JOURNAL_FILE, journal)
    found = chain.read(journal.encode())
    predicate = Predicate(
        run=state.id, deployment=workspace.config.name, created_at=clock.now(), created_by=operator(),
        liftlock=__version__, journal_entries=found.entries, journal_head=found.head, key="",
    )  # fmt: skip
    target = options.output or _directory(workspace) / f"{state.id}-{clock.stamp()}"
    files.private_directory(target.parent)
    made = bundle.seal(target.absolute(), contents, predicate, key)
    return Made(made, summary, signing.fingerprint(signing.public_key(key)))


def verify(directory: Path, key: Path | None) -> tuple[Any, ...]:
    """Check a bundle with nothing but itself and a public key; needs no deployment. See `bundle.verify`."""
    return bundle.verify(directory, signing.public_key(key) if key is not None else None)


def _collect(
    workspace: Workspace, state: RunState, entries: Sequence[Entry], contents: bundle.Contents, options: Options,
    observer: Observer,
) -> Summary:  # fmt: skip
    missing: list[Missing] = []
    mine = [entry for entry in entries if entry.run == state.id]
    facts = Facts(workspace, state)

    def put(name: str, work: str, get: Callable[[], Any]) -> Any:
        """Add what `get` returns (a text as it is, anything else as JSON), or say why it is missing."""
        observer(Progress(work=work))
        try:
            value = get()
        except LiftlockError as error:
            missing.append(Missing(what=name, why=error.message))
            return None
        contents.text(name, value) if isinstance(value, str) else contents.json(name, value)
        return value

    plan = from_json(workspace.run_text(state, PLAN), Plan)
    contents.json("plan.json", plan)
    before, after = workspace.run_text(state, CONFIG), workspace.config.path.read_text("utf-8")
    contents.text("configuration/before.toml", redacted_text(before, workspace.config.path))
    contents.text("configuration/now.toml", redacted_text(after, workspace.config.path))
    contents.json("timeline.json", account.steps(mine))
    contents.json("verification.json", account.verification(mine))
    old = put("fingerprints/before.json", "fingerprints before", facts.fingerprints_before) or {}
    new = put("fingerprints/after.json", "fingerprints after", facts.fingerprints_after) or {}
    locks = {
        side: put(f"environments/{side}.lock", f"environment lock {side}", partial(facts.lock, side))
        for side in ("before", "after")
    }
    if options.offline:
        missing.append(Missing(what="environments/outdated.json", why="the package index was not to be asked"))
    else:
        put("environments/outdated.json", "newer packages on the index", facts.outdated)
    put("responses/before.json", "answers before", facts.sample_before)
    put("responses/now.json", "ask the server", facts.answers)
    put("checks.json", "checks of now", facts.checks)
    advisories = put("advisories.json", "advisories", partial(facts.advisories, plan))
    for set_id in facts.backups():
        put(f"backups/{set_id}.json", f"backup {set_id}", partial(facts.backup, set_id))
    put("watch/baseline.json", "what the watch compares with", facts.baseline)
    watched = account.watched(mine)
    if watched is None:
        missing.append(Missing(what="watch", why="nobody watched it: liftlock watch"))
    else:
        contents.json("watch/result.json", watched)
    named = _images(workspace, put, options, observer, missing)
    results = _proofs(workspace, state, contents)
    if not results:
        missing.append(Missing(what="tests and checklist", why="none was recorded around this run"))
    phase, tracking = workspace.config.environments, workspace.config.tracking
    checks = tracking.checks if tracking else ()
    return Summary(
        run=state.id, kind=state.kind.value, outcome=state.outcome.value, message=state.message,
        deployment=workspace.config.name,
        environment=phase.name if phase else "", source=plan.jump.source.version, target=plan.jump.target.version,
        strategy=plan.strategy.value, operator=state.operator, started_at=state.started_at,
        ended_at=account.ended_at(workspace.journal.entries(state.id)),
        write_hold_seconds=write_hold(workspace, state), window=text.estimate(plan.window),
        steps=account.steps(mine), issues=account.issues(mine), verification=account.verification(mine),
        databases=account.databases(old, new),
        packages=account.packages(locks["before"] or "", locks["after"] or "") if all(locks.values()) else (),
        advisories=_changes(advisories), proofs=results, checks=tuple(each.name for each in checks),
        decisions=_decisions(state), backups=facts.backups(),
        way_back=_way_back(workspace, state), missing=tuple(missing), watch=watched,
        images=named,
    )  # fmt: skip


def _images(
    workspace: Workspace, put: Callable[[str, str, Callable[[], Any]], Any], options: Options, observer: Observer,
    missing: list[Missing],
) -> tuple[ImageLine, ...]:  # fmt: skip
    """The images that files name, with what is missing of their digests."""
    missing.append(Missing(what="image of the server", why="it runs as a process: its environment locks stand for it"))
    if not options.registry:
        missing.append(Missing(what="image digests", why="the registries were not asked: --registry"))
        return ()
    work = "look for images in the deployment's files"
    named = put("images.json", work, lambda: images(workspace.config.directory, observer)) or ()
    missing += [Missing(what=f"digest of {each.image}", why=each.why) for each in named if not each.digest]
    return tuple(named)


def _run(workspace: Workspace, run: str | None) -> RunState:
    """The upgrade that is meant. Raises Refused when there is none that has ended."""
    if run is not None:
        state = workspace.journal.run(run)
        if state.kind is not RunKind.UPGRADE:
            raise Refused(f"{run} is a {state.kind}, not an upgrade", hint="Its entries are in an upgrade's evidence.")
    else:
        upgrades = [each for each in workspace.journal.runs() if each.kind is RunKind.UPGRADE]
        if not upgrades:
            raise Refused("there was no upgrade yet", hint="See `liftlock status`.")
        state = upgrades[-1]
    if state.outcome not in _ENDED:
        raise Refused(f"{state.id} has not ended", hint="Go on with `liftlock resume`, or `liftlock abort`.")
    return state


def _proofs(workspace: Workspace, state: RunState, contents: bundle.Contents) -> tuple[CommandResult, ...]:
    kept = proofs.Proofs(workspace.config.state_directory / "proofs")
    found = []
    for each in proofs.around(kept.all(), state.started_at, account.ended_at(workspace.journal.entries(state.id))):
        report = kept.report(each)
        if report:
            name = f"tests/{each.when}.xml"
            contents.text(name, report.decode("utf-8", "replace"))
            each = msgspec.structs.replace(each, report=name)
        found.append(each)
    contents.json("proofs.json", found)
    return tuple(found)


def _decisions(state: RunState) -> tuple[Decision, ...]:
    phase = state.payload.get("phase") or {}
    return tuple(from_builtins(each, Decision) for each in phase.get("decisions", ()))


def _changes(advisories: Any) -> dict[str, tuple[str, ...]]:
    if advisories is None:
        return {}
    rows = to_builtins(advisories)["rows"]
    return {
        change: tuple(row["advisory"]["id"] for row in rows if row["change"] == change)
        for change in ("fixed", "left", "gained")
    }


def _way_back(workspace: Workspace, state: RunState) -> str:
    if state.outcome is RunOutcome.PUT_BACK:
        return "not needed: everything was put back as it was"
    if state.outcome is RunOutcome.FINALIZED:
        return "closed with `liftlock finalize`; the backups stay"
    if state.outcome is RunOutcome.ROLLED_BACK:
        taken = next((each for each in workspace.journal.runs() if each.payload.get("upgrade") == state.id), None)
        return f"taken: {taken.id} by {taken.operator}" if taken else "taken"
    return "open: liftlock rollback"


def _directory(workspace: Workspace) -> Path:
    return workspace.config.directory / "liftlock-evidence"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
