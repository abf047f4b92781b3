"""Commands that do not say what makes the environment of a model."""

from tests.support.scan_rules import rule_tests

HITS = {
    "shell": ("a.sh", "mlflow models serve -m models:/m/1 -p 5001  # expect models\n"),
    "an image": ("a.sh", "mlflow models build-docker -m runs:/1/model -n name  # expect models\n"),
}
SILENT = {
    "said": ("a.sh", "mlflow models serve -m models:/m/1 --env-manager local\n"),
    "no environment": ("a.sh", "mlflow models serve -m models:/m/1 --no-conda\n"),
    "a project, which names its environment": ("a.sh", "mlflow run . -P alpha=1\n"),
    "help": ("a.sh", "mlflow models serve --help\n"),
    "not seen": ("a.sh", "mlflow models serve $OPTIONS\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL810", HITS, SILENT)
