"""The same programs over HTTP: usage at the edge, the rest at core, and whoever is in the way stops or kills processes.

A client as it should be: it repeats a request under its key until it is answered. What an action did is kept with the
moment at which the product says that it happened, for the reference to repeat afterwards.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import aiohttp

from app.rules.moments import to_at
from tests.flow.stack import Answer as HttpAnswer
from tests.flow.stack import Stack, Tenant
from tests.ledger_model.actions import Action, Grant, KillEdge, Start, Stop, Use, VoidBlock, VoidEvent
from tests.ledger_model.reference import DONE, NEVER, Answer, Block, Outcome, Reference
from tests.waiting import wait_until_async

PATIENCE_SECONDS = 60
"""Far more than a flusher that was killed is missed."""
BEGIN_LIFE = timedelta(seconds=1.5)
"""Of credit that is to expire within the program: longer than the grant's own request takes."""
UNKNOWN = "0" * 32


@dataclass(frozen=True)
class Done:
    """What an action did, and between which moments: they are one where the product says when."""

    who: str
    began_at: int
    ended_at: int
    replay: Callable[[Reference, int], None]
    """Does the same to the reference, and compares the answers: AssertionError where they differ."""
    event_id: str | None = None
    """Usage that was accepted: the ledger says when."""


class Roles:
    """The processes that programs stop, kill and start; they have them in common. `reached` counts what was done."""

    def __init__(self, stack: Stack, reached: Counter[str]) -> None:
        self._stack, self.reached = stack, reached
        self._lock = asyncio.Lock()
        self._is_up = True

    async def end_flusher(self, how: str) -> None:
        """SIGTERM, or kill -9."""
        async with self._lock:
            if self._is_up:
                await (self._stack.kill("flusher") if how == "kill" else self._stop())
                self.reached["flusher killed" if how == "kill" else "flusher stopped"] += 1
                self._is_up = False

    async def _stop(self) -> None:
        flusher = self._stack.roles["flusher"]
        flusher.ask_to_stop()

        async def is_gone() -> bool:
            return flusher.has_ended()

        await wait_until_async(is_gone, PATIENCE_SECONDS, "the end of the flusher")
        # One that has only begun to start is ended by the signal itself.
        assert flusher.status in {0, -signal.SIGTERM}, flusher.log_path.read_text()[-2000:]

    async def start_flusher(self) -> None:
        """Start it where it does not run."""
        async with self._lock:
            if not self._is_up:
                self._stack.start("flusher")
                self._is_up = True

    async def kill_edge(self) -> None:
        """Kill -9, and a new one at once."""
        async with self._lock:
            await self._stack.kill("edge")
            self._stack.start("edge")
            self.reached["edge killed"] += 1


