"""Documentation that the product serves itself: the pages of `docs/`, the OpenAPI document, a page to read it with."""

import gzip
from asyncio import to_thread
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.errors import ServiceError
from app.web.application import ANY_QUERY
from app.web.bodies import ExactResponse
from app.web.openapi import Document
from app.web.pages import Library
from app.web.pages_layout import POLICY, html_of
from app.wire.codes import Code

_ROOT = Path(__file__).parents[2]
_SCRIPT = Path(__file__).parent / "static" / "scalar-api-reference.js.gz"
_OPENAPI = "application/vnd.oai.openapi+json"
_HTML = "text/html"
_MARKDOWN = "text/markdown"
_TEXT = "text/plain"
_VARY = {"Vary": "Accept"}
_SECONDS_OF_A_DAY = 86_400
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


@get("/schema", include_in_schema=False)
async def get_schema(document: NamedDependency[Document]) -> ExactResponse[bytes]:
    """The OpenAPI document."""
    return ExactResponse(await to_thread(document.content), media_type=_OPENAPI)


@get("/docs/api", include_in_schema=False)
async def get_api_page() -> ExactResponse[bytes]:
    """A page to read and try the API."""
    return ExactResponse(_PAGE.encode(), media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@get("/docs/api/scalar.js", include_in_schema=False)
async def get_script(request: Request[Any, Any, Any]) -> ExactResponse[bytes]:
    """The script of that page, as it lies in `static`: compressed."""
    headers = {"Cache-Control": f"public, max-age={_SECONDS_OF_A_DAY}", "Vary": "Accept-Encoding"}
    content = await to_thread(_read, _SCRIPT)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        content = await to_thread(gzip.decompress, content)
    return ExactResponse(content, media_type="text/javascript", headers=headers)


@get(["/docs", "/docs.md"], include_in_schema=False, opt={ANY_QUERY: True})
async def get_index(request: Request[Any, Any, Any]) -> ExactResponse[bytes]:
    """The first page."""
    return await _page(request, request.url.path.rstrip("/"))


@get("/docs/{path:path}", include_in_schema=False, opt={ANY_QUERY: True})
async def get_page(request: Request[Any, Any, Any], path: FromPath[str]) -> ExactResponse[bytes]:
    """A page as HTML, and as Markdown where it is asked for so or by `.md`; or a file that lies beside the pages."""
    return await _page(request, f"/docs/{path.strip('/')}")


async def _page(request: Request[Any, Any, Any], address: str) -> ExactResponse[bytes]:
    library = await to_thread(_library)
    if (file := library.files.get(address)) is not None:
        return ExactResponse(await to_thread(_read, file), media_type=_TEXT)
    page = library.pages.get(address.removesuffix(".md"))
    if page is None:
        raise ServiceError(Code.NOT_FOUND, f"There is no page {address}; {library.index.path} has all that there are.")
    if address.endswith(".md") or prefers_markdown(request.headers.get("accept", "")):
        return ExactResponse(library.markdown(page).encode(), media_type=_MARKDOWN, headers=_VARY)
    content = await to_thread(_html, page.path)
    return ExactResponse(content, media_type=_HTML, headers={"Content-Security-Policy": POLICY, **_VARY})


@get(["/llms.txt", "/docs/llms.txt"], include_in_schema=False)
async def get_digest() -> ExactResponse[bytes]:
    """What there is to read, for language models."""
    library = await to_thread(_library)
    return ExactResponse(library.digest().encode(), media_type=_TEXT)


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
