"""The page's files, as they are in the folder at the moment at which they are asked for."""

from mimetypes import guess_type
from pathlib import Path
from typing import Final

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

PAGE: Final = Path(__file__).parent / "page"


@get(["/", "/{name:str}"], sync_to_thread=False)
def show_file(name: FromPath[str] = "index.html") -> Response[bytes]:
    """One of the files; by its name alone, so nothing beside them can be named."""
    file = next((file for file in PAGE.iterdir() if file.name == name), None)
    if file is None:
        raise NotFoundException(f"There is no {name!r} here.")
    return Response(file.read_bytes(), media_type=guess_type(name)[0])
