from pathlib import Path

import pytest

from liftlock.errors import ReleaseError
from liftlock.releases.tools import revisions


def script(directory: Path, revision: str, down: str) -> None:
    (directory / f"{revision}_x.py").write_text(f'"""T"""\n\nrevision = "{revision}"\ndown_revision = {down}  # no\n')


def test_chain_is_ordered_by_parents(tmp_path: Path) -> None:
    script(tmp_path, "ccc", '"bbb"')
    script(tmp_path, "aaa", "None")
    (tmp_path / "typed.py").write_text("revision: str = 'bbb'\ndown_revision: str | None = (\n    'aaa'\n)\n")
    (tmp_path / "__init__.py").write_text("")
    assert revisions(tmp_path) == ("aaa", "bbb", "ccc")
    assert revisions(tmp_path / "missing") == ()


@pytest.mark.parametrize("down", ['"aaa"', '("aaa", "bbb")', '"gone"', "make()"])
def test_a_branch_a_merge_a_gap_and_code_are_refused(tmp_path: Path, down: str) -> None:
    script(tmp_path, "aaa", "None")
    script(tmp_path, "bbb", '"aaa"')
    script(tmp_path, "ccc", down)
    with pytest.raises(ReleaseError, match=r"not one line|plainly"):
        revisions(tmp_path)
