"""The reference pages made from the program itself: `python -m liftlock.cli.reference [COMMANDS.md [CHECKS.md]]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from liftlock.assess.reference import checks_markdown
from liftlock.cli.main import cli

_WIDTH = 100
_EXITS = (
    ("0", "done, or nothing found"),
    ("1", "findings or failed checks"),
    ("2", "usage or configuration"),
    ("3", "refused; nothing was changed"),
    ("4", "failed and put back as it was"),
    ("5", "needs a person; the message says what to do"),
)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words after `liftlock`, groups before what they hold."""
    yield from _below((), cli)


def commands_markdown() -> str:
    """The text of docs/reference/commands.md."""
    lines = ["# Commands", "", "Made by `make docs` from the program itself: what `--help` says.", ""]
    lines += ["| exit status | meaning |", "| --- | --- |", *(f"| {code} | {meaning} |" for code, meaning in _EXITS)]
    for words, command in commands():
        name = " ".join(("liftlock", *words))
        context = _context(words)
        lines += ["", f"## `{name}`", "", "```", command.get_help(context).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _below(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = _context(words)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _below((*words, name), found)


def _context(words: tuple[str, ...]) -> click.Context:
    command: click.Command = cli
    context = _one(cli, "liftlock", None)
    for word in words:
        assert isinstance(command, click.Group)
        inner = command.get_command(context, word)
        assert inner is not None
        command = inner
        context = _one(command, word, context)
    return context


def _one(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    # A fixed width: the page must not depend on the terminal it is made in.
    return click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )


def write(path: Path | None, text: str) -> None:
    """Write a page, or print it."""
    if path is None:
        click.echo(text, nl=False)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    places = [Path(word) for word in sys.argv[1:]]
    write(places[0] if places else None, commands_markdown())
    if places:
        write(places[1] if len(places) > 1 else places[0].with_name("checks.md"), checks_markdown())
