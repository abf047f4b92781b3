"""Frozen values that everything else speaks in; imports nothing of ours but errors."""
