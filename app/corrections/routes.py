"""Routes of corrections: voiding usage events and grants."""

from uuid import UUID

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.corrections.schemas import CorrectionBody, NewEventVoid, NewVoid, show_done, show_preview
from app.corrections.service import Orders, require_carried_out
from app.errors import ServiceError, invalid_value
from app.io.postgres import Transaction
from app.trail.idempotency import Mutation
from app.web.bodies import ExactResponse
from app.web.principal import SECURITY, needs
from app.wire.codes import Code
from app.wire.ids import MalformedId, parse
from app.wire.orders import VoidGrant, VoidUsage
from app.wire.scopes import Scope

WRITE = needs(Scope.CREDITS_WRITE)
_OTHERS = ("txn_", "sub_", "cus_", "topup_")


@post("/v1/credits/voids", guards=[WRITE], security=SECURITY, tags=["Credits"])
async def create_void(
    data: JSONBody[NewVoid],
    mutation: NamedDependency[Mutation],
    orders: NamedDependency[Orders],
) -> ExactResponse[CorrectionBody]:
    """Void a usage event or a grant, or say what that would do."""
    return await _void(data, _order(data, orders, mutation), mutation, orders)


@post("/v1/usage/events/{event_id:str}/void", guards=[WRITE], security=SECURITY, tags=["Usage"])
async def void_event(
    data: JSONBody[NewEventVoid],
    event_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    orders: NamedDependency[Orders],
) -> ExactResponse[CorrectionBody]:
    """Void a usage event: its credit goes back to the blocks that it drew from."""
    asked = NewVoid(data.reason, event_id, dry_run=data.dry_run)
    return await _void(asked, _order(asked, orders, mutation), mutation, orders)


def _order(data: NewVoid, orders: Orders, mutation: Mutation) -> VoidUsage | VoidGrant:
    """The order that the body stands for. Raises ServiceError for an id that is none."""
    if (data.event_id is None) == (data.credit_block_id is None):
        raise invalid_value("event_id", "or credit_block_id, exactly one of them, names what is voided")
    order_id = orders.id_of(mutation.environment_id, mutation.route, mutation.key)
    if data.event_id is not None:
        event_id = _parse("event_id", "evt", data.event_id)
        return VoidUsage(
            order_id=order_id,
            actor=mutation.actor,
            reason=data.reason,
            idempotency_key=mutation.key,
            event_id=event_id,
        )
    block_id = _parse("credit_block_id", "blk", data.credit_block_id or "")
    return VoidGrant(
        order_id=order_id,
        actor=mutation.actor,
        reason=data.reason,
        idempotency_key=mutation.key,
        block_id=block_id,
        allow_debt=data.allow_debt,
    )


def _parse(field: str, prefix: str, text: str) -> UUID:
    try:
        return parse(prefix, text)
    except MalformedId as error:
        if text.startswith(_OTHERS):
            detail = f"{field} names {text}; only usage events (evt_) and the blocks of grants (blk_) can be voided."
            raise ServiceError(Code.NOT_VOIDABLE, detail) from error
        raise invalid_value(field, str(error)) from error


async def _void(
    data: NewVoid, order: VoidUsage | VoidGrant, mutation: Mutation, orders: Orders
) -> ExactResponse[CorrectionBody]:
    account_id, end_user_id = await orders.find_owner(mutation.environment_id, order)
    if data.dry_run:

        async def preview(tx: Transaction) -> CorrectionBody:
            return show_preview(end_user_id, await orders.preview(tx, account_id, order))

        return await mutation.run(data, preview, status=200)
    done = await orders.give(mutation.environment_id, end_user_id, order)

    async def answer(_tx: Transaction) -> CorrectionBody:
        require_carried_out(done)
        return show_done(end_user_id, done)

    return await mutation.run(data, answer)


ROUTES = [create_void, void_event]
