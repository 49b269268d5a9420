"""The log of the edge: a JSON object a line, in the form that core, flusher and jobs write too (docs/logs.md)."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.wire.redaction import Redactor

PROCESS = "edge"


class JsonLines(logging.Formatter):
    """`time`, `level`, `event`, `process`, `pid`; then what the record has under `fields`, and its `exception`.

    Nothing secret, wherever it stands.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": PROCESS,
            "pid": record.process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self._redactor.redact(msgspec.json.encode(line, enc_hook=str).decode())


def configure(level: str, redactor: Redactor) -> None:
    """Write lines of this level and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(redactor))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def fields(**members: object) -> dict[str, dict[str, object]]:
    """What a line says beside its event: `log.info("…", extra=fields(status=200))`."""
    return {"fields": members}
