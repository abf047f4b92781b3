"""The decision of a watch: its bounds hold by exact binomial sums, and it neither believes little nor blames a mix."""

from __future__ import annotations

import math
import statistics

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from liftlock.describe.sections import WatchSection
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.watch import Traffic
from liftlock.verify.intervals import quantile, share
from liftlock.verify.traffic import Compared, Tally, merged
from liftlock.verify.watch import Connections, Seen, judge

LIMITS = WatchSection()
API = "POST /api/2.0/mlflow/"
_ORDER = {"pass": 0, "unknown": 1, "warning": 2, "error": 3}


def at_most(count: int, of: int, p: float) -> float:
    """The probability of at most `count` hits, summed term by term."""
    if not 0 < p < 1:
        return 1.0 if p <= 0 or count >= of else 0.0

    def term(k: int) -> float:
        ways = math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)
        return math.exp(ways + k * math.log(p) + (of - k) * math.log1p(-p))

    return math.fsum(term(k) for k in range(count + 1))


def traffic(*lines: tuple[str, int, float], status: int = 200) -> Traffic:
    """Requests: endpoint, how many, seconds."""
    parts = []
    for endpoint, number, seconds in lines:
        tally = Tally()
        tally.add(API + endpoint, status, round(seconds * 1e6), 1000)
        part = tally.traffic()
        # as many of the same: counting them one by one would take the test's whole time
        parts.append(times(part, number))
    return merged(parts)


def times(one: Traffic, number: int) -> Traffic:
    """A request, so many times."""
    if not number:
        return Traffic()
    durations = {name: dict.fromkeys(buckets, number) for name, buckets in one.durations.items()}
    counts = {
        name: getattr(one, name) * number for name in ("requests", "failed", "refused", "registrations", "registered")
    }
    return Traffic(durations=durations, first=one.first, last=one.last, **counts)


def codes(found: tuple[Finding, ...]) -> dict[str, str]:
    """Each question's answer: a failure by its severity."""
    return {
        each.code: each.severity.value if each.outcome is Outcome.FAIL else each.outcome.value for each in found
    }  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 120).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_bounds_of_a_share_are_wrong_in_less_than_one_case_of_two_hundred(numbers: tuple[int, int]) -> None:
    count, of = numbers
    found = share(count, of)
    assert found.low <= found.point == count / of <= found.high
    if found.high < 1:
        assert at_most(count, of, found.high) <= 1.01 / 200
    if found.low > 0:
        assert 1 - at_most(count - 1, of, found.low) <= 1.01 / 200


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_the_ordered_value_and_its_bounds_hold(values: list[int], q: float) -> None:
    weights: dict[float, float] = {}
    for each in values:
        weights[float(each)] = weights.get(float(each), 0.0) + 1.0
    found = quantile(weights, len(values), q)
    assert found.point == sorted(values)[math.ceil(q * len(values) - 1e-9) - 1]
    assert found.low <= found.point <= found.high
    if q == 0.5:
        assert found.point == statistics.median_low(values)
    if found.low > 0:  # were the true quantile lower, so few below it would be a rarity
        below = sum(each < found.low for each in values)
        assert at_most(below, len(values), q) <= 1 / 200
    if found.high < math.inf:
        above = sum(each > found.high for each in values)
        assert at_most(above, len(values), 1 - q) <= 1 / 200


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.floats(0.001, 5), st.floats(0.001, 5))
def test_a_handful_of_requests_never_passes(before: int, now: int, old: float, new: float) -> None:
    found = codes(judge(traffic(("runs/search", before, old)), Seen(traffic(("runs/search", now, new))), LIMITS))
    assert "pass" not in (found["LLW002"], found["LLW003"], found["LLW004"])
    assert found["LLW005"] == found["LLW006"] == "unknown"


_MIXES = st.dictionaries(
    st.sampled_from(["runs/search", "runs/log-batch", "experiments/search", "runs/get"]),
    st.integers(120, 400), min_size=4, max_size=4,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(_MIXES, _MIXES, st.dictionaries(st.sampled_from(["runs/search", "runs/get"]), st.floats(0.01, 3), min_size=2))
def test_another_mix_of_the_same_requests_is_no_change(
    before: dict[str, int], now: dict[str, int], cost: dict[str, float]
) -> None:
    old = traffic(*((name, number, cost.get(name, 0.02)) for name, number in before.items()))
    new = traffic(*((name, number, cost.get(name, 0.02)) for name, number in now.items()))
    both = Compared(old, new)
    for q in (0.5, 0.95):
        assert quantile(both.before, both.before_size, q).point == quantile(both.now, both.now_size, q).point
    assert {codes(judge(old, Seen(new), LIMITS))[code] for code in ("LLW002", "LLW003")} <= {"pass", "unknown"}


@settings(max_examples=50, deadline=None)
@given(_MIXES, st.floats(0.02, 1), st.floats(1, 4), st.floats(1, 4))
def test_slower_is_never_judged_better(mix: dict[str, int], seconds: float, less: float, more: float) -> None:
    less, more = sorted((less, more))
    before = traffic(*((name, number, seconds) for name, number in mix.items()))
    one, two = (
        codes(judge(before, Seen(traffic(*((n, k, seconds * by) for n, k in mix.items()))), LIMITS))
        for by in (less, more)
    )
    for code in ("LLW002", "LLW003"):
        assert _ORDER[one[code]] <= _ORDER[two[code]]
        if more >= 1.6:
            assert two[code] == "error"
        if less <= 1.15:
            assert one[code] == "pass"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**8), st.integers(200, 599)), max_size=60), st.integers(0, 60))
