from __future__ import annotations

import pytest

from liftlock.gate.model import Address, Share
from liftlock.steps.shift_reads import worse


def share(answered: int, failed: int, others: int, others_failed: int) -> Share:
    return Share(
        address=Address(host="h", port=1), percent=10, answered=answered, failed=failed, others=others,
        others_failed=others_failed,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "is_worse"),
    [
        (share(0, 0, 0, 0), False),
        (share(500, 0, 100, 0), False),
        (share(0, 3, 100, 0), True),  # none of its connections came about
        (share(10, 1, 90, 0), True),
        (share(100, 5, 100, 5), False),  # both are as bad: not the new one's doing
        (share(1000, 5, 1000, 0), False),  # half a percent more is within what is tolerated
        (share(100, 40, 100, 5), True),
    ],
)
def test_the_new_server_must_not_fail_more_often(given: Share, is_worse: bool) -> None:
    said = worse(given)
    assert bool(said) is is_worse
    if is_worse:
        assert f"{given.failed} of {given.answered}" in said
