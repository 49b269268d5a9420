"""The three requests that a newcomer pastes: subscribe, check, use."""

import json
from typing import Final

from app.embedded.dev_file import DevStack

_END_USER_ID: Final = "user_123"


def first_steps(stack: DevStack) -> tuple[str, str, str]:
    """Answer three shell commands, one line each, that work as they are, and again."""
    bearer = f"-H 'Authorization: Bearer {stack.sandbox_key}'"
    post = f"-X POST {bearer} -H 'Content-Type: application/json'"
    subscription = json.dumps({"end_user_id": _END_USER_ID, "plan_variant_id": stack.plan_variant_id})
    check = f"end_user_id={_END_USER_ID}&feature_key={stack.feature_key}"
    usage = json.dumps({"end_user_id": _END_USER_ID, "feature_key": stack.feature_key, "units": 1})
    return (
        f"curl -sS {post} -H 'Idempotency-Key: first-steps' {stack.core_url}/v1/subscriptions -d '{subscription}'",
        f"curl -sS {bearer} '{stack.core_url}/v1/entitlements/check?{check}'",
        f"curl -sS {post} {stack.core_url}/v1/usage -d '{usage}'",
    )
