"""The three requests that a newcomer pastes: subscribe, check, use. README.md has the same three."""

import json
from typing import Final

from app.embedded.dev_file import DevStack

_END_USER_ID: Final = "user_123"


def first_steps(stack: DevStack) -> tuple[str, str, str]:
    """Answer three shell commands, one line each, that work as they are; pasted again they change nothing."""
    curl = "curl -sS -w '\\n'"
    bearer = f"-H 'Authorization: Bearer {stack.sandbox_key}'"
    post = f"{bearer} -H 'Content-Type: application/json'"
    once = "-H 'Idempotency-Key: first-steps'"
    subscription = json.dumps({"end_user_id": _END_USER_ID, "plan_variant_id": stack.plan_variant_id})
    check = f"end_user_id={_END_USER_ID}&feature_key={stack.feature_key}"
    usage = json.dumps(
        {"end_user_id": _END_USER_ID, "feature_key": stack.feature_key, "units": 1, "idempotency_key": "request-1"}
    )
    return (
        f"{curl} {stack.core_url}/v1/subscriptions {post} {once} -d '{subscription}'",
        f"{curl} '{stack.edge_url}/v1/entitlements/check?{check}' {bearer}",
        f"{curl} {stack.edge_url}/v1/usage {post} -d '{usage}'",
    )
