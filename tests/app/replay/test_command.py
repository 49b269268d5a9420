"""`quotastack replay` from the command line: what it makes first, and how it fails."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from app.cli import main
from app.replay import catalogue
from app.replay.catalogue import ensure_catalogue, ensure_subscriptions
from app.replay.errors import ReplayError
from tests.app.replay.scripted import KEY, client_of, problem

VARIANT = {"plan_variant_id": "var_1", "key": "monthly"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small trace."""
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nnow,374,44\n")
    return path


def replay(file: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["replay", str(file), *options])


class Catalogue:
    """Core's side of it: makes everything once."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    async def answer(self, request: web.Request) -> web.Response:
        """201 the first time, then 409."""
        if request.method == "GET":
            return web.json_response({"data": [{"plan_variant_id": "var_0", "key": "yearly"}, VARIANT]})
        body = await request.json()
        name = f"{request.path} {body.get('key') or body['end_user_id']}"
        if name in self.made:
            return problem(409, "conflict")
        self.made[name] = body
        return web.json_response(VARIANT, status=201)


async def test_what_is_missing_is_made_once() -> None:
    """Two features at their prices, a plan with one variant, subscriptions; the second time it is all there."""
    core = Catalogue()
    async with client_of(core.answer) as client:
        for _ in range(2):
            told: list[int] = []
            variant_id = await ensure_catalogue(client)
            await ensure_subscriptions(client, variant_id, [f"user_{number}" for number in range(9)], told.append)
            assert (variant_id, sum(told)) == ("var_1", 9)
    assert list(core.made)[:4] == [
        "/v1/features input_tokens",
        "/v1/features output_tokens",
        "/v1/plans trace",
        "/v1/plans/trace/variants monthly",
    ]
    prices = [core.made[f"/v1/features {key}"]["price"] for key in ("input_tokens", "output_tokens")]
    assert prices == [{"kind": "per_unit", "amount": amount, "per": 1_000_000} for amount in (3, 15)]
    assert core.made["/v1/subscriptions user_8"] == {"end_user_id": "user_8", "plan_variant_id": "var_1"}


async def test_a_key_without_scopes_is_told() -> None:
    """What the API says, in one line."""

    async def answer(_: web.Request) -> web.Response:
        return problem(403, "missing_scope")

    async with client_of(answer) as client:
        with pytest.raises(ReplayError, match=r"POST /v1/features was answered with 403: missing_scope"):
            await ensure_catalogue(client)


@pytest.mark.parametrize(
    ("base_url", "key", "words"),
    [
        ("http://127.0.0.1:1", KEY, "POST http://127.0.0.1:1/v1/features gave no answer"),
        ("127.0.0.1:8000", KEY, "is no base address"),
        ("http://127.0.0.1:8000/?a=b", KEY, "is no base address"),
        ("http://127.0.0.1:1", "two\nlines", "this is no API key"),
    ],
)
def test_failing_is_status_1_and_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, base_url: str, key: str, words: str
) -> None:
    """An address where nobody answers, or that is none; a key that cannot be one."""
    monkeypatch.setattr(catalogue, "PATIENCE_SECONDS", 0)
    result = replay(file, "--base-url", base_url, "--key", key)
    assert result.exit_code == 1
    assert result.output.startswith("quotastack: ")
    assert result.output.count("\n") == 1
    assert words in result.output


def test_a_file_is_looked_at_before_anything_is_sent(file: Path) -> None:
    """Nothing of a file that is wrong in its last line reaches the ledger."""
    with file.open("a") as content:
        content.write("now,374,\n")
    result = replay(file, "--base-url", "http://127.0.0.1:1", "--key", KEY)
    assert result.exit_code == 1
    assert result.output == f"quotastack: {file}: line 3: GeneratedTokens is ''; it must be a whole number of tokens\n"


@pytest.mark.parametrize("options", [("--batch-size", "1001"), ("--batch-size", "0"), ("--limit", "0")])
def test_bounds_of_the_options(file: Path, options: tuple[str, str]) -> None:
    """Not more than the API takes, and not nothing."""
    result = replay(file, "--base-url", "http://127.0.0.1:1", "--key", KEY, *options)
    assert result.exit_code == 2
