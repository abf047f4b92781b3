"""The command line: click's decorators read from the source, from `mlflow` down through every `add_command`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from liftlock.knowledge.extract.facts import Fact, Section, shortened
from liftlock.knowledge.extract.source import Called, Defined, Foreign, Module, Program, statements

_LONG = 80
_ROOT = ("mlflow.cli", "cli")
_Node = ast.FunctionDef | ast.AsyncFunctionDef
_Key = tuple[str, str]  # module and function
_SHOWN = ("default", "envvar", "required", "multiple", "hidden", "is_flag", "nargs", "type")


def commands(program: Program) -> Section:
    """`db upgrade` -> `command`, `db` -> `group`, `server --port` -> how the option is declared, `db upgrade URL`."""
    tree = _Tree(program)
    found: Section = {}
    root = program.lookup(*_ROOT)
    if isinstance(root, Defined) and not isinstance(root.node, ast.ClassDef):
        _walk(program, tree, "", root, found)
        _aliases(program, root, found)
    return found


class _Tree:
    """Which functions are commands of which group."""

    def __init__(self, program: Program) -> None:
        self.children: dict[_Key, list[tuple[str, Defined]]] = {}
        for name, file in sorted(program.files.items()):
            if b"click" not in program.archive.read(file):
                continue
            module = program.module(name)
            assert module is not None
            for node in statements(module.tree.body):
                if isinstance(node, _Node):
                    self._decorated(program, module, node)
                elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                    self._added(program, module, node.value)

    def _decorated(self, program: Program, module: Module, node: _Node) -> None:
        for decorator in node.decorator_list:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(call, ast.Attribute) and call.attr in ("command", "group"):
                owner = program.evaluate(call.value, module.name)
                if isinstance(owner, Defined):
                    self._put(owner, command_name(program, module.name, node), Defined(module.name, node))

    def _added(self, program: Program, module: Module, call: ast.Call) -> None:
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "add_command" or not call.args:
            return
        owner = program.evaluate(call.func.value, module.name)
        child = program.evaluate(call.args[0], module.name)
        if not isinstance(owner, Defined) or not isinstance(child, Defined) or isinstance(child.node, ast.ClassDef):
            return
        named = call.args[1] if len(call.args) > 1 else None
        named = named or next((entry.value for entry in call.keywords if entry.arg == "name"), None)
        name = program.evaluate(named, module.name) if named is not None else None
        self._put(owner, name if isinstance(name, str) else command_name(program, child.module, child.node), child)

    def _put(self, owner: Defined, name: str, child: Defined) -> None:
        self.children.setdefault((owner.module, owner.node.name), []).append((name, child))


def command_name(program: Program, module: str, node: ast.AST) -> str:
    """The name click gives a command: the decorator's first text or `name=`, else the function's with dashes."""
    assert isinstance(node, _Node)
    for decorator in node.decorator_list:
        if not isinstance(decorator, ast.Call) or not _is_command(decorator.func):
            continue
        named = decorator.args[0] if decorator.args else None
        named = named or next((entry.value for entry in decorator.keywords if entry.arg == "name"), None)
        value = program.evaluate(named, module) if named is not None else None
        if isinstance(value, str):
            return value
    return node.name.lower().replace("_", "-")


def _is_command(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("command", "group")


def _walk(program: Program, tree: _Tree, path: str, command: Defined, found: Section) -> None:
    module = program.module(command.module)
    assert module is not None and isinstance(command.node, _Node)
    group = any(
        isinstance(call := (each.func if isinstance(each, ast.Call) else each), ast.Attribute) and call.attr == "group"
        for each in command.node.decorator_list
    )
    if path:
        found[path] = Fact("group" if group else "command", module.file)
    for decorator in reversed(command.node.decorator_list):
        value = program.evaluate(decorator, command.module)
        for key, text in _parameters(value):
            found[f"{path} {key}".strip()] = Fact(text, module.file)
    for name, child in tree.children.get((command.module, command.node.name), ()):
        _walk(program, tree, f"{path} {name}".strip(), child, found)


def _parameters(value: Any) -> Iterator[tuple[str, str]]:
    """The names a decorator declares with what is known of them."""
    if isinstance(value, Foreign) and value.path == "click.version_option":
        value = Called(value.path, (), {})
    if not isinstance(value, Called) or not value.path.startswith("click."):
        return
    kind = value.path.removeprefix("click.")
    texts = [text for text in value.args if isinstance(text, str)]
    if kind == "version_option":
        yield "--version", "is_flag=True"
    elif kind == "argument" and texts:
        yield texts[0].upper(), _described(value, texts[0])
    elif kind == "option":
        options = [part for text in texts if text.startswith("-") for part in text.split("/") if part.startswith("-")]
        primary = max(options, key=lambda text: text.startswith("--"), default="")
        for option in options:
            yield option, _described(value, primary if option != primary else "")


def _described(call: Called, same_as: str) -> str:
    parts = [f"as {same_as}"] if same_as.startswith("-") else []
    for key in _SHOWN:
        if key in call.keywords:
            shown = call.keywords[key]
            if isinstance(shown, Called):
                shown = shown.path.rpartition(".")[2] + (f"({shown.args[0]})" if shown.args else "")
            elif isinstance(shown, Foreign):
                shown = shown.path.removeprefix("builtins.").removeprefix("click.")
            elif not isinstance(shown, str | int | float | bool | list | tuple | type(None)):
                shown = getattr(shown, "text", "?")
            parts.append(f"{key}={shortened(str(shown), _LONG, _LONG)}")
    return " ".join(parts)


def _aliases(program: Program, root: Defined, found: Section) -> None:
    """Commands that a group's `get_command` maps to others, such as `ui` to `server` since 2.0."""
    for decorator in root.node.decorator_list:
        if not isinstance(decorator, ast.Call):
            continue
        cls = next((entry.value for entry in decorator.keywords if entry.arg == "cls"), None)
        group = program.evaluate(cls, root.module) if cls is not None else None
        if not isinstance(group, Defined):
            continue
        module = program.module(group.module)
        for node in ast.walk(group.node):
            if isinstance(node, ast.IfExp) and isinstance(node.test, ast.Compare) and module is not None:
                alias, target = (getattr(part, "value", None) for part in (node.test.comparators[0], node.body))
                if isinstance(alias, str) and isinstance(target, str) and alias not in found:
                    for key in [key for key in found if key == target or key.startswith(f"{target} ")]:
                        found[alias + key.removeprefix(target)] = Fact(f"alias of {key}", module.file)
