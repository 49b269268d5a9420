"""The customers whom a worker has met lately: their names in Redis, and which plan snapshot each had when last seen."""

from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from app.wire import keys, scripts
from app.wire.scopes import Scope, allows
from app.wire.snapshot import ACCOUNT_FIELDS
from edge.auth import Principal
from edge.redis_link import pack

MAX_ACCOUNTS = 20_000
UNKNOWN_SNAPSHOT = b"?"
"""Named where nothing is known yet: no snapshot is called so, and the script answers the right name."""


class Account:
    """One customer. `snapshot_id` is a belief: it saves a round trip where it is right, and decides nothing.

    While Redis cannot be asked it refuses what it does not offer, where it was right at `decided_at`, not long ago.
    """

    __slots__ = (
        "decided_at",
        "end_user_id",
        "environment_id",
        "environment_ref",
        "frozen_at",
        "key",
        "may_enroll",
        "partition",
        "read_command",
        "ref",
        "snapshot_id",
        "stream",
        "used_key",
    )

    def __init__(self, environment_id: UUID, environment_ref: bytes, end_user_id: str, partitions: int) -> None:
        self.environment_id = environment_id
        self.environment_ref = environment_ref
        self.end_user_id = end_user_id
        self.ref = keys.account_ref(environment_ref, end_user_id)
        self.partition = keys.partition_of(self.ref, partitions)
        self.key = keys.account(self.partition, self.ref)
        self.stream = keys.stream(self.partition)
        self.used_key = keys.used(self.partition, self.ref)
        self.read_command = pack(b"HMGET", self.key, *ACCOUNT_FIELDS)
        self.snapshot_id = UNKNOWN_SNAPSHOT
        self.decided_at = 0
        self.may_enroll = False
        """Whether somebody asked for it who may record usage: who is unknown may be enrolled then."""
        self.frozen_at: int | None = None
        """Where the customer's test clock stood when last seen, another belief; None = it goes by the real time."""

    @property
    def gauge_keys(self) -> tuple[bytes, bytes]:
        """What is held of gauges, and when holders' time is over."""
        return keys.gauge(self.partition, self.ref), keys.gauge_due(self.partition, self.ref)

    def look_command(self, now_at: int, features: Iterable[str]) -> bytes:
        """Reads what `read_command` does and `resets_at`, and what is held of these gauges: [fields, units]."""
        head = (b"EVALSHA", scripts.LOOK.digest, 3, self.key, *self.gauge_keys, now_at, len(ACCOUNT_FIELDS) + 1)
        return pack(*head, *ACCOUNT_FIELDS, b"resets_at", *features)


class Accounts:
    """Those met last."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._known: OrderedDict[tuple[bytes, str], Account] = OrderedDict()

    def get(self, principal: Principal, end_user_id: str) -> Account:
        """The customer of that name, met before or not; says nothing of whether there is one."""
        account = self._known.get((principal.environment_ref, end_user_id))
        if account is None:
            account = self._meet(principal.environment_id, principal.environment_ref, end_user_id)
        if not account.may_enroll and allows(principal.scopes, Scope.USAGE_WRITE):
            account.may_enroll = True
        return account

    def find(self, ref: bytes) -> Account:
        """The customer of that ref, met before or not, whose usage was accepted."""
        environment_id, end_user_id = keys.parse_account_ref(ref)
        environment_ref = keys.environment_ref(environment_id)
        account = self._known.get((environment_ref, end_user_id)) or self._meet(
            environment_id, environment_ref, end_user_id
        )
        account.may_enroll = True
        return account

    def _meet(self, environment_id: UUID, environment_ref: bytes, end_user_id: str) -> Account:
        if len(self._known) >= MAX_ACCOUNTS:
            self._known.popitem(last=False)
        account = Account(environment_id, environment_ref, end_user_id, self._partitions)
        self._known[environment_ref, end_user_id] = account
        return account
