"""The documentation as pages: which there are, in which order they are read, and where a link of theirs leads.

Every Markdown file below `docs/` is a page, and so are a few beside it; each code of docs/errors.md is one more. The
order is that of the lists in docs/README.md, which has it for those who read the files, too. What is linked and is no
page is served as it lies there, if it lies below `docs/` (the scripts of the cookbook); of a link to anything else the
words stay.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from app.wire.codes import MEANINGS, Code

INDEX = "docs/README.md"
ERRORS = "docs/errors.md"
BESIDE = {
    "README.md": "/docs/readme",
    "ARCHITECTURE.md": "/docs/architecture",
    "STYLE.md": "/docs/style",
    "CHANGELOG.md": "/docs/changelog",
    "sdks/typescript/README.md": "/docs/sdks/typescript",
    "sdks/python/README.md": "/docs/sdks/python",
}
"""Pages that do not lie below `docs/`; an image may be without them."""
SERVED = {".py", ".ts", ".mjs", ".json", ".html", ".css", ".js", ".txt", ".yml"}
"""How names end of files below `docs/` that are served beside the pages, as plain text."""
_BUILT = {"node_modules", "dist", "__pycache__"}
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_ENTRY = re.compile(r"^- \[([^\]]+)\]\(([^)]+)\): (.+(?:\n  .+)*)$", re.MULTILINE)
_CODE = re.compile(r"^### `(?P<code>\w+)`\n(?P<text>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<href>[^)\s]+)\)")
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


class Page(NamedTuple):
    """Where a page is served, which file it comes from, its Markdown, and what the index says of it."""

    path: str
    source: str
    text: str
    name: str = ""
    line: str = ""
    is_excerpt: bool = False
    """Whether it is a part of its source, which is a page of its own."""

    @property
    def title(self) -> str:
        """The first heading, without marks."""
        return _TITLE.findall(self.text)[0].replace("`", "")

    @property
    def short(self) -> str:
        """What it is called among others."""
        return self.name or self.title

    @property
    def twin(self) -> str:
        """Where its Markdown is served."""
        return f"{self.path}.md"


class Section(NamedTuple):
    """Pages that are read one after the other."""

    title: str
    pages: tuple[Page, ...]


class Library:
    """All pages of a checkout. Reads them once, when it is made."""

    def __init__(self, root: Path) -> None:
        self.files: dict[str, Path] = {}
        self._addresses = {source: address for source, address in BESIDE.items() if (root / source).is_file()}
        for file in _files_below(root / "docs"):
            source = file.relative_to(root).as_posix()
            if file.suffix == ".md":
                self._addresses[source] = f"/{source.removesuffix('.md').removesuffix('/README')}"
            elif file.suffix in SERVED:
                self.files[f"/{source}"] = file
        texts = {source: (root / source).read_text(encoding="utf-8") for source in self._addresses}
        said = {self._source(INDEX, href): (name, _one_line(line)) for name, href, line in _ENTRY.findall(texts[INDEX])}
        pages = [
            Page(self._addresses[source], source, text, *said.get(source, ("", ""))) for source, text in texts.items()
        ]
        self.pages = {page.path: page for page in (*pages, *_error_pages(texts[ERRORS]))}
        self.index = self.pages[self._addresses[INDEX]]
        self.sections = tuple(self._sections())

    @property
    def ordered(self) -> list[Page]:
        """Every page that the index lists, in its order."""
        return [page for section in self.sections for page in section.pages]

    def lead(self, page: Page, href: str, suffix: str = "") -> str | None:
        """Where a link of a page leads, with `suffix` behind the address of a page; None where nothing is served."""
        target, _, anchor = href.partition("#")
        if ":" in target or target.startswith("/") or not (target or page.is_excerpt):
            return href
        source = self._source(page.source, target) if target else page.source
        address = self._addresses.get(source) or self._addresses.get(f"{source}/README.md")
        if address is not None:
            return f"{address}{suffix}#{anchor}" if anchor else f"{address}{suffix}"
        return f"/{source}" if f"/{source}" in self.files else None

    def markdown(self, page: Page) -> str:
        """The Markdown of a page as it is served: its links lead to other such texts."""

        def relink(link: re.Match[str]) -> str:
            address = self.lead(page, link["href"], ".md")
            return link["words"] if address is None else f"[{link['words']}]({address})"

        return _outside_fences(page.text, lambda text: _LINK.sub(relink, text))

    def digest(self) -> str:
        """What there is to read, for language models: a line for each page, as llmstxt.org has it."""
        intro = _one_line(self.index.text.split("\n\n")[1])
        known = {page.path for page in (*self.ordered, self.index)}
        rest = [page for page in self.pages.values() if page.path not in known]
        more = sorted((page for page in rest if not page.is_excerpt), key=lambda page: page.path)
        parts = [_list_of(section.title, section.pages) for section in self.sections]
        api = "## The API\n\n- [Reference](/docs/api): every route, to read and to try; as OpenAPI 3.1 at /schema\n"
        errors = _list_of("Errors, a page for each code", (page for page in rest if page.is_excerpt))
        return "\n".join([f"# QuotaStack\n\n> {intro}\n", *parts, api, errors, _list_of("More", more)])

    def _sections(self) -> Iterator[Section]:
        _, *parts = _SECTION.split(self.index.text)
        for title, body in zip(parts[::2], parts[1::2], strict=True):
            sources = [self._source(INDEX, href) for _, href, _ in _ENTRY.findall(body)]
            pages = [self.pages[self._addresses[source]] for source in sources if source in self._addresses]
            if pages:
                yield Section(title, tuple(pages))

    @staticmethod
    def _source(page: str, target: str) -> str:
        """The path in the checkout that a relative link of a file names."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in _BUILT and not path.name.startswith("."):
            yield from _files_below(path)
        elif path.is_file():
            yield path


def _error_pages(text: str) -> Iterator[Page]:
    for name, said in _CODE.findall(text):
        meaning = MEANINGS[Code(name)]
        whole = f"# `{name}`\n\n{meaning.title}.\n\n{said.strip()}\n\n[All errors](#errors)\n"
        yield Page(f"/docs/errors/{name}", ERRORS, whole, name, f"{meaning.status}, {meaning.title}", is_excerpt=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _list_of(title: str, pages: Iterable[Page]) -> str:
    lines = (f"- [{page.short}]({page.twin})" + (f": {page.line}" if page.line else "") for page in pages)
    return "\n".join([f"## {title}\n", *lines, ""])


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    """The text, changed but for what stands in fences."""
    parts: list[str] = []
    end = 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])
