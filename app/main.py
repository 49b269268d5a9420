"""`python -m app.main`: core. The only place that knows everyone.

One process and one event loop with two listeners: the public one, and one for the edges alone. Where one ends, the
process ends.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar
from litestar.di import Provide
from litestar.types import ASGIApp

from app.corrections.routes import ROUTES as CORRECTIONS
from app.corrections.service import Corrections
from app.customers.routes import ROUTES as CUSTOMERS
from app.entitlements.loading import load_account
from app.entitlements.publishing import Publisher
from app.entitlements.routes import INTERNAL_ROUTES as ENTITLEMENTS_INTERNAL
from app.environments.routes import ROUTES as ENVIRONMENTS
from app.flusher.previewing import Previewer
from app.io.clock import Clock
from app.io.outbound import Session, open_session
from app.io.postgres import Database
from app.io.process import run_until_stopped
from app.io.redis import RedisStore
from app.ledger.routes import ROUTES as LEDGER
from app.metering.routes import ROUTES as METERING
from app.orders.service import Orders
from app.overrides.routes import ROUTES as OVERRIDES
from app.plans.routes import ROUTES as PLANS
from app.rejections.routes import ROUTES as REJECTIONS
from app.reservations.routes import ROUTES as RESERVATIONS
from app.rules.addresses import read_networks
from app.rules.guesses import MAX_ADDRESSES, TOKENS_AT_ONCE, TOKENS_PER_SECOND, Attempts
from app.settings import CoreSettings, SettingsError
from app.subscriptions.enrolling import Enroller
from app.subscriptions.migrating import Migrator
from app.subscriptions.routes import ROUTES as SUBSCRIPTIONS
from app.subscriptions.service import Subscriptions
from app.tenants.routes import INTERNAL_ROUTES as TENANTS_INTERNAL
from app.tenants.routes import ROUTES as TENANTS
from app.tenants.service import Keys
from app.test_clocks.routes import ROUTES as TEST_CLOCKS
from app.test_clocks.routes import provide_clocks
from app.topups.routes import ROUTES as TOPUPS
from app.trail.idempotency import provide_mutation, provide_operator_mutation
from app.trail.routes import ROUTES as TRAIL
from app.web import docs, forward, health
from app.web.application import make_application
from app.web.framing import FramingMiddleware
from app.web.health import Probes
from app.web.openapi import Document, make_config
from app.web.outer import OuterMiddleware
from app.web.principal import Door, provide_clock, provide_principal
from app.web.rates import Rates
from app.web.reader import provide_reader
from app.webhooks.routes import ROUTES as WEBHOOKS
from app.webhooks.routes import provide_caller
from app.webhooks.service import Installation

MAX_DATABASE_CONNECTIONS = 16
BACKLOG = 1024
STOP_SECONDS = 5
"""How long requests under way may take once the process is told to stop."""

DOMAINS = (
    *(*TENANTS, *ENVIRONMENTS, *METERING, *PLANS, *CUSTOMERS, *OVERRIDES, *SUBSCRIPTIONS, *LEDGER),
    *(*TOPUPS, *RESERVATIONS, *CORRECTIONS, *REJECTIONS, *TEST_CLOCKS, *TRAIL, *WEBHOOKS),
)
"""Every route of core itself; those of the edge are passed on by `web.forward`."""


class ListenerEnded(RuntimeError):
    """A listener ended without being told to; its arguments are the reasons, as far as there are any."""


class Parts(msgspec.Struct, frozen=True):
    """What core is made of while it runs."""

    settings: CoreSettings
    clock: Clock
    database: Database
    redis: RedisStore
    session: Session
    api_keys: Keys

    @property
    def orders(self) -> Orders:
        """What gives orders to the flusher."""
        load = partial(load_account, self.database, self.redis)
        return Orders(self.database, self.redis, self.clock, load)


@asynccontextmanager
async def open_parts(settings: CoreSettings, clock: Clock) -> AsyncGenerator[Parts]:
    """Connect to everything, and leave nothing open."""
    redis = await RedisStore.connect(settings.redis_url, settings.agreement())
    try:
        publisher = Publisher(redis, clock, settings.billing_zone())
        database = await Database.open(
            settings.core_database_url, "quotastack core", MAX_DATABASE_CONNECTIONS, publisher.hooks()
        )
        publisher.attach(database)
        try:
            async with open_session(
                total_seconds=forward.TIMEOUT_SECONDS, connections=forward.CONNECTIONS, decompress=False
            ) as session:
                yield Parts(
                    settings, clock, database, redis, session, Keys(database, redis, clock, settings.key_pepper)
                )
        finally:
            await database.close()
    finally:
        await redis.close()


def public_application(parts: Parts) -> ASGIApp:
    """What everyone may reach."""
    rates = Rates(parts.redis, parts.clock, parts.settings.allowances())
    state = {"door": _door(parts), "rates": rates}
    dependencies = _dependencies(parts)
    edge = forward.Edge(parts.session, parts.settings.edge_url)
    handlers = (*DOMAINS, *forward.ROUTES, *docs.ROUTES, *health.ROUTES)
    application = make_application(
        handlers, state, dependencies={**dependencies, "document": _constant(describe(parts)), "edge": _constant(edge)}
    )
    return _within_our_own(application)


def describe(parts: Parts) -> Document:
    """The OpenAPI document of what everyone may reach. It asks nothing of the parts."""
    dependencies = _dependencies(parts)
    return Document(lambda: make_application(DOMAINS, {}, dependencies=dependencies, openapi=make_config()))


def internal_application(parts: Parts) -> ASGIApp:
    """What the edges ask of core."""
    state = {"internal_secret": parts.settings.internal_secret}
    handlers = (*TENANTS_INTERNAL, *ENTITLEMENTS_INTERNAL)
    return _within_our_own(make_application(handlers, state, dependencies=_dependencies(parts)))


def _within_our_own(application: Litestar) -> ASGIApp:
    return OuterMiddleware(FramingMiddleware(cast("ASGIApp", application)))


def _dependencies(parts: Parts) -> dict[str, Provide]:
    enroller = Enroller(parts.database, parts.orders, parts.clock)
    return {
        "api_keys": _constant(parts.api_keys),
        "billing_zone": _constant(parts.settings.billing_zone()),
        "clock": Provide(provide_clock, sync_to_thread=False),
        "clocks": Provide(provide_clocks, sync_to_thread=False),
        "machine_clock": _constant(parts.clock),
        "database": _constant(parts.database),
        "enroll": _constant(enroller.enroll),
        "enroller": _constant(enroller),
        "corrections": _constant(_corrections(parts)),
        "migrator": _constant(Migrator(parts.database, parts.orders, parts.settings.billing_timezone)),
        "subscriptions": _constant(Subscriptions(parts.database, parts.orders)),
        "probes": _constant(_probes(parts)),
        "redis": _constant(parts.redis),
        "webhooks": _constant(_webhooks(parts.settings)),
        "caller": Provide(provide_caller, sync_to_thread=False),
        "stream_max_entries": _constant(parts.settings.stream_max_entries),
        "principal": Provide(provide_principal, sync_to_thread=False),
        "reader": Provide(provide_reader, sync_to_thread=False),
        "mutation": Provide(provide_mutation, sync_to_thread=False),
        "operator_mutation": Provide(provide_operator_mutation, sync_to_thread=False),
    }


def _corrections(parts: Parts) -> Corrections:
    preview = Previewer(parts.settings.billing_timezone).preview
    return Corrections(parts.database, parts.redis, parts.clock, parts.orders, preview)


def _probes(parts: Parts) -> Probes:
    settings = parts.settings
    return Probes(parts.database, parts.redis, settings.ready_max_flush_lag_seconds, settings.metrics_token)


def _webhooks(settings: CoreSettings) -> Installation:
    allowed = read_networks(settings.webhook_allowed_networks)
    return Installation(settings.webhook_key, allowed, settings.webhook_https_only)


def _door(parts: Parts) -> Door:
    settings = parts.settings
    attempts = Attempts(TOKENS_PER_SECOND, TOKENS_AT_ONCE, MAX_ADDRESSES)
    proxies = read_networks(settings.trusted_proxies)
    return Door(parts.api_keys.authenticate, settings.admin_token, proxies, attempts, parts.clock)


def _constant(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)


async def main(stop: asyncio.Event, settings: CoreSettings) -> None:
    """Serve until stopped. Raises SettingsError where a port is taken."""
    require_free(settings.core_host, settings.core_port)
    require_free(settings.core_internal_host, settings.core_internal_port)
    async with open_parts(settings, Clock()) as parts:
        await serve(
            stop,
            [
                _server(public_application(parts), settings.core_host, settings.core_port),
                _server(internal_application(parts), settings.core_internal_host, settings.core_internal_port),
            ],
        )


def require_free(host: str, port: int) -> None:
    """Raise SettingsError where somebody listens already: Granian would share the port without a word."""
    try:
        socket.create_server((host, port), reuse_port=False).close()
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
        raise SettingsError(message) from error


def _server(application: ASGIApp, host: str, port: int) -> Server:
    return Server(
        application, host, port, interface=Interfaces.ASGINL, websockets=False, log_enabled=False, backlog=BACKLOG
    )


async def serve(stop: asyncio.Event, servers: Sequence[Server]) -> None:
    """Run the servers until `stop` is set, then end them. Raises ListenerEnded where one ends by itself."""
    running = [asyncio.create_task(server.serve()) for server in servers]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for server in servers:
        server.stop()
    _, late = await asyncio.wait(running, timeout=STOP_SECONDS)
    for task in late:
        task.cancel()
    if not stop.is_set():
        raise ListenerEnded(*(task.exception() for task in running if task not in late))


if __name__ == "__main__":
    run_until_stopped(CoreSettings, main)
