"""Metering of a FastAPI route in one line, beside `quotastack.integrations.asgi.QuotaStackMiddleware`.

@app.post("/answers", dependencies=[Depends(metered("ai_request", user=current_user))])
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from quotastack.events import Number
from quotastack.integrations.asgi import Charge, charge


def metered(feature_key: str, *, user: Callable[..., Any], units: Number = 1) -> Callable[..., Awaitable[Charge]]:
    """A dependency that charges the route. `user` is the dependency that knows your own id of who asks.

    A route that takes it as an argument (`charge: Annotated[Charge, Depends(...)]`) can say what the units were in the
    end.
    """

    async def check(request: Request, end_user_id: Annotated[str, Depends(user)]) -> Charge:
        return await charge(request, end_user_id, feature_key, units=units)

    return check
