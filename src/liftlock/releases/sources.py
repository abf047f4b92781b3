"""Where packages come from: the user's own index, whether uv's or pip's configuration names it.

uv does not read pip's configuration and pip does not read uv's, so what either names is handed to both.
URLs may hold a password, so they travel in the environment only and every password is remembered for redaction.
"""

from __future__ import annotations

import configparser
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from liftlock.errors import UsageError
from liftlock.model.secret import remember


@dataclass(frozen=True)
class Sources:
    """The default index (None: the public one), further indexes and find-links places; `pip` tells whose they are."""

    default: str | None = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    from_pip: bool = False

    def for_uv(self) -> dict[str, str]:
        """Variables that make uv use these; empty where uv's own configuration already says so."""
        if not self.from_pip:
            return {}
        values = {}
        if self.default:
            values["UV_DEFAULT_INDEX"] = self.default
        if self.extra:
            values["UV_INDEX"] = " ".join(self.extra)
            # pip takes the best version from all its indexes; uv would stop at the first that has the name
            values["UV_INDEX_STRATEGY"] = "unsafe-best-match"
        if self.find_links:
            values["UV_FIND_LINKS"] = ",".join(self.find_links)
        return values

    def for_pip(self) -> dict[str, str]:
        """Variables that make pip use these; empty where pip's own configuration already says so."""
        if self.from_pip:
            return {}
        values = {}
        if self.default:
            values["PIP_INDEX_URL"] = self.default
        if self.extra:
            values["PIP_EXTRA_INDEX_URL"] = " ".join(self.extra)
        if self.find_links:
            values["PIP_FIND_LINKS"] = " ".join(self.find_links)
        return values


def find_sources(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Sources:
    """Read the sources: uv's variables, uv.toml, pip's variables, pip.conf, in this order; the first that says wins."""
    env = os.environ if environ is None else environ
    base = Path.home() if home is None else home
    found = _uv_variables(env) or _uv_files(env, base) or _pip_variables(env) or _pip_files(env, base) or Sources()
    for url in (found.default, *found.extra, *found.find_links):
        if url and (password := urlsplit(url).password):
            remember(unquote(password))
    return found


def _uv_variables(env: Mapping[str, str]) -> Sources | None:
    default = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL")
    extra = (env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL") or "").split()
    links = [part for part in env.get("UV_FIND_LINKS", "").split(",") if part]
    if not (default or extra or links):
        return None
    return Sources(
        default=_unnamed(default) if default else None,
        extra=tuple(_unnamed(url) for url in extra),
        find_links=tuple(links),
    )


def _uv_files(env: Mapping[str, str], home: Path) -> Sources | None:
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    named = [Path(env["UV_CONFIG_FILE"])] if env.get("UV_CONFIG_FILE") else []
    for path in (*named, config / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        if not path.is_file():
            continue
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not readable TOML: {error}") from None
        data = {**data, **data.get("pip", {})}
        default = data.get("index-url")
        extra = list(data.get("extra-index-url", ()))
        for index in data.get("index", ()):
            if index.get("default"):
                default = index["url"]
            else:
                extra.append(index["url"])
        links = tuple(data.get("find-links", ()))
        if default or extra or links:
            return Sources(default=default, extra=tuple(extra), find_links=links)
    return None


def _pip_variables(env: Mapping[str, str]) -> Sources | None:
    default, extra = env.get("PIP_INDEX_URL"), env.get("PIP_EXTRA_INDEX_URL", "").split()
    if not (default or extra):
        return None
    return Sources(
        default=default,
        extra=_usable(extra),
        find_links=_usable(env.get("PIP_FIND_LINKS", "").split()),
        from_pip=True,
    )


def _pip_files(env: Mapping[str, str], home: Path) -> Sources | None:
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    named = [Path(env["PIP_CONFIG_FILE"])] if env.get("PIP_CONFIG_FILE") else []
    default: str | None = None
    extra: list[str] = []
    links: list[str] = []
    # lowest priority first, as pip reads them
    for path in (Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config / "pip" / "pip.conf", *named):
        if not path.is_file():
            continue
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not a readable pip configuration: {error}") from None
        for section in ("global", "install", "index"):
            if not parser.has_section(section):
                continue
            default = parser.get(section, "index-url", fallback=default)
            extra = parser.get(section, "extra-index-url", fallback=" ".join(extra)).split()
            links = parser.get(section, "find-links", fallback=" ".join(links)).split()
    if not (default or extra or links):
        return None
    return Sources(default=default, extra=_usable(extra), find_links=_usable(links), from_pip=True)


def _unnamed(url: str) -> str:
    """uv lets an index be written `name=url`."""
    if (head := url.split("://", 1)[0]) != url and "=" in head:
        return url.split("=", 1)[1]
    return url


def _usable(urls: list[str]) -> tuple[str, ...]:
    """pip skips local places that do not exist; uv fails at them, so they are left out here."""
    kept = []
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in ("", "file") and not Path(unquote(parts.path)).is_dir():
            continue
        kept.append(url)
    return tuple(kept)
