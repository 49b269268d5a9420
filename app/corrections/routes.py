"""Routes of corrections: adjustments, and voids of usage events and grants."""

from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody

from app.corrections import adjusting
from app.corrections.schemas import (
    AdjustmentBody,
    CorrectionBody,
    NewAdjustment,
    NewEventVoid,
    NewOverageBilling,
    NewVoid,
    show_done,
    show_preview,
    show_taken,
)
from app.corrections.service import Corrections, require_carried_out
from app.errors import ServiceError, invalid_value
from app.io.postgres import Transaction
from app.io.redis import RedisStore
from app.ledger import reading
from app.ledger.schemas import TotalBody
from app.ledger.service import GrantRequest
from app.orders.store import Posted
from app.rules.credits import MAX_COST_MICRO, from_micro
from app.trail import audit
from app.trail.audit import SubjectKind
from app.trail.idempotency import Mutation, Unchanged
from app.web.amounts import Credits, amount_or_none
from app.web.bodies import ExactResponse
from app.web.principal import SECURITY, needs
from app.wire.codes import Code
from app.wire.ids import MalformedId, parse
from app.wire.orders import BillOverage, Correction, Debit, VoidGrant, VoidUsage
from app.wire.scopes import Scope

WRITE = needs(Scope.CREDITS_WRITE)
PREVIEW = {200: ResponseSpec(CorrectionBody, description="A dry run: what would be done")}
_OTHERS = ("txn_", "sub_", "cus_", "topup_")
Owner = tuple[UUID, str]
"""An account, and its end user."""


class Correcting(msgspec.Struct, frozen=True):
    """A correction that is asked for: the order that it is, and what the audit log calls its subject."""

    asked: NewVoid | NewOverageBilling
    order: Correction
    subject: tuple[SubjectKind, str]
    find_owner: Callable[[], Awaitable[Owner]]
    """Whose account it is. Raises ServiceError."""


@post("/v1/credits/adjustments", guards=[WRITE], security=SECURITY, tags=["Credits"])
async def create_adjustment(
    data: JSONBody[NewAdjustment],
    mutation: NamedDependency[Mutation],
    corrections: NamedDependency[Corrections],
    redis: NamedDependency[RedisStore],
) -> ExactResponse[AdjustmentBody]:
    """Correct what a customer has: add credit, or take some."""
    if data.amount.micro > 0:
        return await _add(data, mutation, redis)
    if data.amount.micro < 0:
        return await _take(data, mutation, corrections)
    raise invalid_value("amount", "must not be zero")


async def _add(data: NewAdjustment, mutation: Mutation, redis: RedisStore) -> ExactResponse[AdjustmentBody]:
    so_far = await reading.read_if_it_answers(redis, mutation.environment_id, data.end_user_id)
    request = GrantRequest(
        amount_micro=data.amount.micro,
        source=adjusting.SOURCE,
        priority=data.priority,
        effective_at=mutation.now,
        expires_at=data.expires_at,
        paid=False,
        actor=mutation.actor,
        reason=data.reason,
        idempotency_key=mutation.key,
        kind="adjustment",
    )

    async def work(tx: Transaction) -> AdjustmentBody:
        figures = await reading.read_figures(tx, data.end_user_id)
        told = await adjusting.add(tx, figures.account_id, data.end_user_id, request, mutation.now)
        return AdjustmentBody(
            transaction_id=told.transaction_id,
            end_user_id=data.end_user_id,
            amount=data.amount,
            balance=amount_or_none(Credits, await reading.balance_after(tx, so_far, data.end_user_id)),
            reason=data.reason,
            credit_block_id=told.credit_block_id,
            expires_at=data.expires_at,
            adjusted_at=mutation.now,
        )

    return await mutation.run(data, work)


async def _take(data: NewAdjustment, mutation: Mutation, corrections: Corrections) -> ExactResponse[AdjustmentBody]:
    if data.expires_at is not None:
        raise invalid_value("expires_at", "belongs to credit that is added; leave it out where credit is taken")
    if -data.amount.micro > MAX_COST_MICRO:
        raise invalid_value("amount", f"may take {from_micro(MAX_COST_MICRO)} credits at once")
    order = Debit(
        order_id=corrections.orders.id_of(mutation.environment_id, mutation.route, mutation.key),
        actor=mutation.actor,
        reason=data.reason,
        idempotency_key=mutation.key,
        amount_micro=-data.amount.micro,
        allow_debt=data.allow_debt,
    )

    async def take() -> Posted:
        return require_carried_out(await corrections.orders.give(mutation.environment_id, data.end_user_id, order))

    async def answer(tx: Transaction, done: Posted) -> AdjustmentBody:
        audit.changed(tx, "customer", data.end_user_id, before=TotalBody(Credits(done.total_before_micro)))
        return show_taken(data, done)

    return await mutation.run_outside(data, take, answer)


