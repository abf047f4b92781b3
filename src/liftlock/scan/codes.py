"""Every code a scan gives, with an example before and after: the source of the reference page."""

from __future__ import annotations

from liftlock.scan.model import Code
from liftlock.scan.rules.registry import RULES

FAMILIES = {
    "LL1": "Python names", "LL2": "Python arguments", "LL3": "Command line", "LL4": "REST endpoints",
    "LL5": "Environment variables", "LL6": "Requirements", "LL7": "Saved models", "LL8": "Behaviour that no name shows",
    "LL9": "What could not be seen",
}  # fmt: skip


CODES = (
    Code(code="LL101", title="A function, class or method was removed", before="client.list_experiments()",
         after="client.search_experiments()",
         text="The release named does not have it any more. Calls fail with AttributeError or ImportError."),
    Code(code="LL102", title="A module or flavor was removed", before="import mlflow.fastai",
         after="wrap the learner in mlflow.pyfunc.PythonModel", text="The import fails."),
    Code(code="LL103", title="An attribute was removed", before="run.info.run_uuid", after="run.info.run_id",
         text="Reading it raises AttributeError."),
    Code(code="LL104", title="A name that no release has", before="mlflow.log_metrics_batch({})",
         after="mlflow.log_metrics({})", text="A slip, or a name of another package."),
    Code(code="LL105", title="A deprecated name", before="mlflow.evaluate(model, data)",
         after="mlflow.models.evaluate(model, data)", text="It still works in the target, with a warning."),
    Code(code="LL201", title="A parameter was removed", before="mlflow.evaluate(m, d, custom_metrics=[f])",
         after="mlflow.evaluate(m, d, extra_metrics=[f])", text="The call fails with TypeError."),
    Code(code="LL202", title="A parameter falls into **kwargs", before="mlflow.pyfunc.save_model(p, code_path=c)",
         after="mlflow.pyfunc.save_model(p, code_paths=c)",
         text="The call is accepted, and the argument is ignored or passed on to something else."),
    Code(code="LL203", title="A deprecated parameter", before='mlflow.sklearn.log_model(m, artifact_path="model")',
         after='mlflow.sklearn.log_model(m, name="model")', text="It still works in the target, with a warning."),
    Code(code="LL204", title="A parameter that no release has", before="mlflow.start_run(run_idd=i)",
         after="mlflow.start_run(run_id=i)", text="The call fails with TypeError in the source release already."),
    Code(code="LL205", title="A positional argument means something else", before="RunInfo(uuid, experiment, ...)",
         after="RunInfo(run_id=..., experiment_id=..., ...)",
         text="The order of parameters changed; give the argument by its name."),
    Code(code="LL206", title="A parameter became required", before="run_local(uri, port=5000)",
         after="run_local(name, uri, config={...})", text="The call fails with TypeError."),
    Code(code="LL207", title="Keywords that cannot be seen", before="mlflow.pyfunc.log_model(**options)",
         after="look whether options has a key that is gone", text="The call gives keywords by a `**` whose keys are "
         "only known when it runs, and the target has dropped some the source had. For information."),
    Code(code="LL301", title="A command was removed", before="mlflow experiments list",
         after="mlflow experiments search", text="The command line answers with status 2."),
    Code(code="LL302", title="A command that no release has", before="mlflow models list",
         after="GET /api/2.0/mlflow/registered-models/search", text="It never worked."),
    Code(code="LL303", title="A command of a newer release", before="mlflow traces search", after="the same, after "
         "the upgrade", text="The source release does not have it yet; the message says which one added it."),
    Code(code="LL304", title="An option was removed", before="mlflow run . --no-conda",
         after="mlflow run . --env-manager local", text="The command line answers with status 2."),
    Code(code="LL305", title="An option that no release has", before="mlflow db upgrade URL --verbose",
         after="mlflow db upgrade URL", text="It never worked."),
    Code(code="LL306", title="An option of a newer release", before="mlflow experiments search --max-results 5",
         after="the same, from 3.8.0 on", text="The source release, and perhaps the target, does not have it."),
    Code(code="LL401", title="An endpoint was removed", before="GET /api/2.0/mlflow/experiments/list",
         after="GET /api/2.0/mlflow/experiments/search", text="The server answers 404."),
    Code(code="LL402", title="An endpoint that no release serves", before="GET /api/2.0/mlflow/runs/list",
         after="POST /api/2.0/mlflow/runs/search", text="The server answers 404."),
    Code(code="LL501", title="A variable that is not read any more", before="MLFLOW_GCS_DEFAULT_TIMEOUT=60",
         after="none", text="Setting it has no effect from the release named on."),
    Code(code="LL502", title="A variable that no release reads", before="MLFLOW_BACKEND_STORE=postgresql://...",
         after="MLFLOW_BACKEND_STORE_URI=postgresql://...",
         text="It looks like one of MLflow's. A variable that the same tree reads is its own and not reported."),
    Code(code="LL601", title="A pin keeps the target out", before="mlflow==2.9.2", after="mlflow==3.17.2",
         text="The installer would not take the target. `liftlock pin` changes all pins at once."),
    Code(code="LL602", title="A Python the target does not run on", before="FROM python:3.8-slim",
         after="FROM python:3.11-slim", text="Only pins that allow no Python of the target are reported."),
    Code(code="LL701", title="A saved model of a removed flavor", before="flavors: {mleap: ...}",
         after="save the model again with a flavor the target has", text="The target cannot load it natively."),
    *(rule.code for rule in RULES),
    Code(code="LL901", title="A file that was not seen whole", before="print 'a line of Python 2'",
         after="look at the file yourself", text="Lines that could not be parsed were left out, or the file is too "
         "large or not readable. Only in --json and SARIF; the other reports list such files at the end."),
)  # fmt: skip


def page() -> str:
    """The reference page of all codes, in Markdown."""
    lines = [
        "# Codes of `liftlock scan`", "",
        "Made from the program by `python -m liftlock.scan.codes docs/reference/scan-codes.md`.", "",
        "A finding has one of these verdicts: `broken` (fails in the source release already), `breaks` (works in "
        "the source, fails from the release named on), `behaviour` (accepted, but does something else), "
        "`deprecated` (works in the target, with a warning), `unknown` (MLflow never had such a name, and nothing "
        "fails). Its confidence is `certain` (resolved from imports, types or literal words) or `likely`.", "",
    ]  # fmt: skip
    for family, title in FAMILIES.items():
        lines += [f"## {title}", ""]
        for each in CODES:
            if each.code.startswith(family):
                lines += [f"### {each.code}: {each.title}", "", each.text, ""]
                lines += ["```text", f"before  {each.before}", f"after   {each.after}", "```", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
