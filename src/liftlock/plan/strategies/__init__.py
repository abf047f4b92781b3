"""One strategy per file."""
