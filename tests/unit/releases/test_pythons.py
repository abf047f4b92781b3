import sys
from pathlib import Path

import pytest

from liftlock.errors import ReleaseError
from liftlock.knowledge.constraints import PythonRange
from liftlock.model.release import Release
from liftlock.releases import pythons
from liftlock.releases.pythons import find_python, order, probe

RANGE = PythonRange(releases=">=2", minimum="3.8", maximum="3.11")


def test_order() -> None:
    assert order(RANGE) == ("3.11", "3.10", "3.9", "3.8")
    assert order(RANGE, "3.9.18") == ("3.9", "3.11", "3.10", "3.8")
    assert order(RANGE, "3.13") == order(RANGE)


def test_probe(tmp_path: Path) -> None:
    found = probe(Path(sys.executable))
    assert found is not None and found.minor == f"3.{sys.version_info.minor}"
    assert probe(tmp_path / "none") is None
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    assert probe(broken) is None


def test_no_python_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "_on_machine", lambda minor: None)
    monkeypatch.setattr(pythons, "_fetched", lambda minor: None)
    with pytest.raises(ReleaseError, match=r"MLflow 2\.9\.2 needs a Python from 3\.8 to 3\.11"):
        find_python(Release.parse("2.9.2"))
