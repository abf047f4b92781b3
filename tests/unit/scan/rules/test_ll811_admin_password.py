"""A server with basic-auth and no password for its administrator."""

from tests.support.scan_rules import rule_tests

HITS = {"shell": ("a.sh", "mlflow server --app-name basic-auth --port 1  # expect --app-name\n")}
SILENT = {
    "given": ("a.sh", "export MLFLOW_AUTH_ADMIN_PASSWORD=$P\nmlflow server --app-name basic-auth\n"),
    "another app": ("a.sh", "mlflow server --app-name oidc-auth\n"),
    "none": ("a.sh", "mlflow server --port 1\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL811", HITS, SILENT)
