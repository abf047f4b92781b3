"""A gateway that is configured by routes."""

from tests.support.scan_rules import rule_tests

HITS = {
    "a file that does not name MLflow": (
        "gateway.yaml",
        """
routes:  # expect routes
  - name: chat
    route_type: llm/v1/chat  # expect route_type
    model: {provider: openai, name: gpt-4}
""",
    ),
    "a document": (
        "a.md",
        "mlflow\n```yaml\n  - name: x\n    route_type: llm/v1/embeddings  # expect route_type\n```\n",
    ),
    "python": ("a.py", 'import mlflow\nX = {"a": 1}\nY = "route_type: llm/v1/chat"  # expect route_type\n'),
}
SILENT = {
    "endpoints": ("a.yaml", "endpoints:\n  - name: chat\n    endpoint_type: llm/v1/chat\n"),
    "routes of something else": ("a.yaml", "mlflow: 1\nroutes:\n  - name: x\n    path: /x\n"),
    "another type": ("a.yaml", "mlflow: 1\nroute_type: static\n"),
    "a comment": ("a.yaml", "# route_type: llm/v1/chat mlflow\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL813", HITS, SILENT)
