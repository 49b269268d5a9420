"""Documentation that the product serves itself: the pages of `docs/`, the OpenAPI document, a page to read it with.

All of it changes with the release and at no other time, and its addresses stay. So whoever keeps an answer asks whether
it is still so, which costs them no content: for a time that was promised, a page would be that of the release before.
"""

import gzip
from asyncio import to_thread
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.status_codes import HTTP_304_NOT_MODIFIED

from app.errors import ServiceError
from app.web.application import ANY_QUERY
from app.web.bodies import ExactResponse
from app.web.openapi import Document
from app.web.pages import Library
from app.web.pages_layout import POLICY, html_of
from app.wire.codes import Code
from app.wire.entity_tags import is_known, tag_of

_ROOT = Path(__file__).parents[2]
_SCRIPT = Path(__file__).parent / "static" / "scalar-api-reference.js.gz"
_OPENAPI = "application/vnd.oai.openapi+json"
_HTML = "text/html"
_MARKDOWN = "text/markdown"
_TEXT = "text/plain"
_VARY = {"Vary": "Accept"}
_NOTHING_MORE: Mapping[str, str] = {}
_CACHING = "public, no-cache"
# Nothing is loaded from elsewhere: what the page's script might ask for is refused by the browser.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'"
)
_SETTINGS = {
    "withDefaultFonts": False,
    "telemetry": False,
    "agent": {"disabled": True},
    "hideClientButton": True,
    "showDeveloperTools": "never",
}
_SETTINGS_TEXT = msgspec.json.encode(_SETTINGS).decode()
_PAGE = f"""<!doctype html>
<html lang="en">
  <head>
    <title>QuotaStack API</title>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
  </head>
  <body>
    <script id="api-reference" data-url="/schema" data-configuration='{_SETTINGS_TEXT}'></script>
    <script src="/docs/api/scalar.js"></script>
  </body>
</html>
"""


class _Route(HTTPRouteHandler):
    """One of several methods. Unlike Litestar's own it can be referred to weakly, as `app.web.parameters` does."""


_reading = partial(_Route, http_method=["GET", "HEAD"], include_in_schema=False)


@_reading("/schema")
async def get_schema(request: Request[Any, Any, Any], document: NamedDependency[Document]) -> ExactResponse[bytes]:
    """The OpenAPI document."""
    return await _answer(request, await to_thread(document.content), _OPENAPI)


@_reading("/docs/api")
async def get_api_page(request: Request[Any, Any, Any]) -> ExactResponse[bytes]:
    """A page to read and try the API."""
    return await _answer(request, _PAGE.encode(), _HTML, {"Content-Security-Policy": _POLICY})


@_reading("/docs/api/scalar.js")
async def get_script(request: Request[Any, Any, Any]) -> ExactResponse[bytes]:
    """The script of that page, as it lies in `static`: compressed."""
    headers = {"Vary": "Accept-Encoding"}
    content = await to_thread(_read, _SCRIPT)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        content = await to_thread(gzip.decompress, content)
    return await _answer(request, content, "text/javascript", headers)


@_reading(["/docs", "/docs.md"], opt={ANY_QUERY: True})
async def get_index(request: Request[Any, Any, Any]) -> ExactResponse[bytes]:
    """The first page."""
    return await _page(request, request.url.path.rstrip("/"))


@_reading("/docs/{path:path}", opt={ANY_QUERY: True})
async def get_page(request: Request[Any, Any, Any], path: FromPath[str]) -> ExactResponse[bytes]:
    """A page as HTML, and as Markdown where it is asked for so or by `.md`; or a file that lies beside the pages."""
    return await _page(request, f"/docs/{path.strip('/')}")


async def _page(request: Request[Any, Any, Any], address: str) -> ExactResponse[bytes]:
    library = await to_thread(_library)
    if (file := library.files.get(address)) is not None:
        return await _answer(request, await to_thread(_read, file), _TEXT)
    page = library.pages.get(address.removesuffix(".md"))
    if page is None:
        raise ServiceError(Code.NOT_FOUND, f"There is no page {address}; {library.index.path} has all that there are.")
    if address.endswith(".md") or prefers_markdown(request.headers.get("accept", "")):
        return await _answer(request, library.markdown(page).encode(), _MARKDOWN, _VARY)
    content = await to_thread(_html, page.path)
    return await _answer(request, content, _HTML, {"Content-Security-Policy": POLICY, **_VARY})


@_reading(["/llms.txt", "/docs/llms.txt"])
async def get_digest(request: Request[Any, Any, Any]) -> ExactResponse[bytes]:
    """What there is to read, for language models."""
    library = await to_thread(_library)
    return await _answer(request, library.digest().encode(), _TEXT)


async def _answer(
    request: Request[Any, Any, Any], content: bytes, media_type: str, more: Mapping[str, str] = _NOTHING_MORE
) -> ExactResponse[bytes]:
    """The content, unless the client has it; of HEAD only what would stand above it."""
    tag = await to_thread(tag_of, content)
    headers = {"ETag": tag.decode(), "Cache-Control": _CACHING, **more}
    if is_known(request.headers.get("if-none-match", "").encode("latin-1"), tag):
        return ExactResponse(b"", status_code=HTTP_304_NOT_MODIFIED, headers=headers)
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(content))
        content = b""
    return ExactResponse(content, media_type=media_type, headers=headers)


def prefers_markdown(accept: str) -> bool:
    """Whether an Accept names Markdown, and HTML not before it."""
    weights = {"text/markdown": 0.0, "text/html": 0.0}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        if kind in weights:
            weights[kind] = next((_weight(text) for text in parameters if text.startswith("q=")), 1.0)
    return 0 < weights["text/markdown"] >= weights["text/html"]


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0


@cache
def _library() -> Library:
    return Library(_ROOT)


@cache
def _html(path: str) -> bytes:
    library = _library()
    return html_of(library, library.pages[path]).encode()


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


ROUTES = [get_schema, get_api_page, get_script, get_index, get_page, get_digest]
