"""The receiver that stands for customers' servers: it behaves as told, sees who signed, and forgets nothing."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.io.outbound import Delivery, Failure, Session, open_guarded_session, post_webhook
from app.rules.addresses import read_networks
from app.rules.signature import show_secret, sign
from loadtests.receiver import Behaviour, Ending, Endpoint
from loadtests.receiving import RunningReceiver, running_receiver

SECRET, OTHER = b"s" * 32, b"o" * 32
BODY = b'{"type":"credits.low","timestamp":"2027-01-01T00:00:01Z","end_user_id":"user_1","sequence":7,"data":{}}'


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """One that gives up soon."""
    async with open_guarded_session(read_networks("127.0.0.0/8"), total_seconds=0.5) as opened:
        yield opened


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[RunningReceiver]:
    """A process of the test's own."""
    with running_receiver(tmp_path) as running:
        yield running


async def post(session: Session, url: str, *secrets: bytes) -> Delivery:
    """Send what all tests send, signed so."""
    at = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign(secrets, "evt_1", at, BODY),
    }
    return await post_webhook(session, url, headers, BODY)


async def test_what_came_is_remembered(receiver: RunningReceiver, session: Session) -> None:
    """With all that a test may want to compare, in the order in which it came."""
    assert (await post(session, receiver.url("/a"), SECRET)).status == 200
    assert (await post(session, receiver.url("/b"), SECRET)).status == 200
    first, second = receiver.received()
    assert (first.path, first.id, first.end_user_id, first.sequence, first.type) == (
        "/a",
        "evt_1",
        "user_1",
        7,
        "credits.low",
    )
    assert first.told_at == 1_798_761_601_000_000
    assert first.at <= second.at
    assert receiver.received(since=1) == [second]
    assert (receiver.counts().received, receiver.counts().forged) == (2, 0)


async def test_signatures_are_checked(receiver: RunningReceiver, session: Session) -> None:
    """Any of an endpoint's secrets is enough, while none of them is refused and counted."""
    receiver.tell({"/a": Endpoint([show_secret(SECRET)]), "/b": Endpoint([show_secret(SECRET), show_secret(OTHER)])})
    answers = [
        await post(session, receiver.url("/a"), SECRET),
        await post(session, receiver.url("/a"), OTHER),
        await post(session, receiver.url("/b"), OTHER),
        await post(session, receiver.url("/a"), OTHER, SECRET),
    ]
    assert [answer.status for answer in answers] == [200, 401, 200, 200]
    assert [one.is_genuine for one in receiver.received()] == [True, False, True, True]
    assert receiver.counts().forged == 1


@pytest.mark.parametrize(
    ("behaviour", "status", "failure"),
    [
        (Behaviour(410), 410, None),
        (Behaviour(delay_seconds=0.1), 200, None),
        (Behaviour(ending=Ending.CUT), None, Failure.CUT_OFF),
        (Behaviour(ending=Ending.NEVER), None, Failure.TIMED_OUT),
        (Behaviour(delay_seconds=5), None, Failure.TIMED_OUT),
    ],
    ids=["gone", "slow", "cut", "never", "late"],
)
async def test_an_endpoint_behaves_as_told(
    receiver: RunningReceiver, session: Session, behaviour: Behaviour, status: int | None, failure: Failure | None
) -> None:
    """And the others do not; what it took without answering it took."""
    receiver.tell({"/a": Endpoint(behaviour=behaviour)})
    delivery = await post(session, receiver.url("/a"))
    assert (delivery.status, delivery.failure) == (status, failure)
    assert (await post(session, receiver.url("/b"))).status == 200
    assert [one.path for one in receiver.received()] == ["/a", "/b"]


async def test_for_some_requests_only(receiver: RunningReceiver, session: Session) -> None:
    """Then the endpoint is well again; until then it says when to come back."""
    receiver.tell({"/a": Endpoint(behaviour=Behaviour(503, retry_after="3", times=2))})
    answers = [await post(session, receiver.url("/a")) for _ in range(4)]
    assert [(answer.status, answer.retry_after_seconds) for answer in answers] == [
        (503, 3),
        (503, 3),
        (200, None),
        (200, None),
    ]
    assert [one.status for one in receiver.received()] == [503, 503, 200, 200]
