"""The reference page of releases, made from the catalogue: `python -m liftlock.knowledge.catalogue_page PATH`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from liftlock.knowledge import behaviours, breaks, compatibility, constraints, costs, features, stops
from liftlock.knowledge.catalogue import Catalogue, load
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.uri import Engine

_NOTICED = 0.05  # seconds at the largest size: less than that is noise


def page(catalogue: Catalogue) -> str:
    """The page as Markdown."""
    number = len(catalogue.releases)
    first, last = catalogue.releases[0], catalogue.newest
    parts = [
        "# MLflow releases",
        f"Made from liftlock's catalogue of {catalogue.contents.made} by `make docs`; do not edit. It describes "
        f"{number} releases, {first} to {last}, each read from its wheel (or sdist, where there is none) without "
        "running it. "
        "`liftlock releases list`, `show`, `diff` and `path` answer from the same data; `liftlock releases refresh` "
        "reads newer releases from your own package index.",
        "## Releases",
        "`built` is the day the distribution was made. A release with the heads of the one above it needs no database "
        "migration from there. Surfaces are counted: REST endpoints (both prefixes), commands with their options, "
        "declared or named environment variables, flavors.",
        _table(
            ("release", "built", "Python", "tracking head", "auth head", "REST", "CLI", "env", "flavors"),
            [_row(catalogue, release) for release in catalogue.releases],
        ),
        "## What a release needs today that its metadata does not say",
        "Bounds that keep old releases working with the packages of today; liftlock keeps them in every environment it "
        "builds.",
        _table(
            ("releases", "needs", "because"),
            [(f"`{each.releases}`", f"`{each.requirement}`", each.reason) for each in constraints.bounds()],
        ),
        "## Database migrations: cost, locks, and what they fail on",
        f"Every revision was run on both engines over tables of several sizes ({costs.load().machine}), by `make "
        "revision-costs`. Figures are CPU seconds per million rows at the largest size, of tables where there is any "
        "cost; a figure for a trace includes what hangs on it. Locks are the strongest that PostgreSQL held to the end "
        "of the transaction, which `mlflow db upgrade` ends only after the last revision. On SQLite a migration has "
        "the file to itself. What a revision fails on was planted and seen; left out are a table it creates that is "
        "there already, and on SQLite a table `_alembic_tmp_...` left over.",
        _table(
            (
                "chain",
                "revision",
                "first in",
                "migration",
                "SQLite",
                "PostgreSQL",
                "locked for everybody",
                "for writers",
                "fails on",
            ),
            _migrations(catalogue),
        ),
        "## Which clients work with which servers",
        f"Measured on {compatibility.load().made}: the same {len(compatibility.load().operations)} operations of a "
        "real client against a real server (SQLite, artifacts through it), by `make compatibility`. Upgrade the "
        "server first, then the clients. `liftlock releases compat --detail` has the client's own words for each "
        "operation that fails and judges releases in between from their neighbours; `liftlock releases measure` runs "
        "pairs of your own.",
        _compatibility(),
        "## Stops on the way",
        _stops(),
        "## What an operator notices",
        _table(
            ("since", "side", "what", "what to do", "source"),
            [(each.since, each.who.value, each.title, each.action, each.source) for each in behaviours.load()],
        ),
        "## What breaks, and what to use instead",
        "Every row is held against the catalogue by a test. `liftlock releases diff A B --breaking` shows the computed "
        "list for two releases, this one adds the replacements.",
        _table(
            ("removed in", "kind", "name", "effect", "instead", "source"),
            [
                (each.removed, each.kind.value, _name(each), each.effect.value, each.replacement, each.source)
                for each in sorted(breaks.load(), key=lambda each: (each.release, each.kind, each.path))
            ],
        ),
        "## What is new and worth taking",
        "`liftlock plan` shows those that matter to what a deployment uses.",
        _table(
            ("since", "what", "first step", "for whom"),
            [
                (each.since, each.title, each.how, "; ".join(features.uses()[use] for use in each.uses))
                for each in features.load()
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _row(catalogue: Catalogue, release: Release) -> tuple[str, ...]:
    heads = [catalogue.head(release, role) or "-" for role in (Role.TRACKING, Role.AUTH)]
    counts = [str(len(catalogue.section(name, release))) for name in ("rest", "cli", "environment", "flavors")]
    return (release.version, catalogue.built(release), catalogue.python(release) or "-", *heads, *counts)


def _migrations(catalogue: Catalogue) -> list[tuple[str, ...]]:
    rows = []
    for each in costs.load().revisions:
        chain = catalogue.coded(each.chain)
        fact = catalogue.fact(each.chain, each.id, catalogue.newest)
        if fact is None:
            continue
        first = catalogue.releases[chain.holders(each.id)[0]]
        locks = each.engines[Engine.POSTGRESQL].locks if Engine.POSTGRESQL in each.engines else {}
        shut = each.engines[Engine.POSTGRESQL].locked(dict.fromkeys(locks, 1)) if locks else {}
        title = Path(fact.source).stem.removeprefix(f"{each.id}_").replace("_", " ")
        rows.append(
            (each.chain, f"`{each.id}`", str(first), title,
             *(_cost(each.engines.get(engine)) for engine in (Engine.SQLITE, Engine.POSTGRESQL)),
             ", ".join(shut.get("everybody", ())) or "-", ", ".join(shut.get("writers", ())) or "-", _fails(each))
        )  # fmt: skip
    return rows


def _cost(measured: costs.Measured | None) -> str:
    if measured is None:
        return "not measured"
    said = [f"{load.of} {load.per_million}" for load in measured.loads if load.seconds[-1] >= _NOTICED]
    return ", ".join(said) or "-"


def _fails(cost: costs.Cost) -> str:
    """What was planted and made it fail, by engine where only one of them fails."""
    found: dict[str, list[str]] = {}
    for engine, measured in cost.engines.items():
        for each in measured.aborts:
            if not each.planted.startswith(("a table ", "_alembic_tmp_")):
                found.setdefault(each.planted, []).append(engine.value)
    return (
        "; ".join(
            planted if len(engines) == len(cost.engines) else f"{planted} ({', '.join(engines)})"
            for planted, engines in found.items()
        )
        or "-"
    )


def _compatibility() -> str:
    """One row for each client, one column for each server; the operations that fail are named below."""
    table = compatibility.load()
    rows, notes = [], []
    for client in table.clients:
        cells = []
        for server in table.servers:
            pair = table.round(client, server)
            broken = table.broken(pair) if pair is not None else ()
            cells.append("not measured" if pair is None else f"{len(broken)} fail" if broken else "works")
            if broken:
                notes.append((client.version, server.version, ", ".join(broken)))
        rows.append((f"client {client}", *cells))
    notes += [(each.client.version, each.server.version, each.reason) for each in table.unmeasured]
    grid = _table(("", *(f"server {server}" for server in table.servers)), rows)
    return grid + "\n\n" + _table(("client", "server", "what fails"), notes)


def _stops() -> str:
    if not stops.load():
        return f"None: {stops.NONE}. An entry would need a reason and a source."
    return _table(
        ("from", "to", "stop at", "reason", "source"),
        [(each.before, each.after, each.at, each.reason, each.source) for each in stops.load()],
    )


def _name(entry: breaks.Break) -> str:
    parameters = f"({', '.join(f'{name}=' for name in entry.parameters)})" if entry.parameters else ""
    return f"`{entry.path}{parameters}`"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(load()), encoding="utf-8")
