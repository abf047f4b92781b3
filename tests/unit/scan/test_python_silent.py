"""Python that looks like a use and is none, or one that knows what it does."""

import pytest

from tests.support.scan import codes

SILENT = {
    "variables of the same name": "baseline_model = 1\ncustom_metrics = {}\nf(custom_metrics=1, baseline_model=2)\n",
    "another package's client": "import boto3, mlflow\nclient = boto3.client('sagemaker')\nclient.list_experiments()\n",
    "a made client": "import boto3, mlflow\nboto3.client('sagemaker').list_experiments()\n",
    "another evaluate": "import mlflow\nfrom evaluate import evaluate\nevaluate(1, custom_metrics=[])\n",
    "artifact_path elsewhere": (
        "import mlflow\nmlflow.log_artifact('a', artifact_path='b')\nmlflow.log_artifacts('a', artifact_path='b')\n"
    ),
    "an own function": "import mlflow\ndef log_model(artifact_path): ...\nlog_model(artifact_path='x')\n",
    "asked first": "import mlflow\nif hasattr(mlflow, 'list_experiments'):\n    mlflow.list_experiments()\n",
    "names a package hands out when asked": "from mlflow.genai.scorers import Guidelines, Safety, get_all_scorers\n",
    "what such a name has": "from mlflow.genai.scorers import Safety\nSafety.register(name='x')\n",
    "inner modules": "from mlflow.langchain.utils import logging\nimport mlflow.openai.utils\n",
    "an endpoint of a later interface": "import requests\nrequests.get('http://mlflow/api/5.0/mlflow/tracing/places')\n",
    "asked first, and left": (
        "import mlflow\ndef f(c: mlflow.MlflowClient):\n    if hasattr(c, 'search_experiments'):\n        return 1\n"
        "    return c.list_experiments()\n"
    ),
    "asked by version": (
        "import mlflow\nfrom packaging.version import Version\n"
        "if Version(mlflow.__version__) < Version('2.0'):\n    mlflow.list_experiments()\nelse:\n    pass\n"
    ),
    "import that may fail": "try:\n    import mlflow.fastai\nexcept ImportError:\n    pass\n",
    "either of two imports": (
        "try:\n    from mlflow.tracking import MlflowClient\nexcept ImportError:\n    from mlflow.pipelines import X\n"
    ),
    "ui alias and lazy flavors": "import mlflow\nmlflow.sklearn.autolog()\nmlflow.xgboost.autolog()\nmlflow.txtai\n",
    "a shimmed parameter is no break": "import mlflow\nmlflow.MlflowClient().get_trace('x', display=True)\n",
    "docstrings and comments": '"""mlflow.list_experiments()"""\n# mlflow.list_experiments()\nimport mlflow\n',
    "an own method": (
        "import mlflow\nclass C:\n    def list_experiments(self): ...\n"
        "    def go(self):\n        self.list_experiments()\n"
    ),
    "names of a newer release": "import mlflow\nmlflow.genai.evaluate()\nmlflow.search_logged_models()\n",
    "default of getattr": "import mlflow\ngetattr(mlflow, 'list_experiments', None)\n",
    "a rebound module attribute": "import mlflow\nmlflow.helper = object()\nmlflow.helper()\n",
    "own routes": "import mlflow\n@app.get('/api/2.0/mlflow/experiments/list')\ndef f(): ...\n",
    "an argument list of something else": (
        "import mlflow\nX = ['mlflow', 'pandas', 'numpy']\nY = ['pip', 'install', 'mlflow']\n"
    ),
    "own variables": "import os, mlflow\nos.environ['MLFLOW_MY_TEAM'] = '1'\n",
    "a relative module called mlflow": "from . import mlflow\nmlflow.list_experiments()\n",
    "private names": "import mlflow\nmlflow._something_inside()\n",
    "no mlflow at all": "client.list_experiments()\n",
    "live client": (
        "import mlflow\nc = mlflow.MlflowClient()\nc.search_experiments()\nc.get_run('x').info.run_id\n"
        "c.search_runs(['0'], order_by=['a'])\nc.log_batch('r', metrics=[])\n"
    ),
    "live endpoints": "import requests\nrequests.post('http://mlflow/api/2.0/mlflow/runs/search')\n",
    "route patterns": "P = '/api/2.0/mlflow/{path}'\nQ = f'/api/2.0/mlflow/{P}'\nR = '/api/2.0/mlflow/*'\n",
}


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str) -> None:
    assert codes(SILENT[name]) == []
    assert codes(SILENT[name], old="3.2.0") == []


def test_a_name_that_is_gone_for_both_is_silent_before_it_went() -> None:
    assert codes("import mlflow\nmlflow.list_experiments()\n", old="1.28.0", new="1.30.1") in ([], ["LL105"])
