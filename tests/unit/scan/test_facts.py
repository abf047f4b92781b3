"""Every curated row, as somebody would write it: found on the way to the release it names, silent before."""

from __future__ import annotations

import pytest

from liftlock.errors import UsageError
from liftlock.knowledge import breaks
from liftlock.knowledge.breaks import Break, Effect, Kind
from liftlock.knowledge.catalogue import load
from liftlock.scan import facts
from liftlock.scan.model import Verdict
from tests.support.scan import findings
from tests.support.scan_rows import written

_ROWS = [
    pytest.param(row, name, id=f"{row.path}-{name}-{row.removed}")
    for row in breaks.load()
    for name in row.parameters or ("",)
]
_VERDICTS = {
    Effect.ERROR: {Verdict.BREAKS, Verdict.BEHAVIOUR}, Effect.SILENT: {Verdict.BEHAVIOUR, Verdict.BREAKS},
    Effect.DEPRECATED: {Verdict.DEPRECATED},
}  # fmt: skip


@pytest.mark.parametrize(("row", "name"), _ROWS)
def test_a_row_is_found(row: Break, name: str) -> None:
    releases = load().releases
    first = load().number(row.release)
    file, text = written(row, name)
    target = releases[-1].version if row.effect is Effect.DEPRECATED else row.removed
    found = findings(text, file, releases[first - 1].version, target)
    assert any(each.verdict in _VERDICTS[row.effect] and each.replacement == row.replacement for each in found), found
    before = findings(text, file, releases[first - 2].version, releases[first - 1].version)
    assert not any(each.verdict in (Verdict.BREAKS, Verdict.BEHAVIOUR) for each in before), before


@pytest.mark.parametrize("entry", breaks.never(), ids=lambda entry: entry.path)
def test_what_never_was(entry: breaks.Never) -> None:
    assert entry.path not in load().coded("cli").events
    found = findings(f"mlflow {entry.path}\n", "a.sh")
    assert [(each.code, each.replacement) for each in found] == [("LL302", entry.replacement)]


def test_only_the_first_parameter_of_a_row_is_renamed() -> None:
    first, second = (facts.of_parameter("mlflow.keras.log_model", name) for name in ("keras_model", "keras_module"))
    assert first is not None and second is not None
    assert (first.rename, second.rename) == ("model", "")
    assert first.replacement == second.replacement


def test_what_lies_below_a_module_that_is_gone_went_with_it() -> None:
    note = facts.of_name("mlflow.recipes.steps.train")
    assert note is not None and note.replacement == "none"
    assert facts.of_name("mlflow.sklearn.log_model") is None


def test_an_unknown_field_is_refused() -> None:
    row = "[[break]]\nkind='function'\npath='mlflow.x'\nremoved='2.0.1'\neffect='error'\nreplacement='y'\nsource='s'\n"
    with pytest.raises(UsageError, match="renamed"):
        breaks.parse("format=1\n" + row + "renamed='z'\n", "breaks.toml")


def test_kinds_are_all_written() -> None:
    assert {row.kind for row in breaks.load()} == set(Kind)
