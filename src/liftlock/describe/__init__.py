"""Observe a running deployment and its configuration; nothing here acts."""
