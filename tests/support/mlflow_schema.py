"""A small database in the shape of MLflow 2.9.2's, with the values that break careless copies.

The same tables and rows for every engine, so that one conformance suite can speak of them. Besides MLflow's
own tables there are a generated column, a trigger, binary data, a table without a primary key and a key that
counts up by itself.
"""

from __future__ import annotations

from typing import Any

from liftlock.model.deployment import Role
from liftlock.model.uri import Engine

REVISION = "acf3f17fdcc7"
AUTH_REVISION = "8606fa83a998"

_TRACKING = """
CREATE TABLE alembic_version (
  version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
CREATE TABLE experiments (
  experiment_id {serial}, name VARCHAR(256) NOT NULL, artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32),
  creation_time BIGINT, last_update_time BIGINT,
  CONSTRAINT experiments_name_unique UNIQUE (name),
  CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')));
CREATE TABLE runs (
  run_uuid VARCHAR(32) NOT NULL, name VARCHAR(250), user_id VARCHAR(256), status VARCHAR(9), start_time BIGINT,
  end_time BIGINT, lifecycle_stage VARCHAR(20), experiment_id INTEGER,
  CONSTRAINT run_pk PRIMARY KEY (run_uuid), FOREIGN KEY (experiment_id) REFERENCES experiments (experiment_id));
CREATE TABLE metrics (
  key VARCHAR(250) NOT NULL, value {double} NOT NULL, timestamp BIGINT NOT NULL, run_uuid VARCHAR(32) NOT NULL,
  step BIGINT DEFAULT 0 NOT NULL, is_nan BOOLEAN DEFAULT {false} NOT NULL,
  CONSTRAINT metric_pk PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan),
  FOREIGN KEY (run_uuid) REFERENCES runs (run_uuid));
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
CREATE TABLE params (
  key VARCHAR(250) NOT NULL, value VARCHAR(8000) NOT NULL, run_uuid VARCHAR(32) NOT NULL,
  CONSTRAINT param_pk PRIMARY KEY (key, run_uuid), FOREIGN KEY (run_uuid) REFERENCES runs (run_uuid));
CREATE TABLE tags (
  key VARCHAR(250) NOT NULL, value VARCHAR(5000), run_uuid VARCHAR(32) NOT NULL,
  CONSTRAINT tag_pk PRIMARY KEY (key, run_uuid), FOREIGN KEY (run_uuid) REFERENCES runs (run_uuid));
CREATE TABLE registered_models (
  name VARCHAR(256) NOT NULL, creation_time BIGINT, description VARCHAR(5000),
  CONSTRAINT registered_model_pk PRIMARY KEY (name));
CREATE TABLE model_versions (
  name VARCHAR(256) NOT NULL, version INTEGER NOT NULL, source VARCHAR(500), current_stage VARCHAR(20),
  CONSTRAINT model_version_pk PRIMARY KEY (name, version),
  FOREIGN KEY (name) REFERENCES registered_models (name) ON UPDATE CASCADE);
CREATE TABLE spans (
  trace_id VARCHAR(50) NOT NULL, span_id VARCHAR(50) NOT NULL, start_ns BIGINT NOT NULL, end_ns BIGINT,
  duration_ns BIGINT GENERATED ALWAYS AS (end_ns - start_ns) STORED, content TEXT NOT NULL,
  CONSTRAINT spans_pk PRIMARY KEY (trace_id, span_id));
CREATE TABLE blobs (name VARCHAR(50) NOT NULL PRIMARY KEY, data {blob});
CREATE TABLE keyless (word VARCHAR(50), amount INTEGER);
CREATE TABLE renames (old_name VARCHAR(256), new_name VARCHAR(256))
"""

_AUTH = """
CREATE TABLE alembic_version_auth (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE TABLE users (
  id {serial}, username VARCHAR(255) UNIQUE, password_hash VARCHAR(255), is_admin BOOLEAN);
CREATE TABLE experiment_permissions (
  id {serial}, experiment_id VARCHAR(255) NOT NULL, user_id INTEGER NOT NULL REFERENCES users (id),
  permission VARCHAR(255),
  CONSTRAINT unique_experiment_user UNIQUE (experiment_id, user_id))
"""

_TRIGGER = {
    Engine.SQLITE: (
        "CREATE TRIGGER remember_rename AFTER UPDATE OF name ON registered_models WHEN OLD.name <> NEW.name "
        "BEGIN INSERT INTO renames VALUES (OLD.name, NEW.name); END",
    ),
    Engine.POSTGRESQL: (
        "CREATE FUNCTION remember_rename() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO renames VALUES (OLD.name, NEW.name); RETURN NEW; END $$",
        "CREATE TRIGGER remember_rename AFTER UPDATE OF name ON registered_models FOR EACH ROW "
        "WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION remember_rename()",
    ),
}

