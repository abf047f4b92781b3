"""The HTTP gate: a process of its own in front of MLflow that can hold writes and move traffic to another server."""
