"""`liftlock scan`: what breaks between two releases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liftlock.cli.common import confirm, emit, progress, say, yes_option

if TYPE_CHECKING:
    from liftlock.app.scan import Scanned

_FIELDS = (
    "code", "verdict", "confidence", "path", "line", "column", "end_line", "end_column", "symbol", "surface",
    "changed_in", "replacement", "fixable", "message", "origin",
)  # fmt: skip


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--from", "source", default="", help="The release in use; default: the pin found in the project.")
@click.option("--to", "target", default="", help="The release to reach; default: the newest known.")
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    help="How to print the findings.",
    type=click.Choice(["text", "json", "sarif", "markdown", "html"]),
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON (a list).")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write them here instead.")
@click.option("--select", multiple=True, metavar="CODE", help="Only these codes, or families such as LL3.")
@click.option("--ignore", multiple=True, metavar="CODE", help="Not these codes or families.")
@click.option(
    "--fail-on",
    default="",
    help="Exit with 1 on: breaking (default), behaviour, deprecated, any, never.",
)
@click.option("--baseline", default="", help="Leave out findings listed in this file.")
@click.option("--write-baseline", type=click.Path(dir_okay=False, path_type=Path), help="Write all findings as known.")
@click.option("--fix", is_flag=True, help="Change what can be changed without changing the meaning.")
@click.option("--unsafe", is_flag=True, help="With --fix or --diff: also changes that need a look.")
@click.option("--diff", "diff_only", is_flag=True, help="Show what --fix would change, and stop.")
@yes_option
def command(
    paths: tuple[Path, ...], source: str, target: str, form: str, as_json: bool, output: Path | None,
    select: tuple[str, ...], ignore: tuple[str, ...], fail_on: str, baseline: str, write_baseline: Path | None,
    fix: bool, unsafe: bool, diff_only: bool, yes: bool,
) -> int:  # fmt: skip
    """Find every use of MLflow below PATHS (default: here) that breaks on the way to another release.

    Python, notebooks, shell, Makefiles, Dockerfiles, YAML, requirements, saved models and documents. What Git ignores
    is left out. A line with `# liftlock: ignore[LL101]` is left alone. The exit status is 1 when something breaks.

    \b
    Examples:
      liftlock scan
      liftlock scan src docs --from 2.9.2 --to 3.17.2
      liftlock scan --format sarif --output scan.sarif
      liftlock scan --diff
      liftlock scan --fix --yes
    """
    from liftlock.app import scan as app

    form = "json" if as_json else form
    options = app.Options(source, target, _codes(select), _codes(ignore), fail_on, baseline)
    with progress(quiet=form != "text") as observer:
        scanned = app.scan(paths or (Path(),), options, observer)
    if scanned.warning:
        click.echo(f"warning: {scanned.warning}", err=True)
    if scanned.source_said and form == "text":
        click.echo(f"from MLflow {scanned.result.source}: {scanned.source_said}", err=True)
    if write_baseline is not None:
        number = app.write_baseline(scanned, write_baseline)
        say(f"{number} findings are known in {write_baseline}")
        return 0
    if fix or diff_only:
        return _fix(scanned, unsafe=unsafe, diff_only=diff_only, yes=yes)
    text = _rendered(scanned, form)
    if output is not None:
        output.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    elif form == "json":
        emit(_as_json(scanned))
    else:
        say(text.rstrip("\n"))
    return 1 if scanned.failing else 0


def _codes(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(code.strip() for text in given for code in text.split(",") if code.strip())


def _as_json(scanned: Scanned) -> list[dict[str, Any]]:
    """The findings, and a `partial` one for each file that was not seen whole."""
    from liftlock.app.scan import with_partial
    from liftlock.model.codec import to_builtins

    found = [to_builtins(each) for each in with_partial(scanned).findings]
    return [{name: each[name] for name in _FIELDS} for each in found]


def _rendered(scanned: Scanned, form: str) -> str:
    import json

    if form == "json":
        return json.dumps(_as_json(scanned), indent=2)
    if form == "sarif":
        from liftlock.app.scan import with_partial
        from liftlock.report import sarif

        return json.dumps(sarif.render(with_partial(scanned)), indent=2)
    if form == "markdown":
        from liftlock.app import scan as app
        from liftlock.report import markdown_scan

        return markdown_scan.render(scanned.result, *app.unused(scanned))
    if form == "html":
        from liftlock.report import html_scan

        return html_scan.render(scanned.result)
    from liftlock.report import scan_text

    return "\n".join(scan_text.render(scanned.result, _Files(scanned).line))


class _Files:
    """Lines of scanned files, for the code frames."""

    def __init__(self, scanned: Scanned) -> None:
        from liftlock.scan.walk import base_of

        self._base = base_of(scanned.roots)
        self._kept: tuple[str, list[str]] = ("", [])

    def line(self, path: str, number: int) -> str:
        from liftlock.scan.run import decode

        if self._kept[0] != path:
            self._kept = path, decode((self._base / path).read_bytes())[0].split("\n")
        lines = self._kept[1]
        return lines[number - 1].rstrip("\r") if number <= len(lines) else ""


def _fix(scanned: Scanned, *, unsafe: bool, diff_only: bool, yes: bool) -> int:
    from liftlock.app import scan as app
    from liftlock.scan.fix import write

    found = app.fixes(scanned, unsafe=unsafe)
    for _, each in found:
        if each.reason:
            click.echo(f"left alone: {each.path}: {each.reason}", err=True)
        else:
            click.echo(each.diff, nl=False)
    changed = [(root, each) for root, each in found if not each.reason and each.after != each.before]
    number = sum(each.fixed for _, each in changed)
    if diff_only or not changed:
        say(f"{number} of {len(scanned.result.findings)} findings can be fixed in {len(changed)} files")
        return 1 if scanned.failing else 0
    confirm(f"Change {len(changed)} files?", yes=yes)
    for root, each in changed:
        write(root, [each])
    left = len([each for each in scanned.failing if not each.edits])
    say(f"fixed {number} findings in {len(changed)} files; {left} that break are left")
    return 1 if left else 0
