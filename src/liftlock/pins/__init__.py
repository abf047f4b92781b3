"""Pins: every place of a repository that names MLflow's version, changed together or not at all.

`survey.py` walks the tree and lets each format (`formats/`, one file each) *find* pins: spans of characters in the
file's own text. A change replaces those spans and nothing else, so comments, order, newlines and a byte order mark
are kept by construction. Parsers (tomllib, ruamel.yaml, ast, packaging) only locate and, on the new text, verify.
`relock.py` has lock files rewritten by their own tool in a copy of the tree; `transaction.py` brings all new contents
into the tree together, survives a kill at any point, and undoes; `leftovers.py` looks for what no format understood.
"""
