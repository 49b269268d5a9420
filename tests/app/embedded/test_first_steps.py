"""The commands that `quotastack run` prints, and those of the README."""

import re
import shlex
from string import Template

from app.embedded.dev_file import DevStack
from app.embedded.first_steps import first_steps
from tests.app.embedded.running_stack import ROOT

README = (ROOT / "README.md").read_text()
STACK = DevStack(
    core_url="http://127.0.0.1:8000",
    edge_url="http://127.0.0.1:8001",
    admin_token="admin",
    tenant_id="ten_1",
    sandbox_key="qs_test_1",
    live_key="qs_live_1",
    plan_variant_id="var_1",
    feature_key="api_calls",
    database_url="postgresql://owner@nowhere.invalid/db",
    redis_url="redis://nowhere.invalid",
    pids={},
)


def test_the_readme_has_the_same_three() -> None:
    """Word for word, as a shell reads them."""
    block = next(block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "/v1/subscriptions" in block)
    filled = Template(block.replace("\\\n", "")).safe_substitute(
        CORE=STACK.core_url, EDGE=STACK.edge_url, KEY=STACK.sandbox_key, VARIANT=STACK.plan_variant_id
    )
    commands = [shlex.split(line) for line in filled.splitlines() if line.startswith("curl ")]
    assert commands == [shlex.split(line) for line in first_steps(STACK)]
