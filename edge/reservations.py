"""Reservations that a worker has met lately: where each is, and what was reserved, which seldom changes (wire.held).

Where this worker has not met one, its id alone says in which partition Redis has it; what Redis does not have, core
brings.
"""

from collections import OrderedDict
from uuid import UUID

import msgspec

from app.wire import ids, keys
from app.wire.codes import Code
from app.wire.held import WHAT_IT_IS, Facts, HeldState, Opened, Place, read_opened
from edge.accounts import Account, Accounts
from edge.auth import Principal
from edge.core_client import CoreClient
from edge.redis import Redis
from edge.refusals import Refusal

PREFIX = "rsv"
MAX_RESERVATIONS = 20_000


class Reservation(msgspec.Struct, frozen=True):
    """One reservation, open or not: nothing here says whether it has ended."""

    reservation_id: UUID
    account: Account
    opened: Opened

    @property
    def facts(self) -> Facts:
        """What was reserved."""
        return self.opened.facts

    @property
    def shown_id(self) -> str:
        """As clients see it."""
        return ids.show(PREFIX, self.reservation_id)


class Reservations:
    """Those met last."""

    def __init__(self, redis: Redis, core: CoreClient, accounts: Accounts, partitions: int) -> None:
        self._redis = redis
        self._core = core
        self._accounts = accounts
        self._partitions = partitions
        self._known: OrderedDict[tuple[bytes, UUID], Reservation] = OrderedDict()

    def parse(self, text: bytes) -> UUID:
        """The id in a path. Raises Refusal."""
        try:
            reservation_id = ids.parse(PREFIX, text.decode("latin-1"))
        except ids.MalformedId:
            raise unknown_reservation() from None
        if ids.partition_in(reservation_id) >= self._partitions:
            raise unknown_reservation()
        return reservation_id

    def get(self, principal: Principal, reservation_id: UUID) -> Reservation | None:
        """The reservation of that id, where this worker knows it."""
        return self._known.get((principal.environment_ref, reservation_id))

    def remember(self, reservation: Reservation) -> None:
        """For the next who asks."""
        if len(self._known) >= MAX_RESERVATIONS:
            self._known.popitem(last=False)
        self._known[reservation.account.environment_ref, reservation.reservation_id] = reservation

    async def find(self, principal: Principal, reservation_id: UUID) -> Reservation:
        """The reservation of that id, looked up. Raises Refusal."""
        found = await self._read(principal, reservation_id)
        if found is None:
            await self.load(principal.environment_id, reservation_id)
            found = await self._read(principal, reservation_id)
        if found is None:
            raise Refusal(Code.ACCOUNT_UNAVAILABLE, "The reservation is here and gone again; try again.")
        self.remember(found)
        return found

    async def load(self, environment_id: UUID, reservation_id: UUID) -> None:
        """Redis does not have it: core brings it. Raises Refusal."""
        status = await self._core.load_reservation(environment_id, reservation_id)
        if status == "unknown":
            raise unknown_reservation()
        if status != "loaded":
            raise Refusal(Code.ACCOUNT_LOADING, "The reservation is being loaded; try again.")

    async def _read(self, principal: Principal, reservation_id: UUID) -> Reservation | None:
        partition = ids.partition_in(reservation_id)
        member = keys.due_member(principal.environment_ref, reservation_id)
        state, ref, facts, reserved = await self._redis.ask(
            b"HMGET", keys.reservation_of(partition, member), *WHAT_IT_IS
        )
        if state == HeldState.REFUSED.encode():
            raise unknown_reservation()
        if state is None or not ref.startswith(principal.environment_ref):
            return None
        _, end_user_id = keys.parse_account_ref(ref)
        account = self._accounts.get(principal, end_user_id)
        opened = read_opened(Place(partition, ref, member), facts, reserved)
        return Reservation(reservation_id, account, opened)


def unknown_reservation() -> Refusal:
    """No reservation of the environment has the id."""
    return Refusal(Code.UNKNOWN_RESERVATION, "There is no reservation with this id in the key's environment.")
