"""Shell, Makefiles, images, YAML, variables, requirements, models and documents."""

import pytest

from tests.support.scan import codes, spans

SHELL = [
    ("mlflow experiments list\n", ["LL301"]),
    ("mlflow experiments search --max-results 5\n", ["LL306"]),
    ("mlflow db upgrade $URI --verbose\n", ["LL305"]),
    ("mlflow models list\n", ["LL302"]),
    ("kubectl exec -it mlflow-0 -- \\\n  mlflow models list --max-results 5\n", ["LL302"]),
    ("FOO=1 nohup mlflow deployments start-server --port 1 &\n", ["LL301"]),
    ("poetry run mlflow experiments list\n", ["LL301"]),
    ("python -m mlflow experiments list\n", ["LL301"]),
    ('bash -c "mlflow experiments list"\n', ["LL301"]),
    ("X=$(mlflow experiments list)\n", ["LL301"]),
    ('python -c "import mlflow; mlflow.list_experiments()"\n', ["LL101"]),
    ("python3 <<EOF\nimport mlflow\nmlflow.list_experiments()\nEOF\n", ["LL101"]),
    ("curl http://h/api/2.0/mlflow/experiments/list\n", ["LL401"]),
    ("export MLFLOW_GCS_DEFAULT_TIMEOUT=1\n", ["LL501"]),
    ("export MLFLOW_BACKEND_STORE=x\n", ["LL502"]),
    ("mlflow run . --no-conda\n", ["LL304"]),
]
SHELL_SILENT = [
    "mlflow server --host 0.0.0.0 --port 5000 --backend-store-uri sqlite:///m.db\n",
    "mlflow ui -p 5001\n",
    "mlflow models serve -m x --no-conda\n",
    "mlflow db upgrade <backend-store-url>\n",
    "mlflow gc --backend-store-uri sqlite:///mlflow.db\n",
    "pip install mlflow pandas\n",
    "helm upgrade mlflow charts/mlflow -f values.yaml\n",
    "kubectl rollout restart deployment mlflow\n",
    "docker-compose up -d mlflow\n",
    "make -f mlflow.mk mlflow-health\n",
    'echo "mlflow experiments list"\n',
    'pkill -f "mlflow server"\n',
    "kedro mlflow ui --env local\n",
    "mlflow $COMMAND --whatever\n",
    "cd mlflow && ls\n",
    "curl http://h:5000/health\n",
    "curl -X POST http://h/api/2.0/mlflow/runs/search\n",
    "MLFLOW_HOME=/x\necho $MLFLOW_HOME\n",
    "# mlflow experiments list\n",
    "mlflow --version\n",
    'mlflow server --gunicorn-opts "--timeout 100" --port 1\n',
    "mlflow server --gunicorn-opts --timeout=100\n",
]


@pytest.mark.parametrize(("text", "expected"), SHELL)
def test_shell(text: str, expected: list[str]) -> None:
    assert codes(text, "run.sh", new="3.7.0") == expected


@pytest.mark.parametrize("text", SHELL_SILENT)
def test_shell_silent(text: str) -> None:
    assert codes(text, "run.sh") == []


