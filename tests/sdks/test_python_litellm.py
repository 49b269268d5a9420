"""The Python SDK's logger, called by the real LiteLLM: every token is charged once, whoever made the call and how."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.docs.blocks import blocks_of
from tests.flow.stack import drained
from tests.sdks.conftest import CREDITS, Shop

ENVIRONMENT = ".venv-integrations"
MAKE_SECONDS = 300
INTERPRETER = f"{ENVIRONMENT}/bin/python"
PROGRAM = Path(__file__).parent / "litellm_calls.py"
SAID = "outcome "
PLAIN = {"input": 10, "cached_input": 0, "cache_write": 0, "output": 20, "reasoning": 0}
"""What LiteLLM says of an answer that no model gave."""
WHOLE = {"input": 1500, "cached_input": 1000, "cache_write": 500, "output": 1100, "reasoning": 400}
FEATURES = {pool: f"{pool}_tokens" for pool in WHOLE}

pytestmark = [pytest.mark.timeout(MAKE_SECONDS + 120)]


class Program:
    """Makes the calls, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def make(self, what: str, user: str) -> Any:
        """What became of the call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, user]) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(SAID):
                return json.loads(line.removeprefix(SAID))
        raise AssertionError("the program ended")


def variables_of(repository: Path, shop: Shop) -> dict[str, str]:
    """The environment of programs that use LiteLLM; it asks nobody what models cost."""
    path = f"{repository}:{repository / 'sdks' / 'python' / 'src'}"
    return shop.variables | {"PYTHONPATH": path, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


@pytest.fixture(scope="module")
def program(repository: Path, shop: Shop) -> Iterator[Program]:
    """In LiteLLM's environment, made where it is not there."""
    target = f"{ENVIRONMENT}/requirements-integrations.installed"
    subprocess.run(["make", target], cwd=repository, check=True, timeout=MAKE_SECONDS, capture_output=True)  # noqa: S607
    variables = variables_of(repository, shop)
    command = [str(repository / INTERPRETER), str(PROGRAM)]
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Program(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


class Caller:
    """Makes calls, and sees what they were charged."""

    def __init__(self, program: Program, shop: Shop, session: aiohttp.ClientSession) -> None:
        self._program = program
        self._shop = shop
        self.core = shop.core(session)

    async def customer(self, credits_: int | None = None) -> str:
        """On the plan, or with so much credit and no plan."""
        user = f"user_{uuid4().hex[:8]}"
        if credits_ is None:
            body = {"end_user_id": user, "plan_variant_id": self._shop.plan_variant_id}
            await self.core.created("/v1/subscriptions", body)
        else:
            await self.core.created("/v1/customers", {"end_user_id": user})
            await self.core.created("/v1/credits/grants", {"end_user_id": user, "amount": credits_})
        return user

    async def make(self, what: str, user: str) -> Any:
        """What became of the call."""
        return await asyncio.to_thread(self._program.make, what, user)

    async def charged(self, user: str) -> dict[str, float]:
        """Units of each feature, once they are posted and nothing is reserved."""
        credits_ = await drained(self.core, user)
        assert credits_["reserved"] == 0
        answer = await self.core.get("/v1/usage", end_user_id=user, bucket="total")
        return {row["feature_key"]: row["units"] for row in answer.body["data"] if row["units"]}


@pytest.fixture
def caller(program: Program, shop: Shop, session: aiohttp.ClientSession) -> Caller:
    """On the shop."""
    return Caller(program, shop, session)


def units(pools: dict[str, int]) -> dict[str, int]:
    """By feature."""
    return {FEATURES[pool]: tokens for pool, tokens in pools.items() if tokens}


@pytest.mark.parametrize(
    ("what", "pools"),
    [
        ("sync", PLAIN),
        ("sync stream", None),
        ("async", PLAIN),
        ("async stream", None),
        ("every kind", WHOLE),
        ("cached", PLAIN),
        ("reserved", WHOLE),
        ("reserved stream", None),
    ],
)
async def test_every_token_is_charged_once(caller: Caller, what: str, pools: dict[str, int] | None) -> None:
    """In its pool. Of a stream LiteLLM counts what it saw."""
    user = await caller.customer()
    outcome = await caller.make(what, user)
    assert (outcome["error"], outcome["ended"] in {"", "success"}) == (None, True)
    assert pools is None or outcome["pools"] == pools
    assert sum(outcome["pools"].values()) > 0
    assert await caller.charged(user) == units(outcome["pools"])


async def test_a_call_whose_id_its_caller_chose_is_charged_each_time(caller: Caller) -> None:
    """LiteLLM's proxy takes the id from a header: who sends one always would pay once."""
    user = await caller.customer()
    outcome = await caller.make("two calls of one id", user)
    assert outcome["error"] is None
    assert await caller.charged(user) == units({pool: 2 * tokens for pool, tokens in PLAIN.items()})


async def test_an_answer_that_is_told_twice_is_charged_once(caller: Caller) -> None:
    """Its key is of the call and of the answer."""
    user = await caller.customer()
    await caller.make("one answer, told twice", user)
    assert await caller.charged(user) == units(WHOLE)


@pytest.mark.parametrize("what", ["failure", "reserved failure"])
async def test_a_call_that_fails_costs_nothing(caller: Caller, what: str) -> None:
    """And what was set aside for it is back."""
    user = await caller.customer()
    outcome = await caller.make(what, user)
    assert (outcome["error"], outcome["ended"]) == ("InternalServerError", "failure")
    assert await caller.charged(user) == {}
    assert (await drained(caller.core, user))["balance"] == CREDITS


async def test_who_is_poor_is_not_called_for(caller: Caller) -> None:
    """The most that the call may cost is not there, so no model is asked."""
    user = await caller.customer(credits_=15)
    outcome = await caller.make("reserved by who is poor", user)
    assert (outcome["error"], outcome["ended"]) == ("InsufficientCreditsError", "failure")
    assert await caller.charged(user) == {}


@pytest.mark.usefixtures("program")
async def test_the_page(caller: Caller, shop: Shop, repository: Path) -> None:
    """What it shows charges a call, though the process ends right after it."""
    user = await caller.customer()
    (block,) = [one.text for one in blocks_of("sdks/python/README.md") if "litellm.callbacks" in one.text]
    messages = [{"role": "user", "content": "Hello?"}]
    text = f"litellm.completion(model='gpt-4o', messages={messages}, mock_response='Hello', user={user!r})"
    process = await asyncio.create_subprocess_exec(
        *(str(repository / INTERPRETER), "-c", f"{block}\n{text}"), env=variables_of(repository, shop)
    )
    assert await process.wait() == 0
    assert await caller.charged(user) == units(PLAIN)
