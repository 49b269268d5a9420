"""What a run is to do, as the one process tells it the other."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from loadtests.load.judging import MICRO

MAX_USERS = 2_000
MAX_SECONDS = 3_600
SHARED_CUSTOMERS = 200
"""Whom Locust's users share, with a heavy tail."""
BIG_CUSTOMERS = 5
"""Who send batches."""
INPUT_TOKENS, OUTPUT_TOKENS, API_CALLS = "input_tokens", "output_tokens", "api_calls"
PROBED = "probed_calls"
"""What the probes use: no scenario does, so that the books of each are their own."""
PRICES_MICRO: Mapping[str, int] = MappingProxyType(
    {INPUT_TOKENS: 3_000, OUTPUT_TOKENS: 15_000, API_CALLS: 1_000, PROBED: MICRO}
)
"""Of a unit; each is a whole number of millionths, so that no cost is ever rounded."""
INTERRUPTED = "interrupted "
"""Before the method of a request that got no answer while processes are killed."""
MONTHLY_CREDITS = 1_000_000_000
"""More than the longest run takes of anybody: no one runs out but those who are to."""


@dataclass(frozen=True)
class Plan:
    """One run."""

    run: str
    """Before the name of everything that it makes; nothing else in the environment begins with it."""
    scenario: str
    shape: str
    users: int
    seconds: int
    rate: float | None
    """How often a second each user acts; None where users pause as people do."""
    seed: int
    core_url: str
    edge_url: str
    key: str
    variant_id: str
    expects_interruptions: bool
    """Processes are killed meanwhile: a request without an answer is no failure, and is sent again."""
    passing_codes: list[str]
    """Of an event of a batch that may be accepted a moment later."""
    report_path: str

    def feature(self, name: str) -> str:
        """The key of one of the run's features."""
        return feature_key(self.run, name)

    def shared_customer(self, number: int) -> str:
        """One of SHARED_CUSTOMERS."""
        return f"{self.run}_user_{number}"

    def big_customer(self, number: int) -> str:
        """One of BIG_CUSTOMERS."""
        return f"{self.run}_company_{number}"

    def write(self, path: Path) -> None:
        """Into a file that nobody else may read: it holds the key."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)


def read_plan(path: Path) -> Plan:
    """What `write` wrote."""
    return Plan(**json.loads(path.read_text()))


def feature_key(run: str, name: str) -> str:
    """The key of one of a run's features."""
    return f"{run}.{name}"


def interrupted(method: str) -> str:
    """The method under which Locust counts a request that got no answer while processes are killed."""
    return INTERRUPTED + method
