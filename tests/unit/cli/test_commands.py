"""Every command: help with examples, JSON that parses, the contract's exit statuses, pages equal to the program."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from liftlock.assess.reference import checks_markdown
from liftlock.cli.main import COMMANDS, cli, main
from liftlock.cli.reference import commands, commands_markdown
from liftlock.errors import BackupError, LiftlockError, NeedsPerson, PutBack, Refused, UsageError
from tests.support.deployment import Deployment
from tests.support.stub_release import NEW, OLD

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference"
ALL = [(" ".join(words), command) for words, command in commands()]


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name or "liftlock" for name, _ in ALL])
def test_help_says_what_and_shows_an_example(name: str, command: click.Command) -> None:
    assert command.help
    assert "\n" in command.help or command.short_help or command.help.endswith("."), name
    if not isinstance(command, click.Group) or not name:
        top = name.split()[0] if name else ""
        parent = cli.get_command(click.Context(cli), top) if top else cli
        texts = (command.help or "") + (parent.help or "" if parent else "")
        assert "Examples:" in texts, f"liftlock {name} shows no example"
        assert f"liftlock {name.split()[0] if name else ''}" in texts


def test_the_list_of_commands_is_the_modules() -> None:
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert line.endswith(".")


@pytest.mark.parametrize(
    ("page", "text"),
    [("commands.md", commands_markdown()), ("checks.md", checks_markdown())],
    ids=["commands", "checks"],
)
def test_reference_pages_are_up_to_date(page: str, text: str) -> None:
    assert (DOCS / page).read_text("utf-8") == text, "run `make docs`"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    "words", [("nonsense",), ("upgrade", "--nonsense"), ("backup", "nonsense"), ("upgrade", "--strategy", "x"), ()]
)
def test_wrong_words_are_usage_errors(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("status",), ("check",), ("plan",), ("upgrade",), ("rollback",), ("backup", "list"), ("resume",)):
        assert run(*words) == 2, words
        said = capsys.readouterr().err
        assert "liftlock init" in said
        assert len(said.splitlines()) == 2
    assert run("--config", "nowhere.toml", "status") == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("u"), 2),
        (Refused("r", hint="do"), 3),
        (BackupError("b"), 3),
        (PutBack("p"), 4),
        (NeedsPerson("n"), 5),
        (PermissionError(13, "Permission denied", "/x/y"), 3),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_errors_end_in_their_status(
    error: Exception, status: int, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fails)
    assert run(*(["--json"] if as_json else ["status"])) == status
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    if as_json:
        data = json.loads(out)
        assert data["exit_status"] == status
        assert data["error"]
    if isinstance(error, LiftlockError) and error.hint:
        assert "hint: do" in err


def test_interruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", fails)
    assert run("status") == 3
    assert "interrupted" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    """What makes `--help` quick is what it does not import; the seconds themselves are measured by `make bench`."""
    code = (
        "import sys\nfrom liftlock.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'psycopg', 'psutil', 'urllib3', 'rich', 'tomlkit', 'ruamel', 'packaging'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("cli") / "d")
    try:
        yield made.make()
    finally:
        made.end()


def test_json_of_every_report_parses(deployment: Deployment) -> None:
    for words in (
        ("status", "--json"),
        ("check", "--json"),
        ("plan", "--to", NEW, "--json"),
        ("backup", "create", "--json"),
        ("backup", "list", "--json"),
        ("backup", "verify", "latest", "--json"),
        ("upgrade", "--to", NEW, "--yes", "--json"),
        ("rollback", "--dry-run", "--json"),
        ("rollback", "--yes", "--json"),
        ("resume", "--json"),
        ("upgrade", "--to", OLD, "--json"),
    ):
        done = deployment.liftlock(*words)
        json.loads(done.stdout)
        refused = words[0] == "resume" or OLD in words
        assert done.returncode == (3 if refused else 0), (words, done.stdout, done.stderr)


def test_progress_in_a_pipe_is_plain_lines(deployment: Deployment) -> None:
    done = deployment.liftlock("backup", "create")
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stderr


def test_status_is_quick(deployment: Deployment) -> None:
    deployment.ok("status")
    began = time.monotonic()
    deployment.ok("status")
    assert time.monotonic() - began < 5, "0.2 s on a quiet machine; this only finds a hang"
