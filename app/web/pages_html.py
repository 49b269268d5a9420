"""Markdown as HTML: headings that can be linked to, links that lead on when served, code in colours, tabs, tables.

The text is ours, and HTML in it is shown as text all the same: a page holds no element that is not made here. Fences
that follow each other and say `tab="…"` after their language become tabs; elsewhere they read as one after the other.
"""

import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple, cast

import pygments
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import formatters, lexers

_lexers, _formatters = cast("Any", lexers), cast("Any", formatters)  # pygments has no types
_TAB = re.compile(r'\btab="([^"]+)"')
_MOVE = re.compile(r"^ *(\S+) --> ([^\s:]+)(?:: (.+))?$", re.MULTILINE)
_MARKS = re.compile(r"[^\w\- ]")
_PLAIN = {"", "text", "mermaid"}
"""Languages of fences that are shown in one colour."""
_SAME = {"console": "sh"}
"""Languages that are coloured as another: commands stand in them without a prompt."""
_LEVELS_OF_CONTENTS = {"h2"}
Lead = Callable[[str], str | None]


class Heading(NamedTuple):
    """What a page's own table of contents has a line for."""

    anchor: str
    title: str


class Rendered(NamedTuple):
    """The article of a page, and its headings below the title."""

    html: str
    headings: list[Heading]


def render(text: str, lead: Lead) -> Rendered:
    """The article of a page; `lead` says where a link leads, or None where it leads nowhere."""
    markdown = MarkdownIt("js-default", {"html": False, "linkify": False})
    tokens = markdown.parse(text)
    headings = _name_headings(tokens)
    for token in tokens:
        _lead_on(token.children or [], lead)
        _align(token)
    markdown.add_render_rule("fence", _fence)
    markdown.add_render_rule("tabs", _tabs)
    return Rendered(str(markdown.renderer.render(_with_tabs(tokens), markdown.options, {})), headings)


def slug(title: str) -> str:
    """The anchor of a heading, as forges have it."""
    return _MARKS.sub("", title.strip().lower()).replace(" ", "-")


def _name_headings(tokens: list[Token]) -> list[Heading]:
    """Give each heading its anchor; answers those of the page's own table of contents."""
    headings: list[Heading] = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            title = "".join(child.content for child in inline.children or [])
            opening.attrSet("id", slug(title))
            if opening.tag in _LEVELS_OF_CONTENTS:
                headings.append(Heading(slug(title), title))
            if opening.tag != "h1" and inline.children is not None:
                inline.children += _link_to_itself(slug(title))
    return headings


def _link_to_itself(anchor: str) -> list[Token]:
    opening = Token("link_open", "a", 1, attrs={"href": f"#{anchor}", "class": "anchor", "aria-label": "Link to this"})
    return [opening, Token("text", "", 0, content="#"), Token("link_close", "a", -1)]


def _lead_on(tokens: list[Token], lead: Lead) -> None:
    """Let links lead where pages are served; of one that leads nowhere the words stay."""
    is_dead = False
    for token in tokens:
        if token.type == "link_open":
            address = lead(str(token.attrGet("href")))
            is_dead = address is None
            if address is not None:
                token.attrSet("href", address)
        if is_dead and token.type in {"link_open", "link_close"}:
            token.tag, token.attrs = "span", {}


def _align(cell: Token) -> None:
    """Say by a class what would be a style of the element's own, which no browser may take here."""
    if style := cell.attrs.pop("style", None):
        cell.attrs["class"] = str(style).partition(":")[2]


def _with_tabs(tokens: Sequence[Token]) -> list[Token]:
    """Fences of one group as one token, its children."""
    grouped: list[Token] = []
    for token in tokens:
        is_tab = token.type == "fence" and _TAB.search(token.info) is not None
        if not is_tab:
            grouped.append(token)
        elif grouped and grouped[-1].type == "tabs" and not _has(grouped[-1], _tab_of(token)):
            cast("list[Token]", grouped[-1].children).append(token)
        else:
            grouped.append(Token("tabs", "", 0, children=[token], map=token.map))
    return grouped


def _has(tabs: Token, name: str) -> bool:
    """Whether a group has this tab already: then another one begins."""
    return any(_tab_of(token) == name for token in tabs.children or [])


def _tab_of(token: Token) -> str:
    found = _TAB.search(token.info)
    return found[1] if found else ""


def _tabs(_: object, tokens: Sequence[Token], index: int, *__: object) -> str:
    """Radio buttons that show one of the blocks: no script, and an arrow key moves on."""
    group = f"tabs-{(tokens[index].map or [0])[0]}"
    parts: list[str] = []
    for number, token in enumerate(tokens[index].children or []):
        mark = f"{group}-{number}"
        checked = "" if number else " checked"
        parts.append(f'<input type="radio" name="{group}" id="{mark}"{checked}>')
        parts.append(f'<label for="{mark}">{escape(_tab_of(token))}</label><div>{_code(token)}</div>')
    return f'<div class="tabs">{"".join(parts)}</div>\n'


def _fence(_: object, tokens: Sequence[Token], index: int, *__: object) -> str:
    return _code(tokens[index]) + "\n"


def _code(token: Token) -> str:
    language = (token.info.split() or [""])[0]
    if language == "mermaid" and (moves := _MOVE.findall(token.content)):
        return _moves(moves)
    shown = escape(token.content) if language in _PLAIN else _coloured(token.content, language)
    return f'<pre tabindex="0"><code>{shown}</code></pre>'


def _moves(moves: list[tuple[str, str, str]]) -> str:
    """A diagram of states as a table, for nothing here draws it."""
    named = ((cell.replace("[*]", "") for cell in move) for move in moves)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in move)}</tr>" for move in named)
    return f"<table><thead><tr><th>from</th><th>to</th><th>by</th></tr></thead><tbody>{rows}</tbody></table>"


def _coloured(text: str, language: str) -> str:
    lexer = _lexers.get_lexer_by_name(_SAME.get(language, language), stripnl=False)
    return str(pygments.highlight(text, lexer, _formatters.HtmlFormatter(nowrap=True)))
