from __future__ import annotations

import pytest

from liftlock.model.secret import redact
from liftlock.model.uri import StoreUri


@pytest.mark.parametrize("name", ["password", "sslpassword"])
def test_a_secret_in_the_query_is_shown_by_reveal_alone(name: str) -> None:
    text = f"postgresql://me@db.example/mlflow?{name}=canary%2Fwo%20rd&sslmode=require"
    uri = StoreUri.parse(text)
    assert "canary" not in f"{uri} {uri!r}"
    assert str(uri) == f"postgresql://me@db.example/mlflow?{name}=***&sslmode=require"
    assert StoreUri.parse(uri.reveal()).query == ((name, "canary/wo rd"), ("sslmode", "require")) == uri.query
    assert redact("it said: canary/wo rd") == "it said: ***"
    assert "canary" not in str(uri.with_database("other"))


def test_the_password_before_the_host_is_hidden_too_and_nothing_else() -> None:
    uri = StoreUri.parse("postgresql+psycopg2://me:p%40ss-canary@[::1]:5433/mlflow?options=-csearch_path%3Da")
    assert str(uri) == "postgresql+psycopg2://me:***@[::1]:5433/mlflow?options=-csearch_path%3Da"
    assert StoreUri.parse(uri.reveal()) == uri


def test_an_empty_secret_hides_nothing() -> None:
    assert str(StoreUri.parse("postgresql://h/d?password=")) == "postgresql://h/d?password="
