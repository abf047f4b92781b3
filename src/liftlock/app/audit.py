"""`advisories --packages`: the locked set of a release's environment, asked about with pip-audit.

pip-audit runs in an environment of its own (uv fetches it) and asks the public database of advisories. Where that
cannot be reached every package is unknown, with the reason; nothing is taken for harmless because nobody answered.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from liftlock.app.workspace import Workspace
from liftlock.effects import side_effect
from liftlock.errors import CommandFailed, LiftlockError, UsageError
from liftlock.knowledge.packages import Audit, Change, changes, parse, pins, unasked, with_osv
from liftlock.model.codec import Value
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.uv import explain, uv

_TIMEOUT = 300.0


class Audited(Value, frozen=True):
    """The sets of both ends of a hop (`after` None: there is no hop), and what it changes."""

    before: Audit
    after: Audit | None
    changes: tuple[Change, ...]


def audit(
    environments: Environments, source: Release | None, target: Release | None, workspace: Workspace | None,
    *, osv: Sequence[Path] = (), osv_url: str | None = None, observer: Observer = silent,
) -> Audited:  # fmt: skip
    """Ask about the packages beside MLflow; `osv` are files to look into as well, `osv_url` is an OSV service to ask
    instead of the package index's own database. Without `source` the deployment's own environment is meant.

    Raises UsageError for a malformed file, and when a release's environment has not been built yet, so that there is
    no locked set.
    """
    if source is not None:
        old = _cached(environments, source)
    elif workspace is not None:
        old = environments.observe(workspace.config.python)
    else:
        raise UsageError("which environment is meant is not known", hint="Give a release with --from.")
    before = _ask(old, osv, osv_url, observer)
    if target is None or target == old.release:
        return Audited(before=before, after=None, changes=changes(before, before))
    after = _ask(_cached(environments, target), osv, osv_url, observer)
    return Audited(before=before, after=after, changes=changes(before, after))


def _cached(environments: Environments, release: Release) -> Environment:
    found = [each for each in environments.cached() if each.release == release]
    if not found:
        raise UsageError(
            f"there is no environment of MLflow {release} to look into",
            hint=f"Build it with `liftlock releases build {release}` (`liftlock plan` does it too).",
        )
    return found[-1]


def _ask(environment: Environment, osv: Sequence[Path], osv_url: str | None, observer: Observer) -> Audit:
    wanted = pins(environment.lock)
    return with_osv(_answer(environment, wanted, osv_url, observer), wanted, osv)


def _answer(
    environment: Environment, wanted: Mapping[str, str], osv_url: str | None, observer: Observer
) -> Audit:  # fmt: skip
    observer(Progress(work=f"ask about {len(wanted)} packages of MLflow {environment.release}"))
    with tempfile.TemporaryDirectory(prefix="liftlock-audit-") as scratch:
        listed, answer = Path(scratch) / "pins.txt", Path(scratch) / "answer.json"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()))
        words: list[str | Path] = ["tool", "run", "pip-audit", "--requirement", listed, "--no-deps", "--disable-pip"]
        words += ["--format", "json", "--output", answer, "--progress-spinner", "off", "--timeout", "15"]
        if osv_url:
            words += ["--vulnerability-service", "osv", "--osv-url", osv_url]
        try:
            with side_effect("run pip-audit"):
                uv(words, timeout=_TIMEOUT, what="pip-audit")
        except CommandFailed as error:
            if not answer.exists():  # it ends with 1 when it found something
                return unasked(wanted, f"pip-audit failed: {explain(error.output)[-200:]}")
        except LiftlockError as error:
            return unasked(wanted, f"pip-audit could not be run: {error.message}")
        try:
            return parse(answer.read_bytes(), wanted)
        except (OSError, UsageError) as error:
            return unasked(wanted, f"pip-audit gave no answer: {error}")
