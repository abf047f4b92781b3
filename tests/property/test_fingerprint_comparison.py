"""Every difference between two databases is found, whatever was changed, and only those a revision explains pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liftlock.model.deployment import Role
from liftlock.model.finding import Outcome, blocking
from liftlock.model.fingerprint import Fingerprint, TableFingerprint
from liftlock.verify.data import comparable_columns, compare

names = st.sampled_from(["runs", "metrics", "params", "tags", "experiments"])
sums = st.integers(0, (1 << 64) - 1).map(str)
tables = st.builds(
    TableFingerprint,
    table=names,
    rows=st.integers(0, 1000),
    sum1=sums,
    sum2=sums,
    columns=st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=1).map(lambda each: tuple(sorted(each))),
)
fingerprints = st.lists(tables, unique_by=lambda each: each.table, min_size=1).map(
    lambda found: Fingerprint(algorithm="x", tables=tuple(found))
)


@given(fingerprints, fingerprints, st.sets(names), st.sets(names))
def test_a_table_passes_only_when_equal_or_explained(
    before: Fingerprint, after: Fingerprint, changing: set[str], growing: set[str]
) -> None:
    found = compare(before, after, dict.fromkeys(changing, "why"), role=Role.TRACKING, growing=growing & changing)
    assert len(found) == len(before.tables)
    for old, finding in zip(before.tables, found, strict=True):
        new = after.table(old.table)
        explained = (
            new is not None
            and new.columns == old.columns
            and old.table in changing
            and (new.rows <= old.rows or old.table in growing)
        )
        assert (finding.outcome is Outcome.PASS) == (new == old or explained), (old, new)
        assert old.table in finding.title


@given(fingerprints)
def test_equal_passes_and_more_tables_are_no_difference(before: Fingerprint) -> None:
    more = TableFingerprint(table="new", rows=1, sum1="1", sum2="1", columns=("a",))
    after = Fingerprint(algorithm="x", tables=(*before.tables, more))
    assert not blocking(compare(before, after, {}, role=Role.TRACKING))


@given(fingerprints, st.data())
def test_every_single_change_is_found(before: Fingerprint, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(before.tables) - 1))
    old = before.tables[number]
    field = data.draw(st.sampled_from(["rows", "sum1", "sum2", "columns", "gone"]))
    values = {"rows": old.rows + 1, "sum1": str(int(old.sum1) ^ 1), "sum2": str(int(old.sum2) ^ 1), "columns": ("z",)}
    changed = (
        ()
        if field == "gone"
        else (
            TableFingerprint(**{name: getattr(old, name) for name in old.__struct_fields__} | {field: values[field]}),
        )
    )
    after = Fingerprint(algorithm="x", tables=(*before.tables[:number], *changed, *before.tables[number + 1 :]))
    found = blocking(compare(before, after, {}, role=Role.AUTH))
    assert [each.title for each in found] == [f"auth: table {old.table}"]


def test_columns_a_revision_drops_are_not_compared() -> None:
    columns = ("dimension_attributes", "name", "span_id")
    spans = TableFingerprint(table="spans", rows=1, sum1="1", sum2="1", columns=columns)
    version = TableFingerprint(table="alembic_version", rows=1, sum1="1", sum2="1", columns=("version_num",))
    half = TableFingerprint(table="_alembic_tmp_runs", rows=1, sum1="1", sum2="1", columns=("a",))
    before = Fingerprint(algorithm="x", tables=(spans, version, half))
    assert comparable_columns(before, Role.TRACKING, ["75868b020152"]) == {"spans": ("name", "span_id")}
    assert comparable_columns(before, Role.TRACKING, []) == {"spans": columns}
