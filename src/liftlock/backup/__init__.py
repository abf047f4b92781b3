"""Backup sets: databases, artifacts, configuration and environment lock as one verified whole."""
