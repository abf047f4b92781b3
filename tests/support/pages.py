"""Looking at a page without a browser: whether its tags close, what it loads, and what a reader finds in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"meta", "input", "br", "link", "img", "hr"})


@dataclass
class Page:
    """`wrong` are tags that do not fit; `outside` everything that would be loaded; `tables` their rows of cells."""

    text: str = ""
    wrong: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    tables: list[list[list[str]]] = field(default_factory=list)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        page = self.page
        page.tags[tag] = page.tags.get(tag, 0) + 1
        page.attributes.setdefault(tag, values)
        if tag in ("script", "img", "iframe", "object", "embed", "link", "base") or "src" in values:
            page.outside.append(tag)
        page.outside += [f"{tag} {name}" for name in values if name.startswith("on") or name == "style"]
        if "id" in values:
            page.ids.append(values["id"])
        if tag == "a":
            page.links.append(values.get("href", ""))
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            page.headings.append(int(tag[1]))
        if tag == "table":
            page.tables.append([])
        if tag == "tr":
            page.tables[-1].append([])
        if tag in ("td", "th"):
            page.tables[-1][-1].append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.page.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            if "url(" in data or "@import" in data:
                self.page.outside.append("style")
            return
        self.page.text += data
        if self.open and {"td", "th"} & set(self.open):
            self.page.tables[-1][-1][-1] += data


def look(text: str) -> Page:
    """Parse a page."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    parser.page.wrong += parser.open
    return parser.page
