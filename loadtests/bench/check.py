"""Checks: the edge beside nginx, which answers the same bytes without asking anybody."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.catalogue import FEATURE
from loadtests.customer import END_USER_ID
from loadtests.measuring import Comparison, Goal, Run, Side
from loadtests.servers import get, running_nginx
from loadtests.stack import running_edge_stack
from loadtests.wrk import drive, http_request

PROGRAMS = ("nginx", "wrk")
TARGET = f"/v1/entitlements/check?end_user_id={END_USER_ID}&feature_key={FEATURE}"
GOALS = {1: Goal(most_p50_ratio=2.5), 32: Goal(least_rate_ratio=0.25), 256: Goal()}
"""By number of connections."""


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """One worker of each, for each number of connections."""
    with running_edge_stack(directory) as edge:
        answer = get(edge.port, TARGET, edge.customer.api_key).body.decode()
        request = http_request("GET", TARGET, edge.customer.api_key)
        with running_nginx(directory, "application/json", answer) as nginx_port:
            yield [
                Comparison(
                    f"check, c={connections}",
                    "requests",
                    "edge, one worker, GET /v1/entitlements/check",
                    "nginx, one worker, `return 200`",
                    f"wrk -t1 -c{connections}; nginx answers the same {len(answer)} bytes of JSON, and asks nobody",
                    _side(edge.port, request, connections),
                    _side(nginx_port, request, connections),
                    goal,
                )
                for connections, goal in GOALS.items()
            ]


def _side(port: int, request: str, connections: int) -> Side:
    def run(seconds: int) -> Run:
        return drive(port, request, connections, seconds).run()

    return run
