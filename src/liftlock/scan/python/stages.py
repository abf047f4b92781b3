"""Stages to aliases: the edits of a call that moves a version to a stage, or takes the version in one.

They are never safe: the alias has to exist, and an alias names one version where a stage may hold several.
"""

from __future__ import annotations

import ast

from liftlock.scan.python.context import Context

_STAGES = frozenset({"production", "staging"})
Edits = tuple[tuple[int, int, str], ...]


def edits(context: Context, attribute: ast.Attribute, call: ast.Call) -> Edits:
    """The edits, or none where the call cannot be seen whole."""
    if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
        return ()
    end = context.span(attribute)[1]
    name = (end - len(attribute.attr), end)
    if attribute.attr == "transition_model_version_stage":
        return _transition(context, call, name) if id(call) in context.discarded else ()
    if attribute.attr == "get_latest_versions":
        return _latest(context, call, name)
    return ()


def _transition(context: Context, call: ast.Call, name: tuple[int, int]) -> Edits:
    keywords = {each.arg: each for each in call.keywords}
    places = dict(enumerate(call.args))
    version = keywords["version"].value if "version" in keywords else places.get(1)
    stage = keywords["stage"].value if "stage" in keywords else places.get(2)
    alias = _alias(context, stage)
    if version is None or stage is None or not alias or len(call.args) > 4:
        return ()
    found: list[tuple[int, int, str]] = [(*name, "set_registered_model_alias")]
    if "stage" in keywords:
        start = context.place(keywords["stage"].lineno, keywords["stage"].col_offset)
        found += [(start, start + len("stage"), "alias"), (*context.span(stage), alias)]
        if "version" not in keywords:
            found.append((context.span(version)[0], context.span(version)[0], "version="))
    else:
        found += [(*context.span(version), alias), (*context.span(stage), context.text[slice(*context.span(version))])]
    if (dropped := _dropped(context, call, keywords)) is None:
        return ()
    return (*found, *dropped)


def _dropped(context: Context, call: ast.Call, keywords: dict[str | None, ast.keyword]) -> Edits | None:
    """Takes archive_existing_versions away, which an alias has no need of; None where it is the first argument."""
    given = [*call.args, *(each.value for each in call.keywords)]
    archive = call.args[3] if len(call.args) > 3 else None
    if "archive_existing_versions" in keywords:
        archive = keywords["archive_existing_versions"].value
    if archive is None:
        return ()
    number = given.index(archive)
    return ((context.span(given[number - 1])[1], context.span(archive)[1], ""),) if number else None


def _latest(context: Context, call: ast.Call, name: tuple[int, int]) -> Edits:
    """`get_latest_versions(name, stages=["Production"])[0]`."""
    whole = context.firsts.get(id(call))
    stages = next((each for each in call.keywords if each.arg == "stages"), None)
    given = stages.value if stages is not None else call.args[1] if len(call.args) == 2 else None
    if whole is None or not isinstance(given, ast.List | ast.Tuple) or len(given.elts) != 1:
        return ()
    alias = _alias(context, given.elts[0])
    if not alias:
        return ()
    found = [(*name, "get_model_version_by_alias"), (*context.span(given), alias)]
    if stages is not None:
        start = context.place(stages.lineno, stages.col_offset)
        found.append((start, start + len("stages"), "alias"))
    return (*found, (context.span(call)[1], context.span(whole)[1], ""))


def _alias(context: Context, stage: ast.expr | None) -> str:
    """The alias for a literal stage, in the quotes it has; empty for another."""
    if not isinstance(stage, ast.Constant) or str(stage.value).lower() not in _STAGES:
        return ""
    quote = context.text[context.span(stage)[0]]
    return f"{quote}{str(stage.value).lower()}{quote}" if quote in "'\"" else ""
