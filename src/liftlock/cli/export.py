"""`liftlock export`: experiments and registry metadata in an open format."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say


@click.command("export")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--copy-artifacts", is_flag=True, help="Copy artifact files too instead of naming their URIs.")
@click.option("--include-password-hashes", is_flag=True, help="Write the users' password hashes too.")
@json_option
@pass_state
def command(state: State, directory: str, copy_artifacts: bool, include_password_hashes: bool, as_json: bool) -> int:
    """Write everything people logged to DIRECTORY, straight from the databases, one JSON Lines file per kind.

    Experiments, runs with their whole metric history, datasets, traces, models, users and permissions; the format is
    documented and read without MLflow.

    \b
    Examples:
      liftlock export ./mlflow-export
      liftlock export ./mlflow-export --copy-artifacts
    """
    from liftlock.app.export import export_all
    from liftlock.report import text

    with progress(quiet=as_json) as observer:
        done = export_all(
            state.workspace(),
            directory,
            copy_artifacts=copy_artifacts,
            include_password_hashes=include_password_hashes,
            observer=observer,
        )
    if as_json:
        emit(done)
        return 0
    say(text.table(("file", "lines", "size"), [(f.name, f.lines, text.size(f.bytes)) for f in done.files]))
    return 0
