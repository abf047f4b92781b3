"""For any program: no crash, places inside the file, fixes that change nothing else and end."""

import ast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftlock.scan.fix import apply
from liftlock.scan.surfaces import Kind
from liftlock.scan.text import Fragment, Piece
from tests.support.scan import findings

_NAMES = st.sampled_from(["mlflow", "client", "run", "m", "x", "info", "self"])
_ATTRIBUTES = st.sampled_from(
    [
        "list_experiments",
        "evaluate",
        "info",
        "run_uuid",
        "MlflowClient",
        "start_run",
        "sklearn",
        "log_model",
        "fastai",
        "é",
    ]
)
_KEYWORDS = st.sampled_from(["custom_metrics", "artifact_path", "run_uuid", "name", "code_path"])


@st.composite
def _expression(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.integers(0, 5 if depth < 4 else 0))
    if kind == 0:
        return draw(_NAMES)
    inner = draw(_expression(depth + 1))
    if kind in (1, 2):
        return f"{inner}.{draw(_ATTRIBUTES)}"
    if kind == 3:
        return f"{inner}({draw(_KEYWORDS)}={draw(_NAMES)})"
    if kind == 4:
        return f"{inner}({draw(_expression(depth + 1))})"
    return f"[{inner} for {draw(_NAMES)} in {draw(_NAMES)}]"


@st.composite
def _program(draw: st.DrawFn) -> str:
    lines = ["import mlflow", "import mlflow as m", "client = mlflow.MlflowClient()"]
    for _ in range(draw(st.integers(1, 6))):
        expression = draw(_expression())
        form = draw(st.sampled_from(["{e}", "{n} = {e}", "with {e} as {n}: pass", "def f({n}={e}): return {n}",
                                     "class A({n}):\n    x = {e}", "for {n} in {e}: {n}", "f'{{{e}}}'"]))  # fmt: skip
        lines.append(form.format(e=expression, n=draw(_NAMES)))
    return "\n".join(lines) + "\n"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(_program())
def test_programs(text: str) -> None:
    try:
        ast.parse(text)
    except SyntaxError:
        return
    found = findings(text)
    for each in found:
        assert 1 <= each.line <= text.count("\n") + 1
        assert (each.line, each.column) <= (each.end_line, each.end_column)
        for edit in each.edits:
            assert 0 <= edit.start <= edit.end <= len(text)
            assert text[edit.start : edit.end].replace("_", "a").isalnum() or edit.start == edit.end
    fixed = apply(text, [edit for each in found for edit in each.edits])
    ast.parse(fixed)
    again = apply(fixed, [edit for each in findings(fixed) for edit in each.edits])
    assert apply(again, [edit for each in findings(again) for edit in each.edits]) == again


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([kind.value for kind in Kind]), st.text(max_size=120), st.text(max_size=60))
def test_any_text(kind: str, first: str, second: str) -> None:
    names = {"python": "a.py", "notebook": "a.ipynb", "shell": "a.sh", "makefile": "Makefile", "docs": "a.md",
             "dockerfile": "Dockerfile", "yaml": "a.yaml", "environment": ".env", "requirements": "requirements.txt",
             "model": "MLmodel", "source": "a.ts"}  # fmt: skip
    for text in (first + "mlflow" + second, f"mlflow experiments list {first}", f"`mlflow {first}`\n```sh\n{second}"):
        for each in findings(text, names[kind]):
            assert each.line >= 1 and each.column >= 1


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=4))
def test_parts_keep_places(text: str, spans: list[tuple[int, int]]) -> None:
    chosen = [(min(a, b, len(text)), min(max(a, b), len(text))) for a, b in spans]
    fragment = Fragment(text, [Piece(0, 7, len(text))]).joined(chosen)
    for place, character in enumerate(fragment.text):
        assert text[fragment.raw(place) - 7] == character
