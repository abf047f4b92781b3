import pytest

from liftlock.knowledge.constraints import constraints, drivers, python_range, undeclared
from liftlock.model.release import Release
from liftlock.model.uri import Engine


@pytest.mark.parametrize(
    ("version", "bounds", "added"),
    [
        ("1.30.1", ("sqlalchemy<2.1", "setuptools<81"), ("setuptools<81",)),
        ("2.13.2", ("sqlalchemy<2.1", "setuptools<81"), ("setuptools<81",)),
        ("2.15.1", ("sqlalchemy<2.1", "setuptools<81", "opentelemetry-sdk<1.45"), ("setuptools<81",)),
        ("2.16.2", ("sqlalchemy<2.1", "opentelemetry-sdk<1.45"), ()),
        ("3.3.2", ("sqlalchemy<2.1", "opentelemetry-sdk<1.45"), ()),
        ("3.4.0", ("sqlalchemy<2.1",), ()),
        ("3.8.1", ("sqlalchemy<2.1",), ()),
        ("3.9.0", ("sqlalchemy<2.1",), ()),
        ("3.15.2", ("sqlalchemy<2.1",), ()),
        ("3.16.0", (), ()),
        ("9.0.0", (), ()),
    ],
)
def test_bounds_of_a_release(version: str, bounds: tuple[str, ...], added: tuple[str, ...]) -> None:
    assert constraints(Release.parse(version)) == bounds
    assert undeclared(Release.parse(version)) == added


@pytest.mark.parametrize(
    ("version", "low", "high"), [("1.30.1", "3.7", "3.10"), ("2.9.2", "3.8", "3.11"), ("3.17.2", "3.10", "3.13")]
)
def test_python_range(version: str, low: str, high: str) -> None:
    found = python_range(Release.parse(version))
    assert (found.minimum, found.maximum) == (low, high)
    assert found.holds(low + ".1") and found.holds(high)
    assert not found.holds("3.14") and not found.holds("2.7")
    assert found.minors()[0] == high and found.minors()[-1] == low


def test_drivers_depend_on_what_was_resolved() -> None:
    assert drivers({Engine.SQLITE}, {}) == ()
    assert drivers({Engine.POSTGRESQL}, {"sqlalchemy": "2.0.58"}) == ("psycopg2-binary",)
    assert drivers({Engine.POSTGRESQL}, {"sqlalchemy": "2.1.9"}) == ("psycopg2-binary", "psycopg[binary]")
