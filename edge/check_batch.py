"""`POST /v1/entitlements/check`: many checks, each on its own; results in their order.

All of them are sent in one turn of the loop, so where the accounts are loaded it is one round trip.
"""

import msgspec

from app.wire.codes import Code
from edge.accounts import Account
from edge.auth import Principal
from edge.checks import Check, CheckAnswer
from edge.decoding import CheckQuestion, read_check_batch, read_check_of_batch, require_json
from edge.exchange import Exchange, as_refusal
from edge.refusals import Refusal
from edge.services import Services

_encoder = msgspec.json.Encoder(decimal_format="number")


class CheckError(msgspec.Struct):
    """A check that could not be answered."""

    allowed: None
    code: Code
    detail: str


_PENDING = CheckError(None, Code.INTERNAL_ERROR, "")


class CheckBatchAnswer(msgspec.Struct):
    """The body of a 200."""

    results: list[CheckAnswer | CheckError]


def check_batch(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Answer a batch of checks. Raises Refusal where it is none."""
    require_json(exchange)
    CheckBatch(services, exchange, principal, read_check_batch(exchange.body)).send()


class CheckBatch:
    """One batch under way: answered when its last check is."""

    def __init__(self, services: Services, exchange: Exchange, principal: Principal, checks: list[msgspec.Raw]) -> None:
        self._services = services
        self._exchange = exchange
        self._principal = principal
        self._checks = checks
        self._results: list[CheckAnswer | CheckError] = [_PENDING] * len(checks)
        self._left = len(checks)
        self._passing: list[Refusal] = []

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def send(self) -> None:
        """Send all of them; one that cannot be read never harms the others."""
        for index, sent in enumerate(self._checks):
            try:
                question = read_check_of_batch(sent)
                account = self._services.accounts.get(self._principal, question.end_user_id)
                PlacedCheck(self._services, account, question, self, index).send()
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its answer
                self.refuse(index, as_refusal(error, self.request_id))

    def refuse(self, index: int, refusal: Refusal) -> None:
        """Note that a check cannot be answered."""
        if refusal.is_passing:
            self._passing.append(refusal)
        self.settle(index, CheckError(None, refusal.code, refusal.detail))

    def settle(self, index: int, result: CheckAnswer | CheckError) -> None:
        """Note a check's result; the last one answers the batch."""
        self._results[index] = result
        self._left -= 1
        if self._left:
            return
        if len(self._passing) == len(self._results):  # nothing was answered: the whole may be sent again
            self._exchange.refuse(self._passing[0])
        else:
            self._exchange.respond(200, _encoder.encode(CheckBatchAnswer(self._results)))


class PlacedCheck(Check):
    """One check in its place of a batch."""

    __slots__ = ("_batch", "_index")

    def __init__(
        self, services: Services, account: Account, question: CheckQuestion, batch: CheckBatch, index: int
    ) -> None:
        super().__init__(services, account, question)
        self._batch = batch
        self._index = index

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._batch.request_id

    def answered(self, answer: CheckAnswer) -> None:
        """Yes or no."""
        self._batch.settle(self._index, answer)

    def unanswered(self, refusal: Refusal) -> None:
        """Neither; the others are answered all the same."""
        self._batch.refuse(self._index, refusal)