FILES = [
    ("Makefile", "up:\n\t@mlflow experiments list\n", ["LL301"]),
    ("Makefile", "up: needs ; @mlflow experiments list\nX = a ; mlflow experiments list\n", ["LL301"]),
    ("Makefile", "up:\n\tmlflow server --port 1\nmlflow: models list\n", []),
    ("Dockerfile", 'FROM python:3.11\nCMD ["mlflow", "deployments", "start-server"]\n', ["LL301"]),
    ("Dockerfile", "FROM python:3.8-slim\nRUN pip install mlflow==2.9.2\n", ["LL602", "LL601"]),
    ("Dockerfile", 'FROM x\nENTRYPOINT ["sh", "-c", "mlflow run . --no-conda"]\n', ["LL304"]),
    ("Dockerfile", "FROM x\nENV MLFLOW_GCS_DEFAULT_TIMEOUT=3\nRUN mlflow --version\n", ["LL501"]),
    ("Dockerfile", "FROM x\nRUN true && \\\n    # a comment\n    mlflow experiments list\n", ["LL301"]),
    ("compose.yaml", "services:\n  m:\n    command: mlflow experiments list\n", ["LL301"]),
    ("compose.yaml", "services:\n  m:\n    command: ['mlflow', 'server', '--port', '1']\n", []),
    ("compose.yaml", "services:\n  m:\n    environment:\n      MLFLOW_BACKEND_STORE: x\n", ["LL502"]),
    ("compose.yaml", "services:\n  m:\n    environment:\n      - MLFLOW_GCS_DEFAULT_TIMEOUT=x\n", ["LL501"]),
    ("k8s.yaml", "command:\n  - mlflow\n  - deployments\n  - start-server\n", ["LL301"]),
    ("k8s.yaml", 'command: ["mlflow"]\nargs: ["experiments", "list"]\n', ["LL301"]),
    ("k8s.yaml", "env:\n  - name: MLFLOW_BACKEND_STORE\n    value: x\n", ["LL502"]),
    ("templates/x.yaml", "args:\n  {{- if .Values.x }}\n  - mlflow\n  - experiments\n  - list\n  {{- end }}\n",
     ["LL301"]),
    (".github/workflows/ci.yml", "steps:\n  - run: |\n      pip install mlflow\n      mlflow experiments list\n",
     ["LL301"]),
    ("MLproject", "entry_points:\n  main:\n    command: \"mlflow experiments list\"\n", ["LL301"]),
    ("conda.yaml", "dependencies:\n  - python=3.8.12\n  - pip:\n    - mlflow==2.9.2\n", ["LL602", "LL601"]),
    ("conda.yaml", "dependencies:\n  - python=3.11.4\n  - mlflow=3.17\n", []),
    ("requirements.txt", "mlflow>=2,<3\n", ["LL601"]),
    ("requirements.txt", "mlflow>=2.9\nmlflow-export-import==1.0\n", []),
    ("pyproject.toml", 'requires-python = ">=3.8,<3.10"\ndependencies = ["mlflow~=2.9"]\n', ["LL602", "LL601"]),
    ("pyproject.toml", 'requires-python = ">=3.8"\n[tool.poetry.dependencies]\nmlflow = "^2.9"\n', ["LL601"]),
    ("m/MLmodel", "flavors:\n  mleap:\n    x: 1\n  python_function:\n    loader_module: mlflow.mleap\n",
     ["LL701", "LL102"]),
    ("m/MLmodel", "flavors:\n  sklearn:\n    x: 1\n  python_function:\n    loader_module: mlflow.sklearn\n", []),
    ("compose.yaml", "s:\n  command: >\n    mlflow server\n    --port 1\n    --enable-mlserver\n", ["LL305"]),
    ("x.yaml", 'command: ["sh", "-c", "mlflow db upgrade $URI --verbose"]\n', ["LL305"]),
    ("x.yaml", "command:\n  - mlflow\n  - server\n  - {{ .Values.uri | quote }}\n  - --nothing\n", ["LL305"]),
    ("a.md", "```python\nmlflow.list_experiments()\n```\n", ["LL101"]),
    (".env", "MLFLOW_TRACKING_URI=http://x\nMLFLOW_ENABLE_THING=1\n", ["LL502"]),
    ("a.md", "```bash\n$ mlflow experiments list\n```\n", ["LL301"]),
    ("a.md", "```python\n>>> import mlflow\n>>> mlflow.list_experiments()\n[1]\n```\n", ["LL101"]),
    ("a.md", "Use `mlflow experiments export --output-dir x` and `GET /api/2.0/mlflow/experiments/list`.\n",
     ["LL302", "LL401"]),
    ("a.md", "We removed mlflow.list_experiments() and `higher_is_better`. mlflow experiments list is gone.\n", []),
    ("a.md", "`mlflow library` and `mlflow`\n", []),
    ("a.md", "```json\n{\"mlflow\": \"experiments list\"}\n```\n", []),
    ("a.md", "```bash\n$ mlflow ui\nmlflow is now running on port 5000\nmlflow models list\n```\n", ["LL302"]),
    ("a.md", "> mlflow run is like conda, but not --no-conda\n>mlflow run . --no-conda\n", ["LL304"]),
    ("a.md", "<code>mlflow experiments list</code> and `mlflow ui`\n", ["LL301"]),
    ("a.md", "```{code-block} bash\nmlflow run . --no-conda\n```\n", ["LL304"]),
    ("a.md", "```python\nmlflow sagemaker deploy -a x\n!mlflow experiments list\n```\n", ["LL301", "LL301"]),
    ("a.md", "```python\nimport mlflow\nc = mlflow.MlflowClient()\n```\nthen\n```py\nc.list_experiments()\n```\n",
     ["LL101"]),
    ("a.md", "```python\nno Python at all\nimport mlflow\nmlflow.list_experiments()\n```\n", ["LL101"]),
    ("a.rst", ".. prompt:: bash\n\n    mlflow run . --no-conda\n", ["LL304"]),
    ("a.md", "```bash\npip install mlflow==2.9.2\n```\nWe had mlflow==1.0 once.\n", ["LL601"]),
    ("setup.py", "setup(install_requires=['mlflow~=1.22'], python_requires='>=3.6,<3.9')\n", ["LL601", "LL602"]),
    ("setup.py", "setup(install_requires=['mlflow>=1.22'], python_requires='>=3.6')\n# mlflow==1.0\n", []),
    ("a.py", "# /// script\n# requires-python = '<3.10'\n# dependencies = ['mlflow==2.9.2']\n# ///\nX = 'mlflow==1'\n",
     ["LL602", "LL601"]),
    ("a.sh", "uv add 'mlflow<3'\nconda install -y mlflow=2.9\npoetry add mlflow@^2.9\npip install mlflow>=2 x\n",
     ["LL601", "LL601", "LL601"]),
    ("pyproject.toml", "dependencies = [\"mlflow (>=2.9.2,<3.0.0)\"]\n[x]\npython = '~3.8'\nmlflow = '^2.9'\n",
     ["LL601", "LL602", "LL601"]),
    (".gitlab-ci.yml", "mlflow:\n  image: python:3.8-slim\n  script: [pip install mlflow==2.9.2]\n",
     ["LL602", "LL601"]),
    (".github/workflows/ci.yml", "name: mlflow\nwith:\n  python-version: '3.8'\n", ["LL602"]),
    (".github/workflows/ci.yml", "name: mlflow\nmatrix:\n  python-version: ['3.8', '3.11']\n", []),
    ("Dockerfile", "ARG PYTHON_VERSION=3.8\nFROM python:${PYTHON_VERSION}\nRUN pip install mlflow\n", ["LL602"]),
    ("api.ts", "// get('/ajax-api/2.0/mlflow/experiments/list')\nget(`${u}/ajax-api/2.0/mlflow/experiments/list`);\n",
     ["LL401"]),
    ("a.go", 'exec.Command("python", "-m", "mlflow", "run", ".", "--no-conda")\n', ["LL304"]),
    ("package.json", '{"scripts": {"ui": "mlflow deployments start-server --port 1"}, "x": "mlflow rocks"}\n',
     ["LL301"]),
    ("task.json", '{"command": ["mlflow", "run", ".", "--no-conda"], "MLFLOW_GCS_DEFAULT_TIMEOUT": "1"}\n',
     ["LL304", "LL501"]),
    ("run.ps1", "mlflow experiments list\n", ["LL301"]),
    ("a.sh", "BASE=$H/api/2.0/preview/mlflow\ncurl $H/api/2.0/preview/mlflow-artifacts\n", ["LL401"]),
    ("a.sh", "curl $H/api/2.0/mlflow/parallels/list\ncurl $H/api/2.0/mlflow/runs/hard-delete\n", []),
    ("a.rst", "x::\n\n    import mlflow\n    mlflow.list_experiments()\n\nmore\n", ["LL101"]),
    ("a.rst", ".. code-block:: bash\n\n    mlflow experiments list\n", ["LL301"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text", "expected"), FILES)
def test_files(path: str, text: str, expected: list[str]) -> None:
    assert codes(text, path) == expected


def test_the_span_is_the_words() -> None:
    assert spans("  mlflow   experiments list --view all\n", "a.sh") == ["experiments list"]