@post("/v1/credits/overage-billings", guards=[WRITE], security=SECURITY, responses=PREVIEW, tags=["Credits"])
async def create_overage_billing(
    data: JSONBody[NewOverageBilling], mutation: NamedDependency[Mutation], corrections: NamedDependency[Corrections]
) -> ExactResponse[CorrectionBody]:
    """Close what a customer owes, because it is on an invoice now; or say how much that would be."""
    order = BillOverage(
        order_id=corrections.orders.id_of(mutation.environment_id, mutation.route, mutation.key),
        actor=mutation.actor,
        reason=data.reason,
        idempotency_key=mutation.key,
    )

    async def find() -> Owner:
        return await corrections.find_account(mutation.environment_id, data.end_user_id), data.end_user_id

    return await _order(Correcting(data, order, ("customer", data.end_user_id), find), mutation, corrections)


@post("/v1/credits/voids", guards=[WRITE], security=SECURITY, responses=PREVIEW, tags=["Credits"])
async def create_void(
    data: JSONBody[NewVoid],
    mutation: NamedDependency[Mutation],
    corrections: NamedDependency[Corrections],
) -> ExactResponse[CorrectionBody]:
    """Void a usage event or a grant, or say what that would do."""
    return await _void(data, mutation, corrections)


@post("/v1/usage/events/{event_id:str}/void", guards=[WRITE], security=SECURITY, responses=PREVIEW, tags=["Usage"])
async def void_event(
    data: JSONBody[NewEventVoid],
    event_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    corrections: NamedDependency[Corrections],
) -> ExactResponse[CorrectionBody]:
    """Void a usage event: its credit goes back to the blocks that it drew from."""
    asked = NewVoid(data.reason, event_id, dry_run=data.dry_run)
    return await _void(asked, mutation, corrections)


async def _void(data: NewVoid, mutation: Mutation, corrections: Corrections) -> ExactResponse[CorrectionBody]:
    order = _read_void(data, corrections, mutation)
    subject: tuple[SubjectKind, str] = ("credit_block", data.credit_block_id or "")
    if data.event_id:
        subject = ("usage_event", data.event_id)
    find = partial(corrections.find_owner, mutation.environment_id, order)
    return await _order(Correcting(data, order, subject, find), mutation, corrections)


def _read_void(data: NewVoid, corrections: Corrections, mutation: Mutation) -> VoidUsage | VoidGrant:
    """The order that the body stands for. Raises ServiceError for an id that is none."""
    if (data.event_id is None) == (data.credit_block_id is None):
        raise invalid_value("event_id", "or credit_block_id, exactly one of them, names what is voided")
    order_id = corrections.orders.id_of(mutation.environment_id, mutation.route, mutation.key)
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


async def _order(correcting: Correcting, mutation: Mutation, corrections: Corrections) -> ExactResponse[CorrectionBody]:
    """Give the order, or say what it would do."""
    asked, order = correcting.asked, correcting.order

    async def preview(tx: Transaction, owner: Owner) -> Unchanged:
        return Unchanged(show_preview(owner[1], await corrections.preview(tx, owner[0], order)))

    if asked.dry_run:
        return await mutation.run_outside(asked, correcting.find_owner, preview, status=200)

    async def carry_out() -> tuple[str, Posted]:
        _, end_user_id = await correcting.find_owner()
        done = await corrections.orders.give(mutation.environment_id, end_user_id, order)
        return end_user_id, require_carried_out(done)

    async def answer(tx: Transaction, done: tuple[str, Posted]) -> CorrectionBody:
        audit.changed(tx, *correcting.subject, before=TotalBody(Credits(done[1].total_before_micro)))
        return show_done(*done)

    return await mutation.run_outside(asked, carry_out, answer)


ROUTES = [create_adjustment, create_overage_billing, create_void, void_event]
