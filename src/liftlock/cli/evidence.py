"""`liftlock evidence`: proofs, and the signed bundle of an upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say, status_of

if TYPE_CHECKING:
    from liftlock.model.evidence import CommandResult

_FILE = click.Path(dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group("evidence")
def command() -> None:
    """Collect what an upgrade proves into one signed directory, and check such a directory on any machine.

    A bundle holds the journal with its hash chain, the plan, fingerprints before and after, environment locks,
    verification, tests and checklist, and a summary as Markdown, HTML and JSON. Secrets are never in it.

    \b
    Examples:
      liftlock evidence record --tests "pytest -q tests"
      liftlock evidence create
      liftlock evidence verify liftlock-evidence/upgrade-20261121T101500000000-20261121T110000Z --key ops.pub
      liftlock evidence show liftlock-evidence/upgrade-20261121T101500000000-20261121T110000Z --format markdown
    """


@command.command("record")
@click.option("--tests", metavar="COMMAND", help="Run a test suite and count in its JUnit report.")
@click.option("--checklist", is_flag=True, help="Run the checks of [tracking] in liftlock.toml.")
@click.option("--answers", is_flag=True, help="Ask the server for its health, version and experiments.")
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds the test suite may take.")
@json_option
@pass_state
def record(state: State, tests: str | None, checklist: bool, answers: bool, timeout: float, as_json: bool) -> int:
    """Run proofs now and keep their results: before an upgrade as its baseline, after it as its proof.

    `{junit}` in the command stands for the report to write; without it `--junitxml=...` is added, as pytest takes it.
    """
    from liftlock.app.evidence import record as run
    from liftlock.errors import UsageError

    if tests is None and not checklist and not answers:
        raise UsageError("what is to be run?", hint='Give --checklist, --answers, or --tests "pytest -q tests".')
    with progress(quiet=as_json) as observer:
        done = run(
            state.workspace(), tests=tests, checklist=checklist, answers=answers, timeout=timeout, observer=observer
        )
    if as_json:
        emit(done)
    else:
        say(_results(done))
    return 0 if all(each.outcome.value == "pass" for each in done) else 1


@command.command("create")
@click.argument("run", required=False)
@click.option("--output", type=_DIRECTORY, help="The directory to make (default: below liftlock-evidence/).")
@click.option("--key", type=_FILE, help="The Ed25519 SSH key to sign with (default: one of this deployment).")
@click.option("--tests", metavar="COMMAND", help="First run this test suite, as `evidence record` does.")
@click.option("--checklist", is_flag=True, help="First run the checks of [tracking].")
@click.option("--answers", is_flag=True, help="First ask the server, as `evidence record` does.")
@click.option("--attach", multiple=True, type=_FILE, help="A further file, such as a scan's report; repeatable.")
@click.option("--offline", is_flag=True, help="Do not ask the package index for newer packages.")
@click.option("--registry", is_flag=True, help="Ask registries for the digests of images that files here name.")
@json_option
@pass_state
def create(
    state: State, run: str | None, output: Path | None, key: Path | None, tests: str | None, checklist: bool,
    answers: bool, attach: tuple[Path, ...], offline: bool, registry: bool, as_json: bool,
) -> int:  # fmt: skip
    """Make the bundle of one ended upgrade (default: the last). The deployment is only read."""
    from liftlock.app.evidence import Options, record
    from liftlock.app.evidence import create as make

    workspace = state.workspace()
    with progress(quiet=as_json) as observer:
        if tests is not None or checklist or answers:
            record(workspace, tests=tests, checklist=checklist, answers=answers, observer=observer)
        options = Options(run=run, output=output, key=key, attach=attach, offline=offline, registry=registry)
        made = make(workspace, options, observer=observer)
    if as_json:
        emit({"path": str(made.path), "key": made.key, "summary": made.summary})
        return 0
    for each in made.summary.missing:
        say(f"not in it: {each.what}: {each.why}")
    say(f"evidence of {made.summary.run}: {made.path}")
    say(f"signed with the key {made.key}; give {made.path / 'key.pub'} to those who check, by another way")
    return 0


@command.command("verify")
@click.argument("directory", type=_DIRECTORY)
@click.option("--key", type=_FILE, help="The public key it must be signed with.")
@json_option
def verify(directory: Path, key: Path | None, as_json: bool) -> int:
    """Check every file, the signature and the journal's chain, with nothing but the bundle and a public key.

    Status 1 when anything was changed, removed or added, or (without --key) because nobody said whose key it is.
    """
    from liftlock.app.evidence import verify as check
    from liftlock.report import text

    found = check(directory, key)
    if as_json:
        emit({"findings": found})
    else:
        say(_plain(text.findings(found)))
    return status_of(found)


@command.command("show")
@click.argument("directory", type=_DIRECTORY)
@click.option("--format", "form", type=click.Choice(("markdown", "html", "json")), default="markdown")
def show(directory: Path, form: str) -> int:
    """Print a bundle's summary. It is read, not checked: `verify` does that."""
    from liftlock.evidence import bundle, document

    _, summary = bundle.read(directory)
    if form == "json":
        emit(summary)
    else:
        say(_plain((document.html if form == "html" else document.markdown)(summary).rstrip("\n")))
    return 0


def _plain(text: str) -> str:
    """Text of a bundle that somebody else made, without what would steer the reader's terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


def _results(results: tuple[CommandResult, ...]) -> str:
    from liftlock.report.text import seconds, table

    rows = []
    for each in results:
        counts = ", ".join(f"{number} {name}" for name, number in each.counts.items())
        rows.append((each.name, each.outcome.value, seconds(each.seconds), counts or each.message))
    return table(("proof", "outcome", "took", "result"), rows)
