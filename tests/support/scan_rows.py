"""A curated row as somebody would write it: the name of a file and its text."""

from __future__ import annotations

from liftlock.knowledge.breaks import Break, Kind

# Run inside a release: what a path of its API means. Raises ModuleNotFoundError of other packages, AttributeError.
RESOLVE = """
def resolve(path):
    parts, found, number = path.split("."), mlflow, 1
    for number in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:number]))
            break
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("mlflow"):
                raise
    for name in parts[number:]:
        found = getattr(found, name)
    return found
"""


def written(row: Break, parameter: str = "") -> tuple[str, str]:
    """A file that uses what a row speaks of, in one statement on its last line."""
    owner, _, name = row.path.rpartition(".")
    made = f"{owner}()" if owner.rpartition(".")[2][:1].isupper() else owner
    match row.kind:
        case Kind.CLI | Kind.OPTION:
            return "a.sh", f"mlflow {row.path}\n"
        case Kind.REST:
            return "a.sh", f"curl $HOST{row.path.partition(' ')[2]}\n"
        case Kind.ENVIRONMENT:
            return "a.sh", f"export {row.path}=1\n"
        case Kind.MODULE:
            return "a.py", f"import {row.path}\n"
        case Kind.PARAMETER:
            return "a.py", f"import mlflow\n{made}.{name}({parameter}=1)\n"
        case Kind.ATTRIBUTE:
            return "a.py", f"import mlflow\ndef f(given: {owner}): given.{name}\n"
        case _:
            return "a.py", f"import mlflow\n{made}.{name}()\n"
