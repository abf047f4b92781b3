"""The auth database of 3.12 has the tables of roles already; the next revisions add rows to them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from liftlock.model.deployment import Role
from liftlock.model.finding import Outcome
from liftlock.model.uri import StoreUri
from liftlock.releases.tools import ReleaseTools
from liftlock.stores.opening import open_store
from liftlock.verify.data import comparable_columns, verify_migrated
from tests.support import releases, upgrades

ROWS = """
INSERT INTO users (id, username, password_hash, is_admin) VALUES (1, 'alice', 'x', 0), (2, 'bob', 'x', 0);
INSERT INTO experiment_permissions (experiment_id, user_id, permission) VALUES ('1', 1, 'EDIT'), ('1', 2, 'READ');
INSERT INTO experiment_permissions (experiment_id, user_id, permission) VALUES ('2', 2, 'NO_PERMISSIONS');
INSERT INTO roles (id, name, workspace) VALUES (1, 'reviewers', 'default');
INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)
  VALUES (1, 'experiment', '1', 'READ');
INSERT INTO user_role_assignments (user_id, role_id) VALUES (1, 1);
"""


@pytest.mark.release
@pytest.mark.xdist_group("upgrade-postgresql")
def test_roles_may_grow_and_nothing_else_may_differ(tmp_path: Path) -> None:
    uri = StoreUri.parse(f"sqlite:///{tmp_path / 'auth.db'}")
    upgrades.migrated_by_hand(uri, Role.AUTH, "3.12.0")
    with closing(sqlite3.connect(uri.path)) as connection:
        connection.executescript(ROWS)
    store = open_store(uri, Role.AUTH)
    tools = ReleaseTools(releases.environment(releases.newest()))
    chain = tools.heads().auth
    found = store.revision()
    assert found is not None
    pending = chain[chain.index(found) + 1 :]
    full = store.fingerprint()
    before = store.fingerprint(columns=comparable_columns(full, Role.AUTH, pending))
    tools.migrate(uri, Role.AUTH, timeout=120)

    verified = verify_migrated(store, before, pending, head=chain[-1])

    assert [each.title for each in verified.findings if each.outcome is not Outcome.PASS] == []
    assert verified.after is not None
    grants, old = verified.after.table("role_permissions"), full.table("role_permissions")
    assert grants is not None
    assert old is not None
    assert grants.rows == old.rows + 2, "one for each permission but the explicit denial"

    with closing(sqlite3.connect(uri.path)) as connection, connection:
        connection.execute("DELETE FROM experiment_permissions WHERE user_id = 2")
    lost = verify_migrated(store, before, pending, head=chain[-1])
    failed = [each.title for each in lost.findings if each.outcome is not Outcome.PASS]
    assert failed == ["auth: table experiment_permissions"]
