"""Requires-Python and dependencies: from METADATA, or from `setup.py` where an sdist's PKG-INFO has none."""

from __future__ import annotations

import ast
from email.parser import BytesHeaderParser
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from liftlock.knowledge.extract.archive import Archive
from liftlock.knowledge.extract.facts import Fact, Section
from liftlock.knowledge.extract.source import parse, statements


def release(archive: Archive) -> Section:
    """`requires_python` (empty: not declared), `built` (day) and `distribution` (file name)."""
    source = _metadata(archive)
    header = BytesHeaderParser().parsebytes(archive.read(source))
    python = header.get("Requires-Python", "")
    if not python and "setup.py" in archive.names:
        found = _setup(archive).get("python_requires")
        python, source = (found, "setup.py") if isinstance(found, str) else ("", source)
    return {
        "requires_python": Fact(python, source),
        "built": Fact(archive.built, source),
        "distribution": Fact(archive.path.name, source),
    }


def dependencies(archive: Archive) -> Section:
    """Canonical name, with its extra or marker behind `;` -> version specifier."""
    source = _metadata(archive)
    texts = BytesHeaderParser().parsebytes(archive.read(source)).get_all("Requires-Dist", [])
    if not texts and "setup.py" in archive.names:
        source = "setup.py"
        asked = _setup(archive)
        texts = [text for text in asked.get("install_requires", ()) if isinstance(text, str)]
        for extra, names in (asked.get("extras_require") or {}).items():
            texts += [f'{text} ; extra == "{extra}"' for text in names if isinstance(text, str)]
    found: Section = {}
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            found[text] = Fact("", source)  # kept as it is written: nothing of the metadata is dropped
            continue
        key = str(canonicalize_name(requirement.name))
        if requirement.marker is not None:
            key += f"; {requirement.marker}"
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        found[key] = Fact(extras + str(requirement.specifier), source)
    return found


def _metadata(archive: Archive) -> str:
    return "METADATA" if archive.is_wheel else "PKG-INFO"


def _setup(archive: Archive) -> dict[str, Any]:
    """The literal arguments of `setup(...)`, names of module level followed."""
    tree = parse(archive.read("setup.py"))
    names: dict[str, ast.expr] = {}
    for node in statements(tree.body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "setup":
            return {entry.arg: _literal(entry.value, names) for entry in call.keywords if entry.arg is not None}
    return {}


def _literal(node: ast.expr, names: dict[str, ast.expr]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(element, names) for element in node.elts]
    if isinstance(node, ast.Dict):
        return {
            key.value: _literal(value, names)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        }
    if isinstance(node, ast.Name) and node.id in names:
        return _literal(names[node.id], names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _literal(node.left, names), _literal(node.right, names)
        return [*left, *right] if isinstance(left, list) and isinstance(right, list) else None
    return None
