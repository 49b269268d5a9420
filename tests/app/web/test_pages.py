"""The pages that core serves: as HTML, as Markdown, with tabs and anchors, and without anything from elsewhere."""

import re
from pathlib import Path

import pytest

from app.web.docs import prefers_markdown
from app.web.pages import Library
from app.web.pages_html import render, slug
from tests.app.core import Core

ROOT = Path(__file__).parents[3]
TABS = """
```sh tab="curl"
curl a
```

```ts tab="TypeScript"
await a()
```

```sh tab="curl"
curl b
```

```sh
alone
```
"""


async def test_a_page_in_both_forms(core: Core) -> None:
    """HTML unless Markdown is asked for, by Accept or by address."""
    http = core.operator.http
    html = await http.get("/docs/credits")
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert html.headers["vary"] == "Accept"
    assert "<h1" in html.text
    by_address = await http.get("/docs/credits.md")
    by_accept = await http.get("/docs/credits", headers={"accept": "text/markdown, */*"})
    assert by_address.headers["content-type"] == by_accept.headers["content-type"] == "text/markdown; charset=utf-8"
    assert by_address.text == by_accept.text
    assert by_address.text.startswith("# Credits")


async def test_the_index_and_the_reference_are_beside_each_other(core: Core) -> None:
    """With a slash at the end too; what is not there is a problem like any other, whatever its path says."""
    http = core.operator.http
    assert (await http.get("/docs")).text == (await http.get("/docs/")).text
    assert "api-reference" in (await http.get("/docs/api")).text
    for path in (
        "/docs/nothing",
        "/docs/..%2fapp/settings.py",
        "/docs/%2e%2e/README.md",
        "/docs/credits.md.md",
        "/docs/x%00",
    ):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    script = await http.get("/docs/cookbook/credit_packs.py")
    assert script.headers["content-type"] == "text/plain; charset=utf-8"
    assert script.text == (ROOT / "docs/cookbook/credit_packs.py").read_text()


async def test_a_style_and_nothing_else(core: Core) -> None:
    """The browser is told to load nothing, and to take the one style that the page has."""
    page = await core.operator.http.get("/docs/webhooks")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"<script|<img|<iframe|@import|url\(|https?://[^\"]*\.(?:css|js)", page.text)


@pytest.mark.parametrize(
    ("accept", "markdown"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", False),
        ("text/markdown", True),
        ("text/markdown;q=0.5, text/html", False),
        ("TEXT/MARKDOWN, text/html;q=0.9", True),
        ("text/markdown;q=0", False),
        ("text/markdown;q=x", False),
    ],
)
def test_who_prefers_markdown(accept: str, *, markdown: bool) -> None:
    """Whoever names it, and does not name HTML before it."""
    assert prefers_markdown(accept) is markdown


def test_tabs() -> None:
    """Neighbours that say so are a group; the same name again begins another; a block alone stays one."""
    html = render(TABS, lambda href: href).html
    assert [group.count("<pre") for group in html.split('<div class="tabs">')] == [0, 2, 2]
    assert re.findall(r">([^<]+)</label>", html) == ["curl", "TypeScript", "curl"]
    names = re.findall(r'name="([^"]+)" id="([^"]+)"( checked)?', html)
    assert len({identity for _, identity, _ in names}) == 3
    assert [bool(checked) for *_, checked in names] == [True, False, True]


def test_columns_are_aligned_by_class() -> None:
    """The policy of the page would refuse a style."""
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |\n", lambda href: href).html
    assert "style" not in html
    assert re.findall(r'<t[hd] class="(\w+)">', html) == ["right", "right"]


def test_a_diagram_of_states_is_a_table() -> None:
    """A row for each arrow."""
    html = render("```mermaid\nstateDiagram-v2\n    [*] --> a\n    a --> b: x, y\n```\n", lambda href: href).html
    assert re.findall(r"<td>(.*?)</td>", html) == ["", "a", "", "a", "b", "x, y"]


def test_headings_have_the_anchors_of_forges() -> None:
    """In small letters, words joined by hyphens, marks gone; and a link to themselves."""
    rendered = render("# A\n\n## Accepting (`accept.lua`)\n\n### x_y\n", lambda href: href)
    assert [heading.anchor for heading in rendered.headings] == ["accepting-acceptlua"]
    assert 'id="x_y"' in rendered.html
    assert slug("Loading, and what is not") == "loading-and-what-is-not"


def test_html_in_a_page_is_text() -> None:
    """A page has no element that is not made here."""
    html = render(
        '<script>alert(1)</script>\n\n```html\n<img src="x">\n```\n\n[a](javascript:alert(1))\n', lambda h: h
    ).html
    assert not re.search(r"<script|<img|<a ", html)


def test_links_lead_where_pages_are_served() -> None:
    """To pages without their ending, to files as they are, elsewhere as words; in Markdown to Markdown."""
    library = Library(ROOT)
    page = library.pages["/docs/webhooks"]
    assert library.lead(page, "errors.md#not_found") == "/docs/errors#not_found"
    assert library.lead(page, "decisions/0024-webhooks.md", ".md") == "/docs/decisions/0024-webhooks.md"
    assert library.lead(page, "cookbook/credit_packs.py", ".md") == "/docs/cookbook/credit_packs.py"
    assert library.lead(page, "../docker-compose.yml") is None
    assert library.lead(page, "#order") == "#order"
    assert library.lead(page, "https://example.com/a.md") == "https://example.com/a.md"
    excerpt = library.pages["/docs/errors/not_found"]
    assert library.lead(excerpt, "#who-asks") == "/docs/errors#who-asks"
    assert "(/docs/errors.md#errors)" in library.markdown(excerpt)
