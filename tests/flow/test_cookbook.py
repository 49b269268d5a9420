"""The scripts of the cookbook do what they say, as a reader would run them; and again, beside what they left."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.flow.stack import SECRETS, Tenant

SHARED = {"http_client.py", "sandbox_clock.py"}
SAID = {
    "free_tier_with_paywall.py": [
        "message 5 answered, 0 left",
        "paywall: insufficient_credits",
        "paywall.plus is active, 500 messages left",
        "so far Ada has answered 3 and Lin 3",
        "back on paywall.free",
    ],
    "credit_packs.py": ["one top-up, balance 120", "20 of the 20 from promo", "10 of the 100 from topup"],
    "streamed_answer.py": [
        "20 credits set aside, 80 left to spend meanwhile",
        "450 tokens: 9 credits charged, 11 back",
        "120 tokens: 2.4 credits charged, 17.6 back",
        "expired by itself: 88.6 credits again",
    ],
    "tiered_api_pricing.py": [
        "12000 calls cost 180, 60 of it overage; balance -60",
        "402 insufficient_credits",
        "15000 calls in 4 events, 270 credits; 70 are owed",
        "billed: 70 credits",
        "500 calls cost 25, 0 of it overage; balance 175",
    ],
    "rollover_and_burst.py": [
        "rollover: 300 of 300",
        "30 images rendered, 250 credits left",
        "topup: 250 of 500",
        "from month to month: [400, 800, 1000, 1000, 1000]",
    ],
    "upgrade_after_payment.py": [
        "900 tasks more, at once",
        "upgrade.pro is active, 1000 tasks",
        "upgrade.starter is overdue",
        "upgrade.starter is active, 100 tasks",
    ],
}


async def run(script: Path, tenant: Tenant) -> str:
    """What a script says, on its way to a good end; it needs the interpreter and these variables alone."""
    variables = {"QUOTASTACK_URL": tenant.core.base_url, "QUOTASTACK_KEY": tenant.sandbox_key}
    variables["QUOTASTACK_ADMIN_TOKEN"] = SECRETS["ADMIN_TOKEN"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", script, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_every_script_does_what_it_says_twice(tenant: Tenant, repository: Path) -> None:
    """On one tenant, one after the other, and all of them again."""
    for script, said in [*SAID.items(), *SAID.items()]:
        output = await run(repository / "docs/cookbook" / script, tenant)
        assert [line for line in said if line not in output] == [], output


async def test_a_script_that_was_edited_is_told_so(tenant: Tenant, repository: Path, tmp_path: Path) -> None:
    """Other terms under the keys that a run has made are refused by name, and not passed over."""
    cookbook = repository / "docs/cookbook"
    await run(cookbook / "credit_packs.py", tenant)
    (tmp_path / "http_client.py").write_text((cookbook / "http_client.py").read_text())
    edited = tmp_path / "edited.py"
    edited.write_text((cookbook / "credit_packs.py").read_text().replace('"amount": 1}', '"amount": 2}'))
    with pytest.raises(AssertionError, match=r"idempotency_key_reused.*price"):
        await run(edited, tenant)


def test_the_index_has_every_script(repository: Path) -> None:
    """A reader finds each in the index, and each is run here."""
    cookbook = repository / "docs/cookbook"
    scripts = {path.name for path in cookbook.glob("*.py")} - SHARED
    indexed = set(re.findall(r"\]\((\w+\.py)\)", (cookbook / "README.md").read_text())) - SHARED
    assert scripts == set(SAID) == indexed
