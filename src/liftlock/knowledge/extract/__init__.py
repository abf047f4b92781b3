"""Reading the facts of an MLflow release out of its wheel or sdist, without importing or installing it.

Everything here is pure: bytes in, `Facts` out. Downloading is the caller's work.
"""