def test_traffic_counted_in_parts_is_the_traffic(requests: list[tuple[int, int]], cut: int) -> None:
    def count(part: list[tuple[int, int]]) -> Traffic:
        tally = Tally()
        for us, status in part:
            tally.add(API + "model-versions/create", status, us, us)
        return tally.traffic()

    assert merged((count(requests[:cut]), count(requests[cut:]))) == count(requests)


def test_what_counts_as_failed_refused_and_registered() -> None:
    tally = Tally()
    for endpoint, status in (
        ("registered-models/create", 200), ("registered-models/create", 400), ("registered-models/create", 403),
        ("model-versions/create", 200), ("model-versions/create", 400), ("runs/get", 404), ("runs/get", 500),
        ("runs/get", 499),
    ):  # fmt: skip
        tally.add(API + endpoint, status, 1000, 5)
    found = tally.traffic()
    assert (found.requests, found.failed, found.refused) == (8, 2, 1)
    # a name that exists already is answered 400, and the registration goes on with a version of it
    assert (found.registrations, found.registered) == (4, 2)
    files = Tally()
    files.add("PUT /api/2.0/mlflow-artifacts/artifacts/{artifact_path}", 200, 9_000_000, 5)
    assert files.traffic().requests == 1 and not files.traffic().durations


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.floats(0, 0.4))
def test_registrations_below_their_limits(number: int, lost: float) -> None:
    failed = round(number * lost)
    ok, bad = traffic(("model-versions/create", number - failed, 0.1)), traffic(
        ("model-versions/create", failed, 0.1), status=500
    )  # fmt: skip
    (found,) = (each for each in judge(Traffic(), Seen(merged((ok, bad))), LIMITS) if each.code == "LLW007")
    rate = 1 - failed / number if number else 1.0
    if found.outcome is Outcome.PASS:
        assert rate >= 0.99 and number >= 100
    if found.outcome is Outcome.FAIL:
        assert rate < (0.95 if found.severity is Severity.ERROR else 0.99)
        # as many would have failed at the expected rate in one case of two hundred only
        assert 1 - at_most(failed - 1, number, 0.01) <= 1 / 200
    if number >= 500 and rate < 0.9:
        assert found.outcome is Outcome.FAIL and found.severity is Severity.ERROR
    assume(number)


def test_health_and_connections() -> None:
    calm = Connections(now=12, all=20, most=100)
    seen = {
        "none": None, "gone": "cannot be opened", "calm": calm, "new": calm,
        "more": Connections(now=40, all=50, most=100), "full": Connections(now=12, all=95, most=100),
    }  # fmt: skip
    known = {"calm": 10, "more": 10, "full": 12}
    found = judge(Traffic(), Seen(Traffic(), "/health answered 503", seen), LIMITS, connections=known)
    assert found[0].blocks and "503" in found[0].message
    by_name = {each.title.rpartition(" ")[2]: each for each in found if each.code == "LLW008"}
    assert {name: each.outcome.value for name, each in by_name.items()} == {
        "none": "skipped", "gone": "fail", "calm": "pass", "new": "unknown", "more": "fail", "full": "fail",
    }  # fmt: skip
    assert [name for name, each in by_name.items() if each.blocks] == ["gone", "full"]


def test_errors_and_refusals_are_held_against_those_of_before() -> None:
    def mixed(bad: int, of: int, status: int) -> Traffic:
        return merged((traffic(("runs/get", of - bad, 0.01)), traffic(("runs/get", bad, 0.01), status=status)))

    def answer(before: Traffic, now: Traffic, code: str) -> str:
        return codes(judge(before, Seen(now), LIMITS))[code]

    always = mixed(240, 4000, 500)
    assert answer(always, mixed(248, 4000, 500), "LLW005") == "pass", "it was so before"
    assert answer(mixed(0, 1000, 500), mixed(62, 1000, 500), "LLW005") == "error"
    assert answer(mixed(0, 1000, 500), mixed(30, 1000, 500), "LLW005") == "warning"
    assert answer(Traffic(), mixed(100, 1000, 403), "LLW006") == "error", "a lock-out by the Host header"
    assert answer(Traffic(), mixed(100, 1000, 403), "LLW005") == "pass"
