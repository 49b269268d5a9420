"""docs/plans.md: its examples, sent in their order, are all answered as they should be."""

import json
import re
from pathlib import Path

from tests.app.core import Tenant

PAGE = (Path(__file__).parents[3] / "docs" / "plans.md").read_text()
EXAMPLES = re.findall(r"^send ([A-Z]+) \"\$CORE(/\S+)\"(?: '(\{[^']*\})')?$", PAGE, re.MULTILINE)
STATUS = {"POST": 201, "GET": 200, "PUT": 200, "PATCH": 200, "DELETE": 200}


async def test_examples(tenant: Tenant) -> None:
    """Every call of the page, and there are as many as lines that send."""
    assert len(EXAMPLES) == len(re.findall(r"^send [A-Z]", PAGE, re.MULTILINE)) >= 10
    for method, path, body in EXAMPLES:
        answer = await tenant.sandbox.send(method, path, **({"json": json.loads(body)} if body else {}))
        assert answer.status_code == STATUS[method], (path, answer.text)
