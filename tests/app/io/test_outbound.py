"""What goes out to strangers, and what they can do to it. Real sockets on the loopback."""

from app.io.outbound import Session, post_webhook
from tests.app.io.stranger import BODY, OK, answering, outcome, stranger


async def test_what_is_sent(session: Session) -> None:
    """The headers and the bytes that were given, as JSON, and nothing of the machine that they come from."""
    async with stranger(answering(OK)) as server:
        delivery = await post_webhook(
            session, server.url() + "?tenant=7", {"webhook-id": "evt_1", "webhook-signature": "v1,x v1,y"}, BODY
        )
        assert outcome(delivery) == (200, b"ok", None)
    ((head, body),) = server.requests
    lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ") for line in lines[1:] if line)
    assert lines[0] == "POST /hook?tenant=7 HTTP/1.1"
    assert body == BODY
    assert fields == {
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": str(len(BODY)),
        "content-type": "application/json",
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "quotastack-webhooks",
        "webhook-id": "evt_1",
        "webhook-signature": "v1,x v1,y",
    }
