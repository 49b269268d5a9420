"""sdks/python/README.md: its blocks, with what a product has around them, do what they say."""

import textwrap
from pathlib import Path

from tests.docs.blocks import Block, blocks_of
from tests.docs.conftest import call, newcomer, variables_of
from tests.docs.reader import reading
from tests.flow.stack import Stack

PAGE = "sdks/python/README.md"
PRODUCT = """
from types import SimpleNamespace

user, prompt, request_id, secret, secret_before = "user_123", "hello", "request-2", "whsec_MQ==", "whsec_Mg=="
response = SimpleNamespace(usage={{"prompt_tokens": 1200, "completion_tokens": 300}})
request = SimpleNamespace(body=b"{{}}", headers={{}})
generate_response, alert = str.upper, print
model = lambda prompt: [SimpleNamespace(tokens_so_far=10), SimpleNamespace(tokens_so_far=20)]

{integration}
print(answer("user_123", "hello", "request-1"))

{modes}
{spool}
def stream():
{reservation}
print(len(list(stream())))

{tokens}
def receive():
{webhook}
print(receive(), quotastack.flush().waiting)
quotastack.close()
"""
SAID = ["HELLO", "2", "400 0"]
FEATURES = ("tokens", "input_tokens", "cached_input_tokens", "output_tokens")
"""Besides `ai_request`, which is sold already."""


def product(folder: Path) -> str:
    """One program of all blocks; those that return or yield stand in a function."""
    parts = [block.text for block in blocks_of(PAGE) if block.language == "python"]
    integration, modes, spool, reservation, tokens, webhook, *_ = parts  # those in frameworks: tests/sdks
    return PRODUCT.format(
        integration=integration,
        modes=modes,
        spool=spool.replace("/var/lib/shop", str(folder)),
        reservation=textwrap.indent(reservation, "    "),
        tokens=tokens,
        webhook=textwrap.indent(webhook, "    "),
    )


def test_its_blocks_run(stack: Stack, tmp_path: Path) -> None:
    """One after the other; what was streamed and counted is charged, and an unsigned webhook is refused."""
    told = newcomer(stack)
    for key in FEATURES:
        price = {"kind": "per_unit", "amount": 1}
        call(told, "POST", "/v1/features", {"key": key, "name": key, "price": price})
        call(told, "PUT", f"/v1/customers/user_123/overrides/{key}", {"included": True})
    whole = Block(PAGE, 1, "python", {}, product(tmp_path))
    with reading([whole], tmp_path, variables_of(stack, told, tmp_path)) as reader:
        assert reader.outputs()[0].splitlines() == SAID
    charged = 1 + 20 + 1200 + 300
    assert call(told, "GET", "/v1/customers/user_123/credits")["balance"] == 50_000 - charged
