from __future__ import annotations

import pytest
from packaging.version import Version

from liftlock.pins.formats.requirements import Requirements, references
from liftlock.pins.model import BadFile, CannotParse, Target
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", ["requirements.txt", "requirements/dev.in", "service/requirements-git.txt"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Requirements(), path)


A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_hashes_over_several_lines_are_replaced_in_their_own_layout() -> None:
    text = f"mlflow==2.9.2 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\nsix==1.16.0 \\\n    --hash=sha256:{A}\n"
    target = Target(Version("3.17.2"), hashes={"mlflow": (f"sha256:{C}", f"sha256:{B}")})
    assert moved(Requirements(), text, target) == text.replace("2.9.2", "3.17.2").replace(
        f"sha256:{A} \\\n    --hash=sha256:{B}", f"sha256:{C} \\\n    --hash=sha256:{B}"
    )


def test_hashes_that_nobody_knows_stop_the_change() -> None:
    with pytest.raises(BadFile, match=r"file:2: the hashes of mlflow 3.17.2 are unknown"):
        moved(Requirements(), f"six\nmlflow==2.9.2 --hash=sha256:{A}\n")


def test_other_names_urls_and_unpinned_lines_stay() -> None:
    text = (
        "mlflow\nmlflow-export-import==2.9.2\nmy_mlflow==2.9.2\n# mlflow==2.9.2\nmlflow @ https://x.org/m-2.9.2.whl\n"
    )
    assert moved(Requirements(), text) == text


def test_a_line_that_is_no_requirement_is_named() -> None:
    with pytest.raises(CannotParse) as caught:
        Requirements().find("six\nmlflow==2.9.2 == 3\n")
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("path", "mine"),
    [
        ("requirements-all.txt", True),
        ("requirements/base.in", True),
        ("dev-requirements.txt", True),
        ("constraints.txt", True),
        ("notes.txt", False),
        ("requirements.md", False),
    ],
)
def test_recognises_by_name(path: str, mine: bool) -> None:
    found = owner(path, "")
    assert (found is not None and found.name == "requirements") is mine


def test_references_are_told_with_their_lines() -> None:
    found = references("a\n-r base.in # x\n--constraint=../c.txt\n-cother.txt\n")
    assert [(each.line, each.path, each.constraint) for each in found] == [
        (2, "base.in", False), (3, "../c.txt", True), (4, "other.txt", True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("mlflow<3\n", "mlflow<4\n"),  # nothing else in the file names a version, and yet it shuts it out
        ("mlflow<=2.9.2\n", "mlflow<=3.17.2\n"),
        ("mlflow!=2.9.1\n", "mlflow!=2.9.1\n"),
        ('mlflow==2.9.2 --config-settings "x=y"\n', 'mlflow==3.17.2 --config-settings "x=y"\n'),
        ("mlflow(==2.9.2)\n", "mlflow(==3.17.2)\n"),
        (
            "mlflow @ https://github.com/mlflow/mlflow/archive/refs/tags/v2.9.2.tar.gz\n",
            "mlflow @ https://github.com/mlflow/mlflow/archive/refs/tags/v3.17.2.tar.gz\n",
        ),
        (
            "https://github.com/mlflow/mlflow/archive/v2.9.2.zip ; python_version >= '3.10'\n",
            "https://github.com/mlflow/mlflow/archive/v3.17.2.zip ; python_version >= '3.10'\n",
        ),
        # the digest belongs to one archive
        ("mlflow @ https://github.com/mlflow/mlflow/archive/v2.9.2.zip#sha256=ab\n",) * 2,
    ],
)
def test_ways_to_ask_for_it(before: str, after: str) -> None:
    assert moved(Requirements(), before) == after


def test_a_line_for_pythons_the_version_does_not_run_on_stays() -> None:
    text = (
        "mlflow==2.9.2 ; python_version >= '3.10'\nmlflow==2.1.1 ; python_version < '3.9'\n"
        f"mlflow==2.8.0 ; python_version < '3.10' and sys_platform == 'win32' --hash=sha256:{A}\n"
        "mlflow==2.7.0 ; python_version == '3.9.*'\nmlflow==2.9.2 ; sys_platform == 'linux'\n"
    )
    target = Target(Version("3.17.2"), python=">=3.10")
    assert moved(Requirements(), text, target) == text.replace("2.9.2", "3.17.2")
    unknown = Target(Version("3.17.2"), hashes={"mlflow": (f"sha256:{C}",)})
    assert "2." not in moved(Requirements(), text, unknown), "without knowing better every line moves"
