"""A document as one HTML page that needs nothing from outside: no script, no font, no picture, no network.

It can be read without colours (every state is a word), with a keyboard, by a screen reader, in the dark and on paper.
"""

from __future__ import annotations

import re
from html import escape

from liftlock.report.document import Block, Bullets, Document, Section, Table

_NARROW = 3  # a table with more columns keeps some width on a phone, where it is moved sideways by itself
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--soft:#f6f8fa;--link:#0550ae;
--bad:#a40e26;--warn:#7a4b00;--good:#116329}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;--soft:#161b22;--link:#79c0ff;
--bad:#ff9492;--warn:#e3b341;--good:#56d364}}
body{font:16px/1.55 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:1.5rem;color:var(--ink);
background:var(--paper);overflow-wrap:anywhere}
a{color:var(--link)}h1{font-size:1.7rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.25rem;margin:2.2rem 0 .6rem;
border-bottom:1px solid var(--line);padding-bottom:.25rem}
.skip{position:absolute;left:-999rem}.skip:focus{left:1rem;top:1rem;background:var(--paper);padding:.5rem}
nav ul{columns:18rem;padding-left:1.2rem}.scroll{overflow-x:auto}.scroll:focus{outline:2px solid var(--link)}
table{border-collapse:collapse;width:100%;font-size:.93rem;overflow-wrap:break-word}.wide table{min-width:44rem}
caption{text-align:left;padding:.3rem 0;font-weight:600}
th,td{border-bottom:1px solid var(--line);padding:.4rem .6rem;text-align:left;vertical-align:top;font-weight:400}
thead th{background:var(--soft);font-weight:600}
tr.bad th,tr.bad td:first-child{box-shadow:inset 4px 0 var(--bad)}tr.warn th{box-shadow:inset 4px 0 var(--warn)}
tr.good th{box-shadow:inset 4px 0 var(--good)}
code{font-family:ui-monospace,monospace;font-size:.92em;background:var(--soft);padding:.05em .25em;border-radius:3px}
summary{cursor:pointer;font-weight:600;padding:.4rem 0}details caption{position:absolute;left:-999rem}
ul.boxes{list-style:none;padding-left:.3rem}ul.boxes label{display:block;padding:.15rem 0}footer{margin-top:2.5rem;
font-size:.88rem}
@media print{nav,.skip{display:none}details::details-content{content-visibility:visible;height:auto}
body{max-width:none;font-size:11px}.scroll{overflow:visible}h2{break-after:avoid}
tr{break-inside:avoid}}
""".strip()


def render(document: Document) -> str:
    """The page."""
    names = _names(document.sections)
    contents = "".join(
        f'<li><a href="#{name}">{_inline(section.title)}</a></li>'
        for name, section in zip(names, document.sections, strict=True)
    )
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{_inline(section.title)}</h2>'
        + "".join(_block(block, section.title) for block in section.blocks)
        + "</section>\n"
        for name, section in zip(names, document.sections, strict=True)
    )
    foot = f"<footer><p>{_inline(document.foot)}</p></footer>" if document.foot else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(document.title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        '<a class="skip" href="#content">Skip to the content</a>\n'
        f"<header><h1>{_inline(document.title)}</h1></header>\n"
        + (f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n' if contents else "")
        + '<main id="content">\n'
        + "".join(_block(block, document.title) for block in document.lead)
        + f"\n{body}</main>\n{foot}\n</body>\n</html>\n"
    )


def _names(sections: tuple[Section, ...]) -> list[str]:
    """An anchor for each section: from its title, and different from all others."""
    names: list[str] = []
    for section in sections:
        plain = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
        names.append(plain if plain not in names and plain != "content" else f"{plain}-{len(names)}")
    return names


def _block(block: Block, title: str) -> str:
    if isinstance(block, str):
        return f"<p>{_inline(block)}</p>\n"
    if isinstance(block, Bullets):
        if block.boxes:
            items = "".join(f'<li><label><input type="checkbox"> {_inline(item)}</label></li>' for item in block.items)
            return f'<ul class="boxes">{items}</ul>\n'
        return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in block.items) + "</ul>\n"
    return _table(block, title)


def _table(block: Table, title: str) -> str:
    head = "".join(f'<th scope="col">{_inline(header)}</th>' for header in block.headers)
    tones = block.tones or ("",) * len(block.rows)
    rows = "".join(
        (f'<tr class="{escape(tone)}">' if tone else "<tr>")
        + f'<th scope="row">{_inline(row[0])}</th>'
        + "".join(f"<td>{_inline(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row, tone in zip(block.rows, tones, strict=True)
    )
    caption = block.caption or title
    # The region scrolls by itself on a narrow screen, so it must be reachable with the keyboard.
    kind = "scroll wide" if len(block.headers) > _NARROW else "scroll"
    whole = (
        f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{_inline(caption)}</caption><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
    if not block.folded:
        return whole
    return f"<details><summary>{_inline(caption)} ({len(block.rows)})</summary>\n{whole}</details>\n"


def _inline(text: str) -> str:
    """Escaped text; what stands between backticks is code."""
    pieces = escape(" ".join(text.split())).split("`")
    if len(pieces) % 2 == 0:  # an odd backtick is no code
        return "`".join(pieces)
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))
