"""docs/environment.md: its examples, sent in their order, are all answered as they should be."""

import json
import re
from pathlib import Path

from tests.app.core import Tenant

PAGE = (Path(__file__).parents[3] / "docs" / "environment.md").read_text()
EXAMPLES = re.findall(r"^send ([A-Z]+) \"\$CORE(/\S+)\"(?: '(\{[^']*\})')?$", PAGE, re.MULTILINE)
STATUS = {"POST": 201, "GET": 200, "PATCH": 200}


async def test_examples(tenant: Tenant) -> None:
    """Every call of the page, with the id of the variant that it makes; there are as many as lines that send."""
    assert len(EXAMPLES) == len(re.findall(r"^send [A-Z]", PAGE, re.MULTILINE)) >= 5
    variant = ""
    for method, path, body in EXAMPLES:
        sent = json.loads(body.replace("VARIANT", variant)) if body else None
        answer = await tenant.sandbox.send(method, path, **({"json": sent} if body else {}))
        assert answer.status_code == STATUS[method], (path, answer.text)
        variant = answer.json().get("plan_variant_id", variant)


async def test_the_first_answer_is_the_one_that_is_shown(tenant: Tenant) -> None:
    """But for the id."""
    [shown] = re.findall(r"^\{.*\"environment_id\".*\}$", PAGE, re.MULTILINE)
    answer = await tenant.sandbox.read("/v1/environment")
    assert json.loads(shown) == answer | {"environment_id": "env_…"}
