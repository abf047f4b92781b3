"""Experiments and registry metadata in an open format that reads without MLflow."""
