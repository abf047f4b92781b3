"""Databases behind one interface, one engine per file."""
