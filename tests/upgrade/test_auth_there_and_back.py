"""The auth database is migrated whole again at each change, and its roles become permissions on the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from liftlock.model.deployment import Role
from liftlock.online.inverse import Reverse
from liftlock.online.parking import Parking
from tests.support.commuting import Writer, reference, sqlite_store, unequal, upgrading
from tests.support.releases import newest, tools


@pytest.mark.release
@pytest.mark.soak  # `make demo` takes users and permissions there and back by default
def test_users_and_permissions_there_and_back(tmp_path: Path) -> None:
    target = newest()
    blue = sqlite_store(tmp_path / "auth.db", Role.AUTH)
    parking = Parking(tmp_path / "parking.db")
    with Writer("2.9.2") as old, Writer(target) as new, tools(target).warm() as worker:
        old.go(blue.uri, 1, 12, auth=True)
        with upgrading(blue, worker, target) as upgrade:
            assert upgrade.plan.whole
            before = old.go(blue.uri, 2, 12, auth=True)
            assert upgrade.epoch() > 0
            assert upgrade.verify() == []
            with reference(blue, worker) as plain:
                assert [str(each) for each in unequal(upgrade.plan, plain, upgrade.green)] == []
            assert new.go(upgrade.green.store.uri, 3, 0, auth=True) == before

            upgrade.green.capture()
            after = new.go(upgrade.green.store.uri, 4, 25, {"deny_experiment": 0}, auth=True)
            assert after != before
            rules = Reverse(upgrade.plan, upgrade.blue.shapes(), upgrade.green.shapes(), parking)
            with upgrade.green.changes() as view:
                delta = rules.read(view)
            replacement = rules.expected(delta)
            with upgrade.blue.applying() as rows:
                rules.apply(replacement, rows)
                assert rules.differences(replacement, rows) == []
        # The old release, asked anew, says what the new one said.
        with Writer("2.9.2") as again:
            assert again.go(blue.uri, 5, 0, auth=True) == after
        assert parking.entries() == []