class Http:
    """One program's customers. `hurried`: some of their credit expires while the program runs."""

    def __init__(self, tenant: Tenant, roles: Roles, prefix: str, *, hurried: bool) -> None:
        self.tenant, self._roles, self._prefix, self._hurried = tenant, roles, prefix, hurried
        self.done: list[Done] = []
        self.blocks: dict[str, str] = {}
        """Ids by name."""
        self.events: dict[tuple[str, str], str] = {}
        """Ids by customer and key."""
        self.last_expiry_at = 0
        """Of what expires while the program runs."""

    def end_user(self, who: str) -> str:
        """The customer's id."""
        return f"{self._prefix}-{who}"

    async def take(self, action: Action) -> bool:
        """Do it; False where no request stands for it."""
        match action:
            case Use() if action.cost:
                await self._use(action)
            case Grant():
                await self._grant(action)
            case VoidEvent():
                event_id = self.events.get((action.who, action.key), f"evt_{UNKNOWN}")
                await self._void(action, {"event_id": event_id})
            case VoidBlock():
                block_id = self.blocks.get(action.name, f"blk_{UNKNOWN}")
                await self._void(action, {"credit_block_id": block_id, "allow_debt": action.allow_debt})
            case Stop():
                await self._roles.end_flusher(action.how)
            case Start():
                await self._roles.start_flusher()
            case KillEdge():
                await self._roles.kill_edge()
            case _:
                return False
        return True

    async def _use(self, action: Use) -> None:
        body = {"end_user_id": self.end_user(action.who), "feature_key": action.feature, "units": action.cost}
        body |= {"idempotency_key": action.key, "enforce": action.enforce}
        began_at = _now_at()
        answer = await self.answered(lambda: self.tenant.edge.post("/v1/usage", body))
        if answer.status == HTTPStatus.PAYMENT_REQUIRED:
            self._roles.reached["refused for credit"] += 1
            told = answer.body["context"]
            refused = Answer(accepted=False, cost=told["cost"], available=told["balance"])
            self.done.append(Done(action.who, began_at, _now_at(), _refusal(action, refused)))
            return
        assert answer.status == HTTPStatus.ACCEPTED, answer.body
        told = answer.body
        accepted = Answer(accepted=True, cost=told["cost"], available=told["balance"], overage=told["overage"])
        self.events[action.who, action.key] = told["event_id"]

        def replay(reference: Reference, at: int) -> None:
            assert action.on_reference(reference, at) == accepted, action

        self.done.append(Done(action.who, began_at, _now_at(), replay, told["event_id"]))

    async def _grant(self, action: Grant) -> None:
        expires_at = self._expiry(action.lives)
        body = {"end_user_id": self.end_user(action.who), "amount": action.amount, "priority": action.priority}
        body |= {"source": action.source, "expires_at": expires_at and expires_at.isoformat()}
        answer = await self.answered(
            lambda: self.tenant.core.post("/v1/credits/grants", body, Idempotency_Key=self._key(action.name))
        )
        assert answer.status == HTTPStatus.CREATED, answer.body
        self.blocks[action.name] = answer.body["credit_block_id"]
        granted_at, until = moment_of(answer.body["granted_at"]), NEVER if expires_at is None else to_at(expires_at)

        def replay(reference: Reference, _: int) -> None:
            block = Block(action.name, action.amount, action.priority, action.is_paid, granted_at, until)
            reference.grant(action.who, block, action.source)
            reference.learn(action.who)

        self.done.append(Done(action.who, granted_at, granted_at, replay))

    def _expiry(self, lives: int | None) -> datetime | None:
        if lives is None:
            return None
        if not self._hurried:
            return datetime.now(UTC) + timedelta(hours=lives)
        expires_at = datetime.now(UTC) + BEGIN_LIFE + timedelta(seconds=lives / 20)
        self.last_expiry_at = max(self.last_expiry_at, to_at(expires_at))
        return expires_at

    async def _void(self, action: VoidEvent | VoidBlock, target: dict[str, Any]) -> None:
        if isinstance(action, VoidEvent) and (action.who, action.key) in self.events:
            await self._posted(target["event_id"])
        body, began_at = {"reason": action.order, **target}, _now_at()
        answer = await self.answered(
            lambda: self.tenant.core.post("/v1/credits/voids", body, Idempotency_Key=self._key(action.order))
        )
        outcome = _outcome(answer)
        if answer.status == HTTPStatus.NOT_FOUND:  # core gives no order for what is not there

            def note(reference: Reference, _: int) -> None:
                reference.customers[action.who].outcomes[action.order] = outcome

            self.done.append(Done(action.who, began_at, _now_at(), note))
            return
        self._note_refund(action, answer.body)

        def replay(reference: Reference, at: int) -> None:
            action.on_reference(reference, at)
            assert reference.customers[action.who].outcomes[action.order] == outcome, action

        posted_at = moment_of(answer.body["posted_at"]) if outcome == DONE else None
        self.done.append(Done(action.who, posted_at or began_at, posted_at or _now_at(), replay))

    def _note_refund(self, action: VoidEvent | VoidBlock, body: Any) -> None:
        known = {block_id.removeprefix("blk_") for block_id in self.blocks.values()}
        for line in body.get("lines", []):
            block_id = line["account"].removeprefix("block:").replace("-", "")
            if line["account"].startswith("block:") and block_id not in known:
                self.blocks[f"refund by {action.order}"] = f"blk_{block_id}"

    async def _posted(self, event_id: str) -> None:
        async def is_posted() -> bool:
            answer = await self.answered(lambda: self.tenant.core.get(f"/v1/usage/events/{event_id}"))
            return answer.body["status"] == "posted"

        await self._roles.start_flusher()
        await wait_until_async(is_posted, PATIENCE_SECONDS, f"{event_id} to be posted")

    def _key(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    async def answered(self, send: Callable[[], Awaitable[HttpAnswer]]) -> HttpAnswer:
        """An answer that is one: sent again while the edge is down or the flusher is missed, which is then started."""

        async def answer() -> HttpAnswer | None:
            try:
                found = await send()
            except (aiohttp.ClientError, TimeoutError):
                return None
            is_spooled = found.status == HTTPStatus.ACCEPTED and "durability" in found.body
            if is_spooled or found.status == HTTPStatus.SERVICE_UNAVAILABLE:
                await self._roles.start_flusher()
                return None
            is_under_way = found.status == HTTPStatus.CONFLICT and found.body["code"] == "idempotency_key_in_flight"
            return None if is_under_way else found

        return await wait_until_async(answer, PATIENCE_SECONDS, f"an answer to {self._prefix}")


def _refusal(action: Use, refused: Answer) -> Callable[[Reference, int], None]:
    """It leaves no entry, and so nothing in the reference but the answer."""

    def replay(reference: Reference, at: int) -> None:
        customer = reference.customers[action.who]
        expected = Answer(accepted=False, cost=action.cost, available=customer.available(at))
        assert refused == customer.answers.get(action.key, expected), action
        assert refused.available < refused.cost, action
        customer.answers[action.key] = refused

    return replay


def _outcome(answer: HttpAnswer) -> Outcome:
    if answer.status == HTTPStatus.CREATED:
        return DONE
    assert answer.status in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}, answer.body
    return answer.body["code"], answer.body.get("context", {}).get("spent", 0)


def moment_of(text: str) -> int:
    """A moment as the API shows it, in microseconds."""
    return to_at(datetime.fromisoformat(text))


def _now_at() -> int:
    return to_at(datetime.now(UTC))
