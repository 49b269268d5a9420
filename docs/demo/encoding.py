"""How the app answers: JSON, and amounts as numbers."""

import msgspec
from litestar import Response

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(document: object) -> bytes:
    """The JSON of whatever the app or QuotaStack's client made."""
    return _encoder.encode(document)


def answer(document: object, status: int = 200) -> Response[bytes]:
    """A whole answer."""
    return Response(encode(document), status_code=status, media_type="application/json")
