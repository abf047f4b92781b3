from __future__ import annotations

from pathlib import Path

from packaging.version import Version

from liftlock.pins.document import Document
from liftlock.pins.leftovers import Kind, leftovers
from liftlock.pins.model import Target
from liftlock.pins.proposal import propose
from liftlock.pins.survey import survey
from liftlock.pins.tree import Tree
from tests.support.pins_tree import write

TARGET = Target(Version("3.17.2"))


def found(path: str, text: str, *, known: bool = False) -> list[tuple[int, str, Kind]]:
    document = Document.decode(path, text.encode())
    assert document is not None
    left = leftovers([document], {path: 0} if known else {}, {"2.9.2", "2.8.0", "2.0"}, TARGET)
    return [(each.line, each.version, each.kind) for each in left]


def test_an_unknown_format_is_searched_around_the_word() -> None:
    text = "(server\n (name mlflow)\n (image\n  2.9.2))\n(redis 2.9.2)\n\n\n(redis 2.9.2)\n"
    assert found("deploy.sexp", text) == [(4, "2.9.2", Kind.PLACE)]


def test_unmistakable_pins_to_any_version_are_found() -> None:
    text = (
        'log_model(pip_requirements=["mlflow==1.30.0", "mlflow>=2"])\nIMAGE = "x/mlflow:v2.7.1"\n# since mlflow>=2.1\n'
    )
    assert found("train.py", text) == [(1, "1.30.0", Kind.PLACE), (2, "2.7.1", Kind.PLACE)]


def test_a_range_that_excludes_the_version_is_found() -> None:
    assert found("x.py", 'R = "mlflow>=2,<3"\n') == [(1, "2", Kind.PLACE)]


def test_rest_paths_are_no_versions() -> None:
    assert found("client.py", 'get("api/2.0/mlflow/experiments/search")\n') == []


def test_the_tag_of_a_custom_image_in_a_section_of_mlflow_is_seen() -> None:
    document = Document.decode("values.yaml", b"mlflow:\n  image:\n    repository: x/y\n    tag: 2.9.2\n")
    assert document is not None
    assert [each.line for each in leftovers([document], {"values.yaml": 4}, {"2.9.2"}, TARGET)] == [4]


def test_a_notebook_is_searched() -> None:
    assert found("n.ipynb", '{"source": ["!pip install mlflow==2.9.2\\n"]}') == [(1, "2.9.2", Kind.PLACE)]


def test_in_a_known_format_a_line_speaks_for_itself() -> None:
    assert found("requirements.txt", "mlflow==3.17.2\nother==2.9.2\n", known=True) == []
    assert found("ci.yml", "mlflow-version: ['2.9.2', '2.8.0']\n", known=True) == [(1, "2.9.2", Kind.PLACE)]


def test_comments_and_documentation_are_told_apart() -> None:
    assert found("Dockerfile", "# FROM mlflow:2.9.2\n", known=True) == [(1, "2.9.2", Kind.COMMENT)]
    assert found("README.md", "pip install mlflow==2.9.2\n") == [(1, "2.9.2", Kind.DOCS)]
    assert found("CHANGELOG.md", "mlflow 2.9.2\n") == []


def test_a_part_of_another_number_is_no_version() -> None:
    assert found("x.txt", "mlflow 12.9.2 2.9.20 2.9.2.1 1.2.9.2 a2.8\n") == []
    assert found("x.txt", "mlflow v2.9.2, or 2.8.\n") == [(1, "2.9.2", Kind.DOCS)]


def test_a_distribution_by_its_file_is_left_over_wherever_it_stands() -> None:
    assert found("requirements.txt", "./vendor/mlflow-2.7.1-py3-none-any.whl\n") == [(1, "2.7.1", Kind.PLACE)]
    assert found("get.sh", "curl https://x.org/mlflow_skinny-2.7.1.tar.gz\n") == [(1, "2.7.1", Kind.PLACE)]
    assert found("x.sh", "mlflow-3.17.2-py3-none-any.whl\n") == []


def test_a_line_for_older_pythons_is_told_and_is_no_alarm(tmp_path: Path) -> None:
    write(tmp_path, ())
    (tmp_path / "requirements.txt").write_text(
        "mlflow==2.9.2; python_version >= '3.10'\nmlflow==2.1.1; python_version < '3.9'\n"
    )
    tree = Tree.open(tmp_path)
    target = Target(Version("3.17.2"), python=">=3.10")
    made = propose(tree, survey(tree), target, docs=False, tools=None)
    assert [(each.line, each.version, each.kind) for each in made.leftovers] == [(2, "2.1.1", Kind.OLDER)]
    assert made.complete and made.changes[0].after.text.count("3.17.2") == 1
