from __future__ import annotations

import pytest
from packaging.version import Version

from liftlock.pins.model import CannotWrite, Pin, Syntax, Target
from liftlock.pins.writing import is_exact, named, rewritten


def pin(text: str, syntax: Syntax) -> Pin:
    return Pin(0, len(text), text, "mlflow", syntax, "requirement")


@pytest.mark.parametrize(
    ("syntax", "before", "after"),
    [
        (Syntax.PEP440, "==2.9.2", "==3.17.2"),
        (Syntax.PEP440, "=== 2.9.2", "=== 3.17.2"),
        (Syntax.PEP440, "==2.9", "==3.17.2"),
        (Syntax.PEP440, "==2.9.*", "==3.17.*"),
        (Syntax.PEP440, "~=2.9", "~=3.17"),
        (Syntax.PEP440, "~=2.9.0", "~=3.17.2"),
        (Syntax.PEP440, ">=2.8", ">=3.17.2"),
        (Syntax.PEP440, ">2.8", ">=3.17.2"),
        (Syntax.PEP440, ">=2.8,<3", ">=3.17.2,<4"),
        (Syntax.PEP440, "<3.0 , >= 2.8", "<4.0 , >= 3.17.2"),
        (Syntax.PEP440, ">=2.8,<2.10", ">=3.17.2,<3.18"),
        (Syntax.PEP440, ">=2.8,<2.9.5", ">=3.17.2,<3.17.3"),
        (Syntax.PEP440, ">=2.8,<=2.9.2", ">=3.17.2,<=3.17.2"),
        (Syntax.PEP440, ">=2.8,<4", ">=3.17.2,<4"),
        (Syntax.PEP440, ">=2.8,!=2.9.0,<3", ">=3.17.2,!=2.9.0,<4"),
        (Syntax.PEP440, "<3", "<4"),
        (Syntax.PEP440, "<5", "<5"),
        (Syntax.PEP440, "==2.9.2rc1", "==3.17.2"),
        (Syntax.POETRY, "^2.9", "^3.17.2"),
        (Syntax.POETRY, "~2.9", "~3.17.2"),
        (Syntax.POETRY, "2.9.2", "3.17.2"),
        (Syntax.POETRY, "2.*", "3.*"),
        (Syntax.POETRY, ">=2.8 <3.0", ">=3.17.2 <4.0"),
        (Syntax.CONDA, "=2.9.2=pyh1_0", "=3.17.2"),
        (Syntax.CONDA, "=2.9", "=3.17"),
        (Syntax.CONDA, ">=2.9,<3", ">=3.17.2,<4"),
        (Syntax.VERSION, "v2.9.2", "v3.17.2"),
        (Syntax.VERSION, "2.9.2-debian-11-r0", "3.17.2-debian-11-r0"),
        (Syntax.VERSION, "2.9", "3.17.2"),
        (Syntax.VERSION, "3.0.0rc1", "3.17.2"),
    ],
)
def test_upwards(syntax: Syntax, before: str, after: str) -> None:
    target = Target(Version("3.17.2"))
    assert rewritten(pin(before, syntax), target) == after
    assert rewritten(pin(after, syntax), target) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (">=3.4,<4", ">=2.9.2,<3"),
        ("~=3.4", "~=2.9"),
        (">=3.4.1,<3.5", ">=2.9.2,<2.10"),
        ("==3.17.2", "==2.9.2"),
    ],
)
def test_downwards_the_upper_bound_comes_along(before: str, after: str) -> None:
    assert rewritten(pin(before, Syntax.PEP440), Target(Version("2.9.2"))) == after


def test_a_release_candidate_is_admitted_by_what_names_it() -> None:
    target = Target(Version("3.18.0rc0"))
    assert rewritten(pin(">=2.8,<3", Syntax.PEP440), target) == ">=3.18.0rc0,<4"
    assert rewritten(pin("v2.9.2", Syntax.VERSION), target) == "v3.18.0rc0"


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        (Syntax.PEP440, ">=2,!=3.17.2"),
        (Syntax.PEP440, ">=2,!=3.17.*"),
        (Syntax.POETRY, "^2 || ^3"),
        (Syntax.VERSION, "x"),
    ],
)
def test_what_cannot_name_the_version_without_a_guess_is_refused(syntax: Syntax, text: str) -> None:
    with pytest.raises(CannotWrite):
        rewritten(pin(text, syntax), Target(Version("3.17.2")))


def test_named_and_exact() -> None:
    assert named(pin("<3,>=2.8", Syntax.PEP440)) == "2.8"
    assert named(pin("<3", Syntax.PEP440)) is None
    assert named(pin("v2.9.2-full", Syntax.VERSION)) == "2.9.2"
    assert is_exact(pin("==2.9.2", Syntax.PEP440)) and is_exact(pin("2.9.2", Syntax.POETRY))
    assert not any(is_exact(pin(text, Syntax.PEP440)) for text in ("==2.9.*", ">=2", "~=2.9.2", "==2.9.2,<3"))
