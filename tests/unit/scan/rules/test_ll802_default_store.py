"""A server without a backend store."""

from tests.support.scan_rules import rule_tests

HITS = {
    "shell": ("a.sh", "mlflow ui  # expect ui\nmlflow server --host 127.0.0.1 --port 5001  # expect server\n"),
    "python": ("a.py", "import mlflow, subprocess\nsubprocess.run(['mlflow', 'ui', '--port', '1'])  # expect 'ui'\n"),
    "image": ("Dockerfile", 'FROM x\nCMD ["mlflow", "server", "--port", "1"]  # expect "server"\n'),
}
SILENT = {
    "named": ("a.sh", "mlflow ui --backend-store-uri sqlite:///a.db\n"),
    "named with =": ("a.sh", "mlflow server --backend-store-uri=postgresql://h/d\n"),
    "named by a variable": ("a.sh", "export MLFLOW_BACKEND_STORE_URI=sqlite:///a.db\nmlflow server --port 1\n"),
    "words that are not known": ("a.sh", "mlflow server $OPTIONS\n"),
    "help": ("a.sh", "mlflow server --help\n"),
    "another command": ("a.sh", "mlflow models serve -m x\nmlflow run .\n"),
    "prose": ("a.md", "Run `mlflow ui` or `mlflow server --port 1` to see it.\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL802", HITS, SILENT)
