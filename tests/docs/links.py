"""What stands in a page as it was served: its anchors, and where it leads."""

import re
from html.parser import HTMLParser
from typing import NamedTuple

from app.web.pages_html import slug

_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_WORDS_OF_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class Served(NamedTuple):
    """Anchors and links."""

    anchors: set[str]
    links: list[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element says."""
        said = {name: value or "" for name, value in attrs}
        if "id" in said:
            assert said["id"] not in self.anchors, f"{said['id']} is there twice"
            self.anchors.add(said["id"])
        if tag in {"a", "link"}:
            self.links.append(said["href"])
        if tag in {"script", "img", "iframe", "object", "embed", "form", "base"} or "style" in said:
            self.loaded.append(tag)


def read_html(text: str) -> tuple[Served, list[str]]:
    """What an HTML page has, and its elements that load something, send something, or have a style of their own."""
    reader = _Reader()
    reader.feed(text)
    return Served(reader.anchors, reader.links), reader.loaded


def read_markdown(text: str) -> Served:
    """What a Markdown page has."""
    prose = _FENCE.sub("", text)
    titles = (_WORDS_OF_LINK.sub(r"\1", title).replace("`", "") for title in _HEADING.findall(prose))
    return Served({slug(title) for title in titles}, _LINK.findall(prose))
