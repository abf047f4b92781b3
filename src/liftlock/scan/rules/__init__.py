"""Curated rules: changes that no name or signature of the catalogue shows. One file is one rule, with one test file.

Since when a change holds, what it is, what to do and where that was read stands in `knowledge/data/behaviours.toml`; a
rule says only how code that depends on it looks. `registry.RULES` lists them all.
"""
