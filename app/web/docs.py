"""Documentation that the product serves itself: the OpenAPI document, a page to read it with, what the errors mean."""

import gzip
from asyncio import to_thread
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency

from app.web.bodies import ExactResponse
from app.web.openapi import Document

_ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"
_SCRIPT = Path(__file__).parent / "static" / "scalar-api-reference.js.gz"
_OPENAPI = "application/vnd.oai.openapi+json"
_SECONDS_OF_A_DAY = 86_400
# Nothing is loaded from elsewhere: what the page's script might ask for is refused by the browser.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'"
)
_SETTINGS = {"withDefaultFonts": False, "telemetry": False, "hideClientButton": True, "showDeveloperTools": "never"}
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


@get("/docs/errors", include_in_schema=False)
async def get_errors() -> ExactResponse[bytes]:
    """What each code means: where the `type` of a problem document leads."""
    return ExactResponse(await to_thread(_read, _ERRORS), media_type="text/markdown")


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


ROUTES = [get_schema, get_api_page, get_script, get_errors]
