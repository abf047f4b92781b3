"""The command `liftlock`: commands are loaded when they are called, so that `--help` and `status` start fast."""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from typing import Any

import click

from liftlock import __version__
from liftlock.cli.common import State, fail
from liftlock.errors import LiftlockError

# Name -> module below liftlock.cli and the line `--help` shows, so that the modules need not be loaded for it.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Describe the deployment in liftlock.toml."),
    "status": ("status", "Show the deployment, the upgrade in progress and the last backup."),
    "check": ("check", "Check health and hazards now, before or after an upgrade."),
    "plan": ("plan", "Show what an upgrade would mean; change nothing."),
    "rehearse": ("rehearse", "Do the whole upgrade on a copy, timed."),
    "upgrade": ("upgrade", "Upgrade, verified, with a way back."),
    "pause": ("pause", "Let a running online upgrade rest."),
    "cut-over": ("cut_over", "Tell a waiting online upgrade to switch now."),
    "resume": ("resume", "Go on with a run that was cut off."),
    "abort": ("abort", "Put an unfinished run back as it was."),
    "rollback": ("rollback", "Go back to the release before the last upgrade."),
    "finalize": ("finalize", "End the rollback window of the last upgrade."),
    "watch": ("watch", "Compare latency, errors and registrations with those before the upgrade."),
    "backup": ("backup", "Make, list, verify, restore and prune backup sets."),
    "export": ("export", "Write experiments, runs and models in an open format."),
    "pin": ("pin", "Fan a release out over every file of a repository that names one."),
    "scan": ("scan", "Find every use of MLflow that breaks between two releases."),
    "releases": ("releases", "List MLflow releases and build their environments."),
    "evidence": ("evidence", "Collect, sign and check the audit bundle of an upgrade."),
    "environments": ("environments", "Let a release in only after earlier environments and people agreed."),
    "clients": ("clients", "Show which clients call this server, and which break."),
    "notify": ("notify", "Tell the owners of a deployment."),
    "advisories": ("advisories", "Show known flaws: fixed, left and gained by an upgrade."),
    "server": ("server", "Start, stop, restart, scale and read the server."),
    "gate": ("gate", "Run the gate in front of the server; see its state and clients."),
    "demo": ("demo", "Upgrade a real old MLflow before your eyes."),
}


# Commands that end soon and hold much until then: looking for garbage would take a quarter of their time.
_BRIEF = frozenset({"scan"})


class Lazy(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of work rather than of the alphabet."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command's module."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"liftlock.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for `--help`, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done or nothing found; 1 findings or failed checks; 2 usage or configuration; "
    "3 refused, nothing was changed; 4 failed and put back as it was; 5 needs a person.",
)
@click.option("--config", "config", type=click.Path(dir_okay=False), help="The liftlock.toml to use.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="liftlock")
@click.pass_context
def cli(context: click.Context, config: str | None, debug: bool) -> None:
    """Upgrade a self-hosted MLflow from one release to another, with a way back.

    \b
    Examples:
      liftlock init --process 4242
      liftlock check --before 3.17.2
      liftlock backup create
      liftlock rehearse --to 3.17.2
      liftlock upgrade --to 3.17.2
      liftlock rollback
    """
    context.obj = State(config=config, debug=debug)


def process() -> None:
    """The program as a process of its own."""
    if _BRIEF & set(sys.argv[1:]):
        gc.disable()
        atexit.register(gc.freeze)  # nor does the end of the process look through what it leaves
    main()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the status of the contract."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    try:
        status: Any = cli.main(args=words, prog_name="liftlock", standalone_mode=False)
    except click.exceptions.Abort:
        status = 3
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except LiftlockError as error:
        if debug:
            raise
        status = fail(error, as_json="--json" in words)
    except BrokenPipeError:
        sys.stderr.close()
        status = 0
    except OSError as error:
        if debug:
            raise
        place = f"{error.filename}: " if error.filename else ""
        status = fail(LiftlockError(f"{place}{error.strerror or error}"), as_json="--json" in words)
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was left half-way", err=True)
        status = 3
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    process()
