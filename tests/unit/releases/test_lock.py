import pytest

from liftlock.errors import UsageError
from liftlock.releases.lock import checked_requirements, digest, locked_release, pins, split

LOCK = """\
alembic==1.13.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
mlflow[auth]==2.9.2 \\
    --hash=sha256:cc
Flask_WTF==1.2 ; python_version < '4' \\
    --hash=sha256:dd
plugin @ file:///srv/plugin
"""


def test_pins_and_release() -> None:
    assert pins(LOCK) == {"alembic": "1.13.0", "mlflow": "2.9.2", "flask-wtf": "1.2"}
    assert locked_release(LOCK).version == "2.9.2"
    with pytest.raises(UsageError, match="does not name an MLflow"):
        locked_release("alembic==1.13.0\n")


def test_split_keeps_what_has_no_hash_apart() -> None:
    hashed, direct = split(LOCK)
    assert direct == "plugin @ file:///srv/plugin\n"
    assert hashed == LOCK.replace(direct, "")


def test_digest_is_of_pins_not_of_offered_files() -> None:
    assert digest(LOCK, "3.11.7") == digest(LOCK.replace("sha256:bb", "sha256:ee"), "3.11.2")
    assert digest(LOCK, "3.11.7") != digest(LOCK, "3.10.1")
    assert digest(LOCK, "3.11.7") != digest(LOCK.replace("1.13.0", "1.13.1"), "3.11.7")
    assert digest(LOCK, "3.11.7") != digest(LOCK.replace("/srv/plugin", "/srv/other"), "3.11.7")


def test_requirements_are_checked() -> None:
    assert checked_requirements(["b", "a>=1", "b"]) == ("a>=1", "b")
    with pytest.raises(UsageError, match="not a requirement"):
        checked_requirements(["boto3 and more"])
