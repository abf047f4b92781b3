"""All facts of one release."""

from __future__ import annotations

from pathlib import Path

from liftlock.knowledge.extract import chains, commands, endpoints, files, metadata, surface, variables
from liftlock.knowledge.extract.archive import Archive
from liftlock.knowledge.extract.facts import Fact, Facts
from liftlock.knowledge.extract.source import Program, module_name

# Raised with every change of what is extracted, so that kept results of older code are not mixed in.
EXTRACTOR = 5


class Reader:
    """Reads releases one after the other and keeps what equal files gave (patch releases share nearly all)."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], files.FileFacts] = {}

    def facts(self, path: Path) -> Facts:
        """The facts of a wheel or sdist. Raises ReleaseError when it is damaged."""
        with Archive(path) as archive:
            program = Program(archive)
            parsed = self._files(archive, program)
            api = surface.Surface(parsed, program.files).section()
            return {
                "release": metadata.release(archive),
                "dependencies": metadata.dependencies(archive),
                "tracking": chains.tracking(archive),
                "auth": chains.auth(archive),
                "rest": endpoints.endpoints(program),
                "cli": commands.commands(program),
                "environment": _environment(program, parsed),
                "flavors": surface.flavors(api),
                "api": api,
            }

    def _files(self, archive: Archive, program: Program) -> dict[str, files.FileFacts]:
        kept: dict[tuple[str, str], files.FileFacts] = {}
        found: dict[str, files.FileFacts] = {}
        for module, name in program.files.items():
            if name.startswith("mlflow/protos/") or "/versions/" in name:
                continue
            key = (name, archive.stamps.get(name, ""))
            known = self._kept.get(key) if key[1] else None
            if known is None:
                known = files.read(archive.read(name), module_name(name), name.endswith("__init__.py"))
            found[module] = kept[key] = known
        self._kept = kept
        return found


def _environment(program: Program, parsed: dict[str, files.FileFacts]) -> dict[str, Fact]:
    found = variables.declared(program)
    for module in sorted(parsed):
        for name in parsed[module].literals:
            found.setdefault(name, Fact("text", program.files[module]))
    return dict(sorted(found.items()))
