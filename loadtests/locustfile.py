"""What Locust runs: the plan in the file that LOAD_PLAN names. `python -m loadtests.load` writes it and starts Locust.

Run by Locust's own environment: see docs/load-tests.md.
"""

import json
import os
from pathlib import Path
from typing import Any

import locust  # pyright: ignore[reportMissingImports] # its own environment
from locust import events  # pyright: ignore[reportMissingImports]

from loadtests.load.book import Book
from loadtests.load.plan import read_plan
from loadtests.load.user import LoadUser
from loadtests.scenarios import SCENARIOS
from loadtests.scenarios.api_platform import ApiPlatform
from loadtests.scenarios.chat_app import ChatApp
from loadtests.scenarios.mixed import Reader
from loadtests.shapes import SHAPES

PLAN = read_plan(Path(os.environ["LOAD_PLAN"]))
SCRIPTS = SCENARIOS[PLAN.scenario]
"""How many follow which; Locust takes no user whose weight is zero."""
PERCENTILES = (0.5, 0.95, 0.99)

LoadUser.plan = PLAN
LoadUser.book = Book()


class ChatAppUser(LoadUser):
    """A chat product."""

    script_class = ChatApp
    weight = SCRIPTS.get(ChatApp, 0)


class ApiPlatformUser(LoadUser):
    """An API platform."""

    script_class = ApiPlatform
    weight = SCRIPTS.get(ApiPlatform, 0)


class ReaderUser(LoadUser):
    """Somebody who looks things up."""

    script_class = Reader
    weight = SCRIPTS.get(Reader, 0)


class Shape(SHAPES[PLAN.shape]):
    """The shape of the plan."""

    users = PLAN.users
    seconds = PLAN.seconds


@events.quitting.add_listener
def report(environment: Any, **_: object) -> None:  # noqa: ANN401 - Locust types little
    """Write down what was measured, what went wrong, and the book."""
    stats = environment.runner.stats
    content = {
        "version": locust.__version__,
        "seconds": stats.last_request_timestamp - stats.start_time if stats.last_request_timestamp else 0,
        "routes": [
            {
                "method": entry.method,
                "route": entry.name,
                "requests": entry.num_requests,
                "failures": entry.num_failures,
                "percentiles_ms": [entry.get_response_time_percentile(share) for share in PERCENTILES],
            }
            for entry in stats.entries.values()
        ],
        "failures": [
            {"what": f"{error.method} {error.name}: {error.error}", "count": error.occurrences}
            for error in stats.errors.values()
        ]
        + [
            {"what": f"an exception in the load generator: {one['msg']}", "count": one["count"]}
            for one in environment.runner.exceptions.values()
        ],
        "book": LoadUser.book.as_json(),
        "actions": LoadUser.actions,
    }
    Path(PLAN.report_path).write_text(json.dumps(content))
