from __future__ import annotations

from liftlock.model import shared_schema


def test_a_server_finds_its_own_table_first_and_everything_else_in_public() -> None:
    given = shared_schema.variables("acf3f17fdcc7")
    assert given == {"PGOPTIONS": "-c search_path=liftlock_acf3f17fdcc7,public"}
    assert shared_schema.served(given) == "acf3f17fdcc7"
    assert shared_schema.without({"A": "1", **given}) == {"A": "1"}


def test_somebody_elses_options_are_left_alone() -> None:
    theirs = {"PGOPTIONS": "-c search_path=team,public"}
    assert shared_schema.served(theirs) is None
    assert shared_schema.served({}) is None
    assert shared_schema.without(theirs) == theirs
