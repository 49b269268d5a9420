"""The HTTP that the scripts beside it share: JSON there, JSON back, and a refusal as an exception."""

import json
import os
from collections.abc import Callable
from time import sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

RUN = uuid4().hex[:8]  # in the names of customers and payments, so that a script can run again beside what it left


class Refused(Exception):
    """An answer that is no success; its `code` is one of docs/errors.md."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem['status']} {problem['code']}: {problem['detail']}")
        self.code = problem["code"]


def call(method: str, path: str, body: object = None, key: str | None = None, attempts: int = 10) -> Any:
    """The answer's JSON. Under its idempotency key a 503 is sent again, and nothing happens twice."""
    url, token, key = os.environ["QUOTASTACK_URL"], os.environ["QUOTASTACK_KEY"], key or uuid4().hex
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key}
    content = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url + path, content, headers, method=method), timeout=30) as answer:
            return json.load(answer)
    except HTTPError as error:
        if error.code != 503 or attempts == 1:
            raise Refused(json.load(error)) from None
        sleep(float(error.headers["Retry-After"]))
    return call(method, path, body, key, attempts - 1)


def wait_for(path: str, is_ready: Callable[[Any], bool]) -> Any:
    """What is found there as soon as it is ready: the ledger follows checks and usage by some tens of milliseconds."""
    for _ in range(100):
        if is_ready(found := call("GET", path)):
            return found
        sleep(0.2)
    raise TimeoutError(path)


def make(path: str, body: dict[str, Any]) -> Any:
    """Make something of the catalogue, once. For 30 days other terms under its key are a 422, then they are ignored."""
    try:
        return call("POST", path, body, f"cookbook {path} {body['key']}")
    except Refused as refused:
        if refused.code != "conflict":
            raise
        return call("GET", f"{path}/{body['key']}")
