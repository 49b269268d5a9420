"""The books at the end of a run: what was acknowledged is in the ledger, once, and nothing else is."""

import asyncio
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from urllib.parse import quote, urlencode

import msgspec

from app.replay.parallel import for_each
from loadtests.load.book import Book, Contradiction, Entry, Event, Total, differences
from loadtests.load.client import Api, NoAnswer, pages, until
from loadtests.load.judging import Wrong, read

MAX_SHOWN = 20
"""Differences that are told one by one."""
DECIDED: Mapping[int, bool] = {HTTPStatus.ACCEPTED: True, HTTPStatus.OK: True, HTTPStatus.PAYMENT_REQUIRED: False}
"""By status; 200 answers a commit."""


class Audit(msgspec.Struct, frozen=True):
    """What the comparison found."""

    acknowledged: int
    """Events."""
    customers: int
    asked_again: int
    """Events whose answer nobody had when the load ended."""
    differences: list[str]
    verified: bool | None
    """What `quotastack ledger verify` said; None where the ledger is not ours to read."""

    @property
    def is_right(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and self.verified is not False


async def find_differences(core: Api, edge: Api, book: Book, feature_keys: Iterable[str]) -> list[str]:
    """Ask again what was not answered, wait until everything is posted, and compare; in words, what is not right."""
    try:
        await ask_again(edge, book)
        await drain(core, {end_user_id for end_user_id, _ in book.totals})
        found = await read_ledger(core, feature_keys)
    except (Wrong, NoAnswer, Contradiction) as error:
        return [str(error)]
    different = list(differences(book.totals, found))
    more = len(different) - MAX_SHOWN
    return [*different[:MAX_SHOWN], *([f"and {more} differences more"] if more > 0 else [])]


async def ask_again(edge: Api, book: Book) -> None:
    """Send what was not answered until it is, as its client would. Raises Wrong, NoAnswer or Contradiction."""

    async def ask(event: Event) -> None:
        answer = await edge.send("POST", event.path, event.body())
        is_accepted = DECIDED.get(answer.status)
        if is_accepted is None:
            read(answer, HTTPStatus.ACCEPTED)
        else:
            book.decide(event, is_accepted=is_accepted)

    await for_each(book.unanswered, ask)


async def drain(core: Api, end_user_ids: Iterable[str]) -> None:
    """Wait until nothing of these customers is pending. Raises Wrong or NoAnswer."""

    async def wait(end_user_id: str) -> None:
        path = f"/v1/customers/{quote(end_user_id, safe='')}/credits"

        async def is_posted() -> bool:
            return read(await core.send("GET", path), HTTPStatus.OK)["pending"] == 0

        await until(is_posted, f"the usage of {end_user_id} to be posted")

    await for_each(end_user_ids, wait)


async def read_ledger(core: Api, feature_keys: Iterable[str]) -> Mapping[Entry, Total]:
    """Events and units of every customer by feature, as the ledger has them. Raises Wrong or NoAnswer."""
    queries = [urlencode({"feature_key": key, "bucket": "total"}) for key in feature_keys]
    lists = await asyncio.gather(*[pages(core, f"/v1/usage?{query}") for query in queries])
    rows = [row for rows in lists for row in rows]
    return {(row["end_user_id"], row["feature_key"]): Total(row["events"], row["units"]) for row in rows}
