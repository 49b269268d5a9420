"""The whole integration, as the README prints it: in two languages, on a screen, and it charges once."""

import textwrap
from pathlib import Path

import pytest

from tests.docs.blocks import Block, parse
from tests.docs.conftest import call, newcomer, variables_of
from tests.docs.reader import reading
from tests.floors.source import ROOT
from tests.flow.stack import Stack

MOST_LINES = 15
PRINTED = """\
// Check entitlement before each request
const { allowed, balance } = await quotastack
  .checkEntitlement("user_123", "ai_request")

if (!allowed) {
  return { error: "upgrade_required" }
}

// Process the request...
const result = await generateResponse(prompt)

// Record usage — credits deducted async
await quotastack.recordUsage("user_123", {
  feature_key: "ai_request",
  units: 1,
  idempotency_key: requestId
})
"""
"""What the product's page promises."""
PRODUCT = {
    "ts": """
{setup}
const generateResponse = async (prompt: string) => prompt.toUpperCase();
async function answer(prompt: string, requestId: string) {{
{handler}
return result;
}}
for (const _ of [1, 2]) console.log(JSON.stringify(await answer("hello", "request-7")));
""",
    "python": """
{setup}
def generate_response(prompt):
    return prompt.upper()
def answer(prompt, request_id):
{handler}
    return result
for _ in range(2):
    print(answer("hello", "request-7"))
""",
}
"""What a product has around it."""
SECTION = (ROOT / "README.md").read_text().partition("\n## Integrate it\n")[2].partition("\n## ")[0]
PARTS = {
    language: [block.text for block in parse("README.md", SECTION) if block.language == language]
    for language in PRODUCT
}
"""Of each language the setup and the handler."""


def test_it_is_what_was_promised() -> None:
    """The handler, to the letter."""
    assert PARTS["ts"][1] == PRINTED


@pytest.mark.parametrize("language", PRODUCT)
def test_it_is_short(language: str) -> None:
    """Lines that are neither empty nor a comment, the setup with them."""
    lines = [line for part in PARTS[language] for line in part.splitlines()]
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(("//", "#"))]
    assert len(code) <= MOST_LINES


@pytest.mark.timeout(300)  # whoever comes first builds the SDK
@pytest.mark.parametrize(
    ("language", "refused", "answered"),
    [
        ("ts", '{"error":"upgrade_required"}', '"HELLO"'),
        ("python", "{'error': 'upgrade_required'}", "HELLO"),
    ],
)
def test_it_charges_once(stack: Stack, tmp_path: Path, language: str, refused: str, answered: str) -> None:
    """Two identical requests are one charge; who may not use the feature comes to a paywall."""
    told = newcomer(stack)
    setup, handler = PARTS[language]
    text = PRODUCT[language].format(setup=setup, handler=textwrap.indent(handler, "    "))
    whole = Block("README.md", 1, language, {}, text)

    def printed(name: str) -> list[str]:
        (tmp_path / name).mkdir()
        with reading([whole], tmp_path / name, variables_of(stack, told, tmp_path)) as reader:
            return reader.outputs()[0].splitlines()

    call(told, "PUT", "/v1/customers/user_123/overrides/ai_request", {"included": False})
    assert printed("refused") == [refused] * 2
    call(told, "DELETE", "/v1/customers/user_123/overrides/ai_request")
    assert printed("answered") == [answered] * 2
    assert call(told, "GET", "/v1/customers/user_123/credits")["balance"] == 50_000 - 1
