"""Artifact stores behind one interface."""
