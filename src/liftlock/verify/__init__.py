"""Prove a result: probes over HTTP, real clients, comparison of fingerprints."""
