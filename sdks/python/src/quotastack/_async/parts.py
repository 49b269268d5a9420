"""What a client is made of, for the verbs that share it."""

from typing import Any, TypeVar

from quotastack._async.delivery import Delivery
from quotastack._async.transport import Transport
from quotastack.calls import Call
from quotastack.fallback import Fallback
from quotastack.settings import Settings
from quotastack.spool import MemorySpool, Spool

Read = TypeVar("Read")


class Parts:
    """Base of the classes that hold the verbs."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._fallback = Fallback(settings.fail_mode, settings.feature_fail_modes)
        self._delivery = Delivery(settings, transport, _open_spool(settings))

    async def _ask(self, call: Call, kind: type[Read]) -> Read:
        return (await self._transport.ask(call, kind)).value

    async def _read(self, call: Call) -> Any:
        return (await self._transport.ask(call, object)).value


def _open_spool(settings: Settings) -> Spool:
    if settings.spool is None:
        return MemorySpool(settings.max_spool_bytes)
    from quotastack.spool_files import FileSpool  # noqa: PLC0415 - takes a POSIX system

    kind = settings.api_key.split("_")[1] if settings.api_key.startswith(("qs_test_", "qs_live_")) else "other"
    return FileSpool(settings.spool, kind, settings.max_spool_bytes)
