from __future__ import annotations

import sys
from pathlib import Path

import pytest

from liftlock.pins.document import Document, Edit, conflict_line
from liftlock.pins.model import CannotParse
from liftlock.pins.toml_scan import strings
from liftlock.pins.yaml_scan import scalars

TOML = (
    '# c\r\n[a."b.c"]\r\nx.y = ["1", # no "2"\r\n \'3\', {z = "4"}]\r\n'
    '[[t]]\r\nk = """\r\n5"""\r\n[[t.u]]\r\nv="6"\r\n'
    "[[t]]\r\nd = 2020-01-01T00:00:00Z\r\nf = [1.5, true]\r\ne = 'q'\r\n"
)


def test_toml_strings_have_their_paths_and_places() -> None:
    found = {each.path: each for each in strings(TOML)}
    assert {path: each.text for path, each in found.items()} == {
        ("a", "b.c", "x", "y", 0): "1",
        ("a", "b.c", "x", "y", 1): "3",
        ("a", "b.c", "x", "y", 2, "z"): "4",
        ("t", 0, "u", 0, "v"): "6",
        ("t", 0, "k"): "5",
        ("t", 1, "e"): "q",
    }
    assert all(TOML[each.start : each.end] == each.text for each in found.values())


def test_toml_of_installed_packages_is_taken_apart() -> None:
    files = [*Path(sys.prefix).rglob("*.toml"), Path(__file__).parents[3] / "pyproject.toml"]
    assert sum(len(strings(path.read_bytes().decode())) for path in files) > 100


@pytest.mark.parametrize(("text", "line"), [("a = 1\na = 2\n", 2), ("a = 1\nb = [\n", 3), ("\n\n[x\n", 3)])
def test_broken_toml_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(CannotParse) as caught:
        strings(text)
    assert abs(caught.value.line - line) <= 1


def test_yaml_scalars_have_their_paths_and_places() -> None:
    text = "# é\r\na: &x 1.2\r\nb: *x\r\nc: [\"q\", 'r']\r\nd: |-\r\n  line\r\n  two\r\ne:\r\n"
    text += "--- !tag\r\nf: {g: !!str 2.9.2}\r\n"
    found = [(each.document, each.path, each.text, each.alone) for each in scalars(text)]
    assert found == [
        (0, ("a",), "1.2", True),
        (0, ("c", 0), "q", False),
        (0, ("c", 1), "r", False),
        (0, ("d",), "  line\r\n  two\r\n", True),
        (1, ("f", "g"), "2.9.2", True),
    ]
    assert all(text[each.start : each.end] == each.text for each in scalars(text))


@pytest.mark.parametrize("text", ["a: [1\nb: 2\n", "a: *nowhere\n", "a: b: c\n", "\tx: 1\n", "a: \x07\n"])
def test_broken_yaml_is_an_error_with_a_line(text: str) -> None:
    with pytest.raises(CannotParse) as caught:
        scalars(text)
    assert 1 <= caught.value.line <= 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_document_is_written_back_byte_for_byte(encoding: str) -> None:
    raw = "a é 😀\r\nmlflow\n".encode(encoding)
    document = Document.decode("x", raw)
    assert document is not None and document.with_text(document.text).raw == raw
    edited = document.edited([Edit(document.text.index("ml"), len(document.text) - 1, "MLFLOW")])
    assert edited.raw == "a é 😀\r\nMLFLOW\n".encode(encoding)


def test_binary_is_no_document_and_edits_never_overlap() -> None:
    assert Document.decode("x", b"mlflow\0") is None and Document.decode("x", b"\xff\xfemlflow\xd8") is None
    old = Document.decode("x", b"mlflow caf\xe9\r\n")
    assert old is not None and old.text == "mlflow café\r\n" and old.with_text(old.text).raw == old.raw
    document = Document.decode("x", b"abc")
    assert document is not None
    with pytest.raises(AssertionError):
        document.edited([Edit(0, 2, ""), Edit(1, 3, "")])


def test_a_merge_needs_both_of_its_marks() -> None:
    assert conflict_line("a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> x\n") == 2
    assert conflict_line("a\n=======\nb\n") is None and conflict_line("<<<<<<< only\n") is None
