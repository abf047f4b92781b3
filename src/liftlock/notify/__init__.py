"""Telling people and programs what happens to a deployment; a failure to tell never becomes more than that."""
