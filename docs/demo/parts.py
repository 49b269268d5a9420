"""What the app is made of while it runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from docs.demo import catalogue
from docs.demo.account import Account
from docs.demo.chat import Chat
from docs.demo.journal import Journal, WatchedClient
from docs.demo.listening import Listeners
from docs.demo.provider import Provider
from docs.demo.selling import Till
from docs.demo.settings import Settings
from quotastack import AsyncQuotaStack


class Parts(msgspec.Struct, frozen=True):
    """All that the routes work with."""

    account: Account
    chat: Chat
    listeners: Listeners
    metering: AsyncQuotaStack
    provider: Provider


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncGenerator[Parts]:
    """Connect, make the catalogue where it is missing, and leave nothing unsettled."""
    journal = Journal()
    async with (
        WatchedClient(journal, settings.quotastack_edge_url) as http,
        AsyncQuotaStack(
            settings.quotastack_key,
            url=settings.quotastack_url,
            edge_url=settings.quotastack_edge_url,
            fail_mode=settings.demo_fail_mode,
            spool=settings.demo_spool,
            http=http,
        ) as metering,
    ):
        variants = await catalogue.set_up(metering)
        fails_open = settings.demo_fail_mode == "open"
        listeners = Listeners()
        chat = Chat(metering, settings.demo_tokens_per_second, fails_open=fails_open)
        yield Parts(
            account=Account(metering, journal, settings.demo_fail_mode),
            chat=chat,
            listeners=listeners,
            metering=metering,
            provider=Provider(Till(metering, variants).on_payment),
        )
        await listeners.end()
        await chat.end()
