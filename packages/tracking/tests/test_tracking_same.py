"""The same calls with the plain client and with the plugin give the same answers; what differs is listed with its reason.

MLflow's own client tests are not in its source distributions, so that they cannot be run here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from served import Served
from tracking_support import run, status, variables

CALLS = Path(__file__).with_name("client_calls.py")

# What differs, and why.
OTHERWISE = {
    # Only the server knows what is not there: the call returns. A deletion that finds nothing is as good as done;
    # the other is kept with the server's reason (`status`).
    "a tag that was never there taken away": None,
    "log to a run nobody made": None,
    # The plain client fails where it makes JSON of it; here it is said what is wrong, as for any other bad value.
    "a point that is text": ["MlflowException", "INVALID_PARAMETER_VALUE"],
}


def test_every_call_answers_as_without_the_plugin(served: Served, tmp_path: Path) -> None:
    plain, ours = (
        _answers(served, tmp_path, "plain", served.url),
        _answers(served, tmp_path, "ours", f"liftlock+{served.url}"),
    )
    assert list(plain) == list(ours) and len(plain) > 80
    different = {title: (plain[title], ours[title]) for title in plain if plain[title] != ours[title]}
    assert {title: different.pop(title)[1] for title in OTHERWISE if title in different} == OTHERWISE
    assert different == {}
    refused = status(served.python, tmp_path, f"liftlock+{served.url}")["refused_calls"]
    assert [("Run" in call["reason"], call["call"].get("t")) for call in refused] == [(True, [["p", "1"]])]


def _answers(served: Served, tmp: Path, name: str, uri: str) -> dict[str, Any]:
    out = tmp / f"{name}.json"
    # A reading call answers from what this process knows when sending takes too long: on a busy machine it may.
    env = variables(tmp, uri, LIFTLOCK_TRACKING_READ_BOUND="60")
    done = run(served.python, [str(CALLS), str(out), name], env, tmp)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(out.read_text()))
