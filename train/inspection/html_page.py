"""The parts of a self-contained HTML page. Pictures are embedded, each in a wide and a narrow drawing."""

import base64
import html
import io
import itertools
import re
from collections.abc import Callable, Sequence

from PIL import Image

from ...shards.base import printable
from .style import NARROW, WIDE, Style

NARROW_BELOW = 640
"""Screens of at most this many CSS pixels show the narrow drawings."""

STYLE = """
:root { color-scheme: light; --ground: #fff; --ink: #191919; --line: #ddd; --faint: #eee; --link: #1a56a8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 0 16px 48px; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6em; line-height: 1.2; margin: 1em 0 .3em; }
h2 { font-size: 1.2em; margin: 2em 0 .5em; border-bottom: 1px solid var(--line); }
p { margin: .5em 0; max-width: 75ch; }
table { border-collapse: collapse; width: 100%; font-size: .95em; }
td, th { text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid var(--faint); }
td + td { overflow-wrap: anywhere; }
td:nth-child(2):nth-last-child(2) { min-width: 6em; }
th { font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.bold { font-weight: 600; }
img { display: block; max-width: 100%; height: auto; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: .2em 1.2em; margin: .5em 0 1em; }
nav a { padding: .3em 0; }
pre { white-space: pre-wrap; font-size: .85em; }
@media (max-width: 640px) { body { padding: 0 8px 32px; font-size: 15px; } td, th { padding-right: .5em; } }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --ground: #16181b; --ink: #e4e4e4; --line: #44474c; --faint: #2b2e32; --link: #8ab8f0; }
  img { border-radius: 4px; }
  img.chart { filter: invert(.9) hue-rotate(180deg); }
}
@media print { nav { display: none; } body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; }
  tr, img, picture { break-inside: avoid; } }
"""


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return the document, with links to its sections. Its content security policy forbids to fetch anything.

    sections: pairs of a title and the section's parts.
    """
    links = "".join(f'<a href="#{_anchor(name)}">{_escape(name)}</a>' for name, _ in sections)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            f'<title>{_escape(title)}</title>\n<link rel="icon" href="data:,">',
            f"<style>{STYLE}</style>\n</head>\n<body>",
            f"<h1>{_escape(title)}</h1>",
            f"<nav>{links}</nav>",
            *itertools.starmap(_section, sections),
            "</body>\n</html>\n",
        ]
    )


def section(title: str, *parts: str) -> tuple[str, str]:
    """Return a section of `page`: its title, and its `parts` below each other."""
    return title, "\n".join(parts)


def _section(title: str, parts: str) -> str:
    return f'<section id="{_anchor(title)}">\n<h2>{_escape(title)}</h2>\n{parts}\n</section>'


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{_escape(text)}</p>"


def table(rows: Sequence[Sequence[str]], *, numbers: int = 0, head: bool = True, bold: Sequence[int] = ()) -> str:
    """Return a table. numbers: how many of the last columns are aligned to the right. bold: rows in bold type."""
    lines = []
    for place, row in enumerate(rows):
        tag = "th" if head and place == 0 else "td"
        cells = (
            f"<{tag}{' class=number' if column >= len(row) - numbers else ''}>{_escape(cell)}</{tag}>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr{' class=bold' if place in bold else ''}>{''.join(cells)}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def picture(draw: Callable[[Style], Image.Image], alt: str, *, photographs: bool = False, chart: bool = False) -> str:
    """Return a picture, drawn once for wide and once for narrow screens. alt: its text alternative.

    photographs: encode as JPEG instead of PNG. chart: only lines and text, which dark pages show light on dark.
    """
    (wide, size), (narrow, _) = (_encoded(draw(style), photographs) for style in (WIDE, NARROW))
    return (
        f'<picture><source media="(max-width: {NARROW_BELOW}px)" srcset="{narrow}">'
        f'<img{" class=chart" if chart else ""} src="{wide}" width="{size[0]}" height="{size[1]}" '
        f'alt="{_escape(alt)}"></picture>'
    )


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _escape(text: str) -> str:
    return html.escape(printable(text))  # a class may be named by bytes that are no UTF-8


def _encoded(drawn: Image.Image, photographs: bool) -> tuple[str, tuple[int, int]]:
    buffer = io.BytesIO()
    if photographs:
        drawn.save(buffer, "JPEG", quality=90, subsampling="4:4:4")
    else:
        drawn.save(buffer, "PNG", optimize=True)
    kind = "jpeg" if photographs else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", drawn.size
