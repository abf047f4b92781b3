"""`liftlock plan`: what an upgrade would mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liftlock.cli.common import State, emit, pass_state, progress, say

if TYPE_CHECKING:
    from liftlock.model.plan import Plan
    from liftlock.report.plan_content import PlanReport

STRATEGIES = click.Choice(["online", "standard", "in-place", "rolling"])
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("plan")
@click.option("--to", help="The target release (default: the newest that installs).")
@click.option("--strategy", type=STRATEGIES, help="Ask for one strategy instead of the best.")
@click.option("--scan", type=_FILE, help="What `liftlock scan --json` found: which changes your code really uses.")
@click.option(
    "--clients", "logs", multiple=True, type=_FILE, help="An access log (default: the gate's, if there is one)."
)
@click.option(
    "--format", "form", default="text", show_default=True, type=click.Choice(["text", "json", "markdown", "html"]),
    help="How to print the plan.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--output", type=_FILE, help="Write it here instead.")
@pass_state
def command(
    state: State, to: str | None, strategy: str | None, scan: Path | None, logs: tuple[Path, ...], form: str,
    as_json: bool, output: Path | None,
) -> int:  # fmt: skip
    """Show what an upgrade means here: steps with times and their origin, migrations, risks, what breaks, checks.

    Changes nothing of yours; the target's environment is built. A scan's result and an access log answer which breaking
    changes are really used and which clients fail.

    \b
    Examples:
      liftlock plan
      liftlock plan --to 3.17.2 --json
      liftlock plan --to 3.17.2 --scan scan.json --clients /var/log/nginx/mlflow.log
      liftlock plan --to 3.17.2 --format html --output plan.html
    """
    from liftlock.app.plan_report import gather
    from liftlock.app.planning import make_plan
    from liftlock.errors import ReleaseError
    from liftlock.model.plan import Strategy

    form = "json" if as_json else form
    workspace = state.workspace()
    with progress(quiet=form == "json") as observer:
        made = make_plan(workspace, to, Strategy(strategy) if strategy else None, observer=observer)
        if workspace.config.notify is not None:
            from liftlock.app.notify import plan_ready

            plan_ready(workspace, made, observer)
    report, why = None, ""
    try:
        report = gather(workspace, made, scan=scan, logs=logs)
    except ReleaseError as error:
        # A release the catalogue does not know can be upgraded to; only what is known of it is missing.
        why = f"{error.message}, so nothing more is known of this upgrade. {error.hint}".strip()
    if form == "json" and output is None:
        emit(_as_json(made, report, why))
        return 0
    text = _rendered(made, report, why, form)
    if output is None:
        say(text.rstrip("\n"))
        return 0
    from liftlock.model.secret import redact

    output.write_text(redact(text), encoding="utf-8")
    say(f"{made.id} in {output}")
    return 0


def _as_json(made: Plan, report: PlanReport | None, why: str) -> dict[str, Any]:
    """The plan's own fields, and the report beside them (null, with the reason, where there is none)."""
    from liftlock.model.codec import to_builtins

    found = to_builtins(report) if report is not None else None
    if found is not None:
        del found["plan"]
    return {**to_builtins(made), "report": found, "report_missing": why or None}


def _rendered(made: Plan, report: PlanReport | None, why: str, form: str) -> str:
    if form == "json":
        import json

        from liftlock.model.secret import redact_values

        return json.dumps(redact_values(_as_json(made, report, why)), indent=2, sort_keys=True) + "\n"
    if report is None:
        from liftlock.errors import Refused
        from liftlock.report import text

        if form != "text":
            raise Refused(why, hint="`liftlock plan` without --format shows the steps.")
        return f"{text.plan(made)}\n{why}"
    from liftlock.report import document_html, document_markdown, document_text
    from liftlock.report.plan_document import document

    whole = document(report)
    if form == "text":
        return document_text.render(whole)
    return document_html.render(whole) if form == "html" else document_markdown.render(whole)
