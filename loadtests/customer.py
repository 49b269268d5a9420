"""One customer with more credit than a run takes, whom the edge finds in Redis without core."""

import secrets
from typing import Any
from uuid import uuid4

from app.wire import key_digest, keys
from app.wire.agreement import Agreement
from app.wire.scopes import Scope
from app.wire.snapshot import ApiKeyRecord, encode_api_key
from loadtests.catalogue import COST_MICRO, Catalogue
from loadtests.measuring import WrongResult
from loadtests.settling import settled

END_USER_ID = "user_bench_0001"


class Customer:
    """The one customer: names, key, and what Redis should hold of it."""

    def __init__(self, redis: Any) -> None:  # noqa: ANN401 - redis-py types little
        self._redis = redis
        self.key_pepper = secrets.token_hex()
        self.catalogue = Catalogue()
        self.api_key = key_digest.make_key("sandbox", secrets.randbelow(62**key_digest.SECRET_LENGTH))
        self._digest = key_digest.digest(self.key_pepper.encode(), self.api_key)
        self.ref = self.catalogue.ref(END_USER_ID)
        self.partition = keys.partition_of(self.ref, Agreement().partitions)
        self.account = keys.account(self.partition, self.ref)
        self.stream = keys.stream(self.partition)

    def reset(self) -> None:
        """Leave nothing in Redis but what the edge has to know of the customer, with full credit."""
        scopes = frozenset({Scope.USAGE_WRITE, Scope.ENTITLEMENTS_READ})
        record = ApiKeyRecord(uuid4(), self.catalogue.environment_id, "sandbox", scopes)
        self._redis.flushall()
        self._redis.set(keys.AGREEMENT, Agreement().fingerprint())
        self._redis.set(keys.api_key(self._digest), encode_api_key(record))
        self._redis.set(keys.plan(self.catalogue.snapshot_id), self.catalogue.snapshot)
        self._redis.hset(self.account, mapping=self.catalogue.account_hash())

    def check_books(self, least: int, most: int) -> None:
        """So many events are in the stream, and each was paid once. Raises WrongResult."""
        entries, accepted_micro = settled(self._look)
        if not least <= entries <= most:
            raise WrongResult(f"{entries} events are in the stream, not {least} to {most}")
        if accepted_micro != entries * COST_MICRO:
            raise WrongResult(f"{entries} events are in the stream, and {accepted_micro} micro-credits were taken")

    def _look(self) -> tuple[int, int]:
        """(entries of the stream, what was taken), at one moment."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.xlen(self.stream)
        pipe.hget(self.account, "accepted")
        entries, accepted_micro = pipe.execute()
        return entries, int(accepted_micro)
