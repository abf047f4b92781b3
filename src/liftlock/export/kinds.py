"""Which tables of MLflow become which file of an export. Read by `write`, described in docs/reference/export-format.md.

Tables and columns are those of every MLflow release from 2.0 to 3.17 (read from the databases the releases make); a
table or column that a release does not have is simply not there, and one it adds is exported under its own name.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Form(enum.StrEnum):
    """How the rows of a child table lie in the line of their parent."""

    MAP = "map"  # {key: value}
    RECORDS = "records"  # {key: {the other columns}}
    LIST = "list"  # [{the other columns}]


@dataclass(frozen=True)
class Child:
    """Rows that belong to a parent: `link` are the columns that equal the parent's keys, in the same order.

    `key` and `value` are the columns of a MAP, `key` alone that of RECORDS; `order` sorts a LIST.
    """

    name: str
    table: str
    link: tuple[str, ...]
    form: Form
    key: str = "key"
    value: str = "value"
    order: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    nan: str | None = None


@dataclass(frozen=True)
class Kind:
    """One file: a line for each row of `table`, all its columns (some renamed), and its children inside.

    `key` orders the lines; workspace comes into it by itself where the table has that column. `spill` are children
    that are too many to lie inside: they get a file of their own, with the parent's key in each line. `batch` is the
    number of parents read at a time: what is held in memory.
    """

    name: str
    table: str
    key: tuple[str, ...]
    children: tuple[Child, ...] = ()
    spill: tuple[Child, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    batch: int = 1000


_RUN = {"run_uuid": "run_id"}

TRACKING = (
    Kind(
        "experiments",
        "experiments",
        ("experiment_id",),
        (Child("tags", "experiment_tags", ("experiment_id",), Form.MAP),),
    ),
    Kind(
        "runs",
        "runs",
        ("run_uuid",),
        (
            Child("params", "params", ("run_uuid",), Form.MAP),
            Child("tags", "tags", ("run_uuid",), Form.MAP),
            Child("latest_metrics", "latest_metrics", ("run_uuid",), Form.RECORDS, nan="is_nan"),
        ),
        (
            Child(
                "metrics", "metrics", ("run_uuid",), Form.LIST, order=("key", "step", "timestamp"), rename=_RUN,
                nan="is_nan",
            ),
        ),
        rename={**_RUN, "name": "run_name"},
        batch=200,
    ),
    Kind("datasets", "datasets", ("dataset_uuid",)),
    Kind("inputs", "inputs", ("input_uuid",), (Child("tags", "input_tags", ("input_uuid",), Form.MAP, key="name"),)),
    Kind(
        "traces",
        "trace_info",
        ("request_id",),
        (
            Child("tags", "trace_tags", ("request_id",), Form.MAP),
            Child("metadata", "trace_request_metadata", ("request_id",), Form.MAP),
            Child("metrics", "trace_metrics", ("request_id",), Form.MAP),
            Child("spans", "spans", ("trace_id",), Form.LIST, order=("start_time_unix_nano", "span_id")),
            Child("assessments", "assessments", ("trace_id",), Form.LIST, order=("created_timestamp", "assessment_id")),
        ),
        rename={"request_id": "trace_id"},
        batch=100,
    ),
    Kind(
        "logged_models",
        "logged_models",
        ("model_id",),
        (
            Child("params", "logged_model_params", ("model_id",), Form.MAP, key="param_key", value="param_value"),
            Child("tags", "logged_model_tags", ("model_id",), Form.MAP, key="tag_key", value="tag_value"),
            Child(
                "metrics", "logged_model_metrics", ("model_id",), Form.LIST,
                order=("metric_name", "metric_step", "metric_timestamp_ms"),
            ),
        ),
        batch=200,
    ),
)  # fmt: skip

REGISTRY = (
    Kind(
        "registered_models",
        "registered_models",
        ("name",),
        (Child("tags", "registered_model_tags", ("name",), Form.MAP),),
    ),
    Kind(
        "model_versions",
        "model_versions",
        ("name", "version"),
        (Child("tags", "model_version_tags", ("name", "version"), Form.MAP),),
    ),
    Kind("aliases", "registered_model_aliases", ("name", "alias")),
)

USERS = Kind("users", "users", ("id",))
PASSWORD_HASH = "password_hash"  # noqa: S105 - the name of a column
