"""A scan as one HTML page that needs nothing from outside."""

from __future__ import annotations

from html import escape

from liftlock.scan.model import ScanResult

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c1c1e}"
    "table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #ddd;padding:.35rem .6rem;text-align:left;"
    "vertical-align:top}code{font-family:ui-monospace,monospace;font-size:.92em}.breaks,.broken{color:#a4001d;"
    "font-weight:600}.deprecated,.behaviour{color:#7a4b00}"
)


def render(result: ScanResult) -> str:
    """The page."""
    rows = []
    for each in result.findings:
        place = f"{each.path}:{each.line}:{each.column}"
        cells = (
            f"<code>{escape(place)}</code>", escape(each.code),
            f'<span class="{each.verdict.value}">{escape(each.verdict.value)}</span> ({escape(each.confidence.value)})',
            escape(each.message), escape(each.replacement),
        )  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    title = f"MLflow {result.source} to {result.target}"
    skipped = "".join(f"<li><code>{escape(path)}</code>: {escape(why)}</li>" for path, why in result.skipped.items())
    partly = f"<h2>Not seen whole</h2><ul>{skipped}</ul>" if skipped else ""
    head = "".join(f"<th>{name}</th>" for name in ("Where", "Code", "Verdict", "What", "Instead"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>{len(result.findings)} findings; {result.scanned} of {result.files} files mention MLflow.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{partly}</body></html>\n"
    )
