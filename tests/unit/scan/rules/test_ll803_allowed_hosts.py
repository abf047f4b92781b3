"""A server that others reach."""

from tests.support.scan_rules import rule_tests

HITS = {
    "shell": ("a.sh", "mlflow server --host 0.0.0.0 --backend-store-uri sqlite:///a.db  # expect --host\n"
                      "mlflow ui -h 0.0.0.0  # expect -h\n"),
    "compose": ("compose.yaml", "services:\n  m:\n    command: mlflow ui --host=0.0.0.0  # expect --host=0.0.0.0\n"),
}  # fmt: skip
SILENT = {
    "told": ("a.sh", "mlflow server --host 0.0.0.0 --allowed-hosts mlflow.example.com\n"),
    "told by a variable": ("a.sh", "MLFLOW_SERVER_ALLOWED_HOSTS='*' mlflow server --host 0.0.0.0\n"),
    "at home": ("a.sh", "mlflow server --host 127.0.0.1\nmlflow server\n"),
    "words that are not known": ("a.sh", 'mlflow server --host 0.0.0.0 "$@"\n'),
    "another command": ("a.sh", "mlflow models serve -m x -h 0.0.0.0\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL803", HITS, SILENT)
