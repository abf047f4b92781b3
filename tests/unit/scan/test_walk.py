"""Which files are looked at."""

import os
from pathlib import Path

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.scan.model import ScanResult
from liftlock.scan.run import scan
from liftlock.scan.walk import LARGEST, Walk

_USE = "import mlflow\nmlflow.list_experiments()\n"


def _scan(root: Path) -> ScanResult:
    return scan([root], load(), Release(version="2.9.2"), Release(version="3.17.2"))


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)


def test_gitignore(tmp_path: Path) -> None:
    _write(tmp_path, a=_USE, build__b=_USE, src__c=_USE, src__build__d=_USE, src__gen_x=_USE, src__gen_keep=_USE)
    (tmp_path / ".gitignore").write_text("/build/\n# comment\nsrc/**/gen_*\n!gen_keep.py\n")
    assert sorted(each.path for each in _scan(tmp_path).findings) == [
        "a.py", "src/build/d.py", "src/c.py", "src/gen_keep.py",
    ]  # fmt: skip


def test_gitignore_of_a_folder_above(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("sub/out/\n")
    _write(tmp_path, sub__out__a=_USE, sub__b=_USE)
    assert [each.path for each in _scan(tmp_path / "sub").findings] == ["b.py"]


def test_environments_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path, env__lib__a=_USE, node_modules__b=_USE, c=_USE)
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr\n")
    assert [each.path for each in _scan(tmp_path).findings] == ["c.py"]


def test_links_devices_large_files_and_bad_text(tmp_path: Path) -> None:
    _write(tmp_path, a=_USE)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    os.mkfifo(tmp_path / "pipe.py")
    with (tmp_path / "large.py").open("wb") as file:
        file.write(b"import mlflow\n")
        file.truncate(LARGEST + 1)
    (tmp_path / "binary.py").write_bytes(b"\0\1mlflow")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\nimport mlflow\nmlflow.list_experiments()\n")
    (tmp_path / "bom.py").write_bytes(b"\xef\xbb\xbfimport mlflow\r\nmlflow.list_experiments()\r\n")
    (tmp_path / "broken.py").write_text("import mlflow\nmlflow.list_experiments()\nprint 'x'\n")
    result = _scan(tmp_path)
    assert sorted(each.path for each in result.findings) == ["a.py", "bom.py", "broken.py", "latin.py"]
    assert {each.column for each in result.findings} == {8}
    assert "larger" in next(why for path, why in result.skipped.items() if path.endswith("large.py"))
    assert "in part" in result.skipped["broken.py"]


def test_one_file(tmp_path: Path) -> None:
    _write(tmp_path, a=_USE, b=_USE)
    assert [each.path for each in _scan(tmp_path / "b.py").findings] == ["b.py"]


def test_only_files_that_mention_mlflow_are_read_whole(tmp_path: Path) -> None:
    _write(tmp_path, a="x = 1\n", b="import mlflow\n")
    walk = Walk()
    assert [path.rpartition("/")[2] for path in walk.paths(tmp_path) if walk.read(path)] == ["b.py"]


def test_names_across_files(tmp_path: Path) -> None:
    tree = {
        "pkg/__init__.py": "from pkg.clients import make  # mlflow\n",
        "pkg/clients.py": "import mlflow\ndef make():\n    return mlflow.MlflowClient()\n",
        "pkg/use.py": "from . import make\nmake().list_experiments()\n",
        "other.py": "from pkg import make\nmake().list_registered_models()\n",
        "stranger.py": "from sagemaker import make\nmake().list_experiments()\n",
        "tests/conftest.py": (
            "import mlflow, pytest\n@pytest.fixture\ndef tracker():\n    yield mlflow.MlflowClient()\n"
        ),
        "tests/test_x.py": "import mlflow\ndef test(tracker):\n    tracker.list_experiments()\n",
    }
    for name, text in tree.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [(each.path, each.line) for each in _scan(tmp_path).findings] == [
        ("other.py", 2), ("pkg/use.py", 2), ("tests/test_x.py", 3),
    ]  # fmt: skip


def test_own_variables_are_not_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MLFLOW_ENABLE_THING=1\nMLFLOW_TYPO_HERE=2\n")
    (tmp_path / "settings.py").write_text("import mlflow\nclass S:\n    mlflow_enable_thing: bool = False\n")
    assert [each.symbol for each in _scan(tmp_path).findings] == ["MLFLOW_TYPO_HERE"]


def test_suppressed(tmp_path: Path) -> None:
    _write(tmp_path, a="import mlflow\nmlflow.list_experiments()  # liftlock: ignore[LL101]\n")
    _write(tmp_path, b="import mlflow\nmlflow.list_experiments()  # liftlock: ignore[LL2]\n")
    _write(tmp_path, c="import mlflow\nmlflow.list_experiments()  # liftlock: ignore\n")
    result = _scan(tmp_path)
    assert [each.path for each in result.findings] == ["b.py"] and result.suppressed == 2


def test_a_folder_named_after_a_package_is_not_that_package(tmp_path: Path) -> None:
    tree = {
        "flavors/keras.py": "import mlflow\nclass Client(mlflow.MlflowClient): ...\n",
        "job.py": "import keras, mlflow\nkeras.Client().list_experiments()\n",
        "pkg/__init__.py": "import mlflow\n",
        "pkg/tools.py": "import mlflow\ndef make(): return mlflow.MlflowClient()\n",
        "pkg/a.py": "import mlflow\nfrom tools import make\nmake().list_experiments()\n",
        "src/lib/b.py": "import mlflow\nfrom lib.things import make\nmake().list_experiments()\n",
        "src/lib/things.py": "import mlflow\ndef make(): return mlflow.MlflowClient()\n",
    }
    for name, text in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [(each.path, each.line) for each in _scan(tmp_path).findings] == [("src/lib/b.py", 3)]


def test_a_file_named_after_the_package_it_uses(tmp_path: Path) -> None:
    (tmp_path / "pyod.py").write_text("import mlflow\nfrom pyod import version\nversion(mlflow.list_experiments())\n")
    result = _scan(tmp_path)
    assert [each.line for each in result.findings] == [3] and result.skipped == {}


def test_the_environment_of_a_saved_model_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors:\n  sklearn: {}\nmlflow_version: 2.9.2\n")
    for folder in (tmp_path, tmp_path / "model"):
        (folder / "requirements.txt").write_text("mlflow==2.9.2\n")
    assert [each.path for each in _scan(tmp_path).findings] == ["requirements.txt"]


def test_several_roots_may_hold_files_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"one": "import mlflow\n" * 9 + "mlflow.list_experiments()\n", "two": "import mlflow\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "utils.py").write_text(text)
    old, new = Release(version="2.9.2"), Release(version="3.17.2")
    roots = [tmp_path / "one", tmp_path / "two", tmp_path / "one" / "utils.py"]
    found = scan(roots, load(), old, new).findings
    assert [(each.path, each.line) for each in found] == [("one/utils.py", 10)]
    monkeypatch.chdir(tmp_path.parent)
    assert [each.path for each in scan(roots, load(), old, new).findings] == [f"{tmp_path.name}/one/utils.py"]
