"""Options of an online upgrade: when to cut over, and how much of the time copying may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from liftlock.online.control import When


def _moment(_: click.Context, __: click.Parameter, value: str) -> When:
    from liftlock.online.control import When

    return When.parse(value)


cut_over_option = click.option(
    "--cut-over",
    "when",
    default="auto",
    show_default=True,
    metavar="auto|manual|when-quiet|TIME",
    callback=_moment,
    help="Online only: when to switch once both sides are equal. `liftlock cut-over` ends any wait.",
)
load_option = click.option(
    "--load",
    type=click.FloatRange(0.05, 1.0),
    default=1.0,
    show_default=True,
    help="Online only: the share of the time that following and comparing may take.",
)
