"""What stands around the article of a page: one document without a script, its style within, nothing from elsewhere."""

import base64
import hashlib
from html import escape
from pathlib import Path

from app.web.pages import Library, Page
from app.web.pages_html import Heading, render

_STYLE = (Path(__file__).parent / "static" / "docs.css").read_text(encoding="utf-8")
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The browser loads nothing, and takes the one style that is named here."""
_LEAST_HEADINGS = 3
"""With fewer, a page needs no table of its contents."""


def html_of(library: Library, page: Page) -> str:
    """The whole document of a page."""
    rendered = render(page.text, lambda href: library.lead(page, href))
    article = rendered.html.replace("</h1>", f"</h1>{_contents(rendered.headings)}", 1)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(page.title)} · QuotaStack</title>
<link rel="icon" href="data:,">
<link rel="alternate" type="text/markdown" href="{page.twin}">
<style>{_STYLE}</style>
</head>
<body>
<header>
<a class="name" href="/docs">QuotaStack</a><a class="menu" href="#contents">Contents</a>
<a href="/docs/api">API</a><a href="{page.twin}">Markdown</a>
</header>
<main><article>{article}</article>{_excerpts(library, page)}{_onwards(library, page)}</main>
<nav id="contents" aria-label="Pages">{_navigation(library, page)}</nav>
</body>
</html>
"""


def _contents(headings: list[Heading]) -> str:
    if len(headings) < _LEAST_HEADINGS:
        return ""
    lines = "".join(f'<li><a href="#{anchor}">{escape(title)}</a></li>' for anchor, title in headings)
    return f'<details class="contents"><summary>On this page</summary><ul>{lines}</ul></details>'


def _navigation(library: Library, page: Page) -> str:
    parts: list[str] = []
    for section in library.sections:
        lines = "".join(f"<li>{_link(other, page)}</li>" for other in section.pages)
        parts.append(f"<p>{escape(section.title)}</p><ul>{lines}</ul>")
    return "".join(parts)


def _link(other: Page, page: Page) -> str:
    here = ' aria-current="page"' if other.path == page.path else ""
    return f'<a href="{other.path}"{here}>{escape(other.short)}</a>'


def _excerpts(library: Library, page: Page) -> str:
    """The pages that are parts of this one."""
    parts = [other for other in library.pages.values() if other.is_excerpt and other.source == page.source]
    if page.is_excerpt or not parts:
        return ""
    return f"<h2>A page for each</h2><ul>{''.join(f'<li>{_link(other, page)}</li>' for other in parts)}</ul>"


def _onwards(library: Library, page: Page) -> str:
    """The pages before and behind this one in the reading order."""
    order = [other.path for other in library.ordered]
    if page.path not in order:
        return ""
    place = order.index(page.path)
    before, behind = order[max(place - 1, 0) : place], order[place + 1 : place + 2]
    links = [f'<a rel="prev" href="{path}">← {escape(library.pages[path].short)}</a>' for path in before]
    links += [f'<a rel="next" href="{path}">{escape(library.pages[path].short)} →</a>' for path in behind]
    return f"<footer>{''.join(links)}</footer>"
