"""Every link leads somewhere: in the files of a checkout, and from page to page of a running core."""

import re
from urllib.parse import urljoin

import httpx
import pytest

from app.web.pages import BESIDE, Library
from app.wire.codes import Code
from tests.docs.blocks import pages
from tests.docs.links import Served, read_html, read_markdown
from tests.floors.source import ROOT, refuse
from tests.flow.stack import Stack

BEGINNINGS = ("/docs", "/docs.md", "/llms.txt", "/docs/llms.txt", "/docs/api")
HTML, MARKDOWN = "text/html; charset=utf-8", "text/markdown; charset=utf-8"
NO_PAGES = ("/schema", "/docs/api")


@pytest.mark.parametrize("page", pages())
def test_links_of_files(page: str) -> None:
    """Relative paths exist, and anchors are headings; so they work where the files are read."""
    dead: list[str] = []
    for link in read_markdown((ROOT / page).read_text()).links:
        target, _, anchor = link.partition("#")
        if ":" in target or target.startswith("/"):
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        if not path.exists() or (anchor and anchor not in read_markdown(path.read_text()).anchors):
            dead.append(link)
    refuse((f"{page}: {link}" for link in dead), "Let the link lead to what is there.")


def test_every_page_is_in_an_index() -> None:
    """A reader of docs/README.md, or of an index that it names, finds each."""
    library = Library(ROOT)
    known = {library.index.path, *(page.path for page in library.ordered)}
    for page in library.pages.values():
        if page.source.endswith("/README.md"):
            known |= {library.lead(page, link) or "" for link in read_markdown(page.text).links}
    lost = [page.source for page in library.pages.values() if page.path not in known and not page.is_excerpt]
    refuse(lost, "Give each page a line in docs/README.md.")


class Crawl:
    """Everything that can be reached, read once."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.served: dict[str, Served] = {}
        self.dead: list[str] = []

    def follow(self, *beginnings: str) -> None:
        """Read these and whatever they lead to."""
        waiting = list(beginnings)
        while waiting:
            path = waiting.pop()
            if path not in self.served:
                self.served[path] = self._read(path)
                leads = (urljoin(path, link).partition("#")[0] for link in self.served[path].links)
                waiting += [lead for lead in leads if lead.startswith("/")]

    def _read(self, path: str) -> Served:
        answer = self._client.get(path)
        if answer.status_code != httpx.codes.OK:
            self.dead.append(path)
        kind = answer.headers["content-type"]
        if kind == HTML and path not in NO_PAGES:
            served, loaded = read_html(answer.text)
            assert not loaded, (path, loaded)
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            return served
        if kind == MARKDOWN or path.endswith("llms.txt"):
            return read_markdown(answer.text)
        return Served(set(), [])

    def dead_links(self) -> list[str]:
        """Links to what does not answer, or to an anchor that is not there."""
        found: list[str] = []
        for path, served in self.served.items():
            for link in served.links:
                lead, _, anchor = urljoin(path, link).partition("#")
                if lead in self.dead or (anchor and lead in self.served and anchor not in self.served[lead].anchors):
                    found.append(f"{path}: {link}")
        return found


def test_links_of_a_running_core(stack: Stack) -> None:
    """From the indexes on, every page, twin, file and anchor answers; nothing is loaded from elsewhere."""
    with httpx.Client(base_url=stack.core_url, timeout=30) as client:
        crawl = Crawl(client)
        crawl.follow(*BEGINNINGS)
        assert not crawl.dead_links()
        assert not crawl.dead
    reached = {path for path in crawl.served if path.startswith("/docs")}
    library = Library(ROOT)
    assert {address for page in library.pages.values() for address in (page.path, page.twin)} <= reached
    assert len(library.pages) > len(BESIDE) + len(Code)


def test_language_models_find_every_page(stack: Stack) -> None:
    """One line for each, at either address."""
    text = httpx.get(f"{stack.core_url}/llms.txt").text
    assert text == httpx.get(f"{stack.core_url}/docs/llms.txt").text
    assert re.match(r"# QuotaStack\n\n> .+\n\n## ", text)
    lines = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)(?:: .+)?$", text, re.MULTILINE)
    library = Library(ROOT)
    assert sorted(lines) == sorted({page.twin for page in library.pages.values()} - {"/docs.md"} | {"/docs/api"})
