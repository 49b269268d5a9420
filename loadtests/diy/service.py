"""Check and decrement with an idempotency key: FastAPI, redis-py and one script.

It keeps a balance and nothing else: no plans, no prices, no history, no ledger.
"""

import os

from fastapi import Depends, FastAPI, Header, HTTPException  # pyright: ignore[reportMissingImports] # its own environment
from pydantic import BaseModel
from redis.asyncio import Redis

SPEND = """
local remembered = redis.call('GET', KEYS[2])
if remembered then return remembered end
local left = tonumber(redis.call('GET', KEYS[1]) or '0') - tonumber(ARGV[1])
if left < 0 then return '-1' end
redis.call('SET', KEYS[1], string.format('%.0f', left))
redis.call('SET', KEYS[2], string.format('%.0f', left), 'EX', 86400)
return string.format('%.0f', left)
"""

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"])
spend = redis.register_script(SPEND)


class Usage(BaseModel):
    """One event."""

    end_user_id: str
    feature_key: str
    units: int
    idempotency_key: str


def authenticate(authorization: str = Header()) -> None:
    """One key for all."""
    if authorization != f"Bearer {os.environ['API_KEY']}":
        raise HTTPException(401)


@app.post("/v1/usage", status_code=202, dependencies=[Depends(authenticate)])
async def record_usage(usage: Usage) -> dict[str, int]:
    """Take the units from the balance, once for each key."""
    keys = [f"balance:{usage.end_user_id}", f"seen:{usage.end_user_id}:{usage.idempotency_key}"]
    balance = int(await spend(keys=keys, args=[usage.units]))
    if balance < 0:
        raise HTTPException(402)
    return {"balance": balance}