_WORDS = {
    Engine.SQLITE: {
        "serial": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
        "double": "FLOAT",
        "blob": "BLOB",
        "false": "0",
    },
    Engine.POSTGRESQL: {
        "serial": "SERIAL PRIMARY KEY",
        "double": "DOUBLE PRECISION",
        "blob": "BYTEA",
        "false": "false",
    },
}


def ddl(engine: Engine, role: Role) -> list[str]:
    """The statements that make the schema, one each, without semicolons at the end."""
    text = _AUTH if role is Role.AUTH else _TRACKING
    statements = [part.strip().format(**_WORDS[engine]) for part in text.split(";\n")]
    if role is not Role.AUTH:
        statements.extend(_TRIGGER[engine])
    return statements


def data(role: Role) -> dict[str, list[dict[str, Any]]]:
    """Table -> rows, in an order that keeps foreign keys. Keys that count up (`experiment_id`, `id`) are left out."""
    if role is Role.AUTH:
        return {
            "alembic_version_auth": [{"version_num": AUTH_REVISION}],
            "users": [
                {"username": "admin", "password_hash": "scrypt:32768:8:1$x$ab", "is_admin": True},
                {"username": "zoë", "password_hash": None, "is_admin": False},
            ],
            "experiment_permissions": [{"experiment_id": "1", "user_id": 2, "permission": "READ"}],
        }
    uuids = [f"{number:032x}" for number in range(6)]
    return {
        "alembic_version": [{"version_num": REVISION}],
        "experiments": [
            {
                "name": name,
                "artifact_location": f"mlflow-artifacts:/{n}",
                "lifecycle_stage": stage,
                "creation_time": 1700000000000 + n,
                "last_update_time": None,
            }
            for n, (name, stage) in enumerate(
                [("Default", "active"), ("Zürich 🚲\tπ", "active"), ('it\'s "quoted"\nline', "deleted")]
            )
        ],
        "runs": [
            {
                "run_uuid": uuid,
                "name": f"run {n}",
                "user_id": "" if n % 2 else None,
                "status": "FINISHED",
                "start_time": 1700000000000,
                "end_time": None if n == 3 else 2**62,
                "lifecycle_stage": "active",
                "experiment_id": 1 + n % 3,
            }
            for n, uuid in enumerate(uuids)
        ],
        "metrics": [
            {
                "key": key,
                "value": value,
                "timestamp": 1700000000000 + step,
                "run_uuid": uuid,
                "step": step,
                "is_nan": key == "nan",
            }
            for uuid in uuids
            for step in (-1, 0, 1, 2**53 + 1)
            for key, value in [
                ("loss", 0.1 + 0.2),
                ("nan", 0.0),
                ("inf", 1.7976931348623157e308),
                ("-inf", -1.7976931348623157e308),
                ("tiny", 5e-324),
                ("one", 1.0),
                ("third", 1 / 3),
            ]
        ],
        "params": [
            {"key": f"p{n}", "value": value, "run_uuid": uuid}
            for uuid in uuids
            for n, value in enumerate(["", "None", "NULL", "ä" * 8000, "a=b\nc=d", "\\N", "1", "1.0"])
        ],
        "tags": [
            {"key": "mlflow.note", "value": value, "run_uuid": uuid}
            for uuid, value in zip(uuids, [None, "", "NULL", "'", "🙂", "x"], strict=True)
        ],
        "registered_models": [
            {"name": "model", "creation_time": 1, "description": None},
            {"name": "modèle", "creation_time": 2, "description": ""},
        ],
        "model_versions": [
            {"name": "model", "version": 1, "source": "s3://b/k", "current_stage": "Production"},
            {"name": "model", "version": 2, "source": None, "current_stage": None},
        ],
        "spans": [
            {
                "trace_id": f"tr-{n}",
                "span_id": "root",
                "start_ns": 10**18,
                "end_ns": None if n == 2 else 10**18 + n,
                "content": f'{{"name": "ü", "n": {n}}}',
            }
            for n in range(4)
        ],
        "blobs": [
            {"name": "bytes", "data": bytes(range(256))},
            {"name": "empty", "data": b""},
            {"name": "none", "data": None},
        ],
        "keyless": [{"word": "twice", "amount": 1}, {"word": "twice", "amount": 1}, {"word": None, "amount": None}],
        "renames": [],
    }
