"""A backlog of usage in the streams, accepted by the product's own script, for the flusher to post."""

from typing import Any

from app.wire import keys, scripts
from app.wire.agreement import Agreement
from loadtests.accepting import KEY_PREFIX, accept_call
from loadtests.catalogue import Catalogue
from loadtests.measuring import WrongResult

PIPELINE_EVENTS = 1_000


class Backlog:
    """Customers of one environment and what was accepted of them."""

    def __init__(self, redis: Any, catalogue: Catalogue, accounts: int) -> None:  # noqa: ANN401 - redis-py types little
        self._redis = redis
        self.catalogue = catalogue
        self.end_user_ids = [f"user_bench_{number:06}" for number in range(accounts)]
        self._partitions = range(Agreement().partitions)
        self.events = 0
        """Accepted so far."""

    def load_accounts(self) -> None:
        """Put the accounts into Redis, as they are after their grant."""
        pipe = self._redis.pipeline(transaction=False)
        for end_user_id in self.end_user_ids:
            ref = self.catalogue.ref(end_user_id)
            account = keys.account(keys.partition_of(ref, len(self._partitions)), ref)
            pipe.hset(account, mapping=self.catalogue.account_hash())
        pipe.execute()

    def accept(self, count: int) -> None:
        """Take so many events in, one of each customer in turn. Raises WrongResult."""
        self._redis.script_load(scripts.ACCEPT.text)
        for start in range(0, count, PIPELINE_EVENTS):
            pipe = self._redis.pipeline(transaction=False)
            for _ in range(min(PIPELINE_EVENTS, count - start)):
                end_user_id = self.end_user_ids[self.events % len(self.end_user_ids)]
                pipe.evalsha(*accept_call(self.catalogue, end_user_id, f"{KEY_PREFIX}{self.events:012}"))
                self.events += 1
            refused = [answer for answer in pipe.execute() if answer[0] != b"ok"]
            if refused:
                raise WrongResult(f"the script refused {len(refused)} events, the first with {refused[0]}")

    def ends(self) -> dict[int, str]:
        """Where the streams end; see `ends_of_streams`."""
        return ends_of_streams(self._redis)


def ends_of_streams(redis: Any) -> dict[int, str]:  # noqa: ANN401 - redis-py types little
    """By partition, the id of the last entry of each stream that has one."""
    partitions = range(Agreement().partitions)
    pipe = redis.pipeline(transaction=False)
    for partition in partitions:
        pipe.xrevrange(keys.stream(partition), count=1)
    newest = zip(partitions, pipe.execute(), strict=True)
    return {partition: entries[0][0].decode() for partition, entries in newest if entries}
