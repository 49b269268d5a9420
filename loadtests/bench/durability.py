"""Usage with Valkey synced before each answer, beside the same edge with Valkey synced once a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.bench.usage import CONNECTIONS, edge_side, usage_request
from loadtests.measuring import Comparison
from loadtests.stack import running_edge_stack

PROGRAMS = ("wrk",)
LONE = 1
"""A single client waits for every sync; many share them."""


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """An edge each, with a Valkey each; they run in turn."""
    with (
        running_edge_stack(directory / "always") as always,
        running_edge_stack(directory / "everysec", "everysec") as everysec,
    ):
        yield [
            Comparison(
                f"usage, fsync, c={connections}",
                "events",
                "DURABILITY=always",
                "DURABILITY=everysec",
                f"edge, one worker, POST /v1/usage; Valkey with {always.durability} against {everysec.durability}",
                edge_side(always, usage_request(always.customer), connections),
                edge_side(everysec, usage_request(everysec.customer), connections),
            )
            for connections in (LONE, CONNECTIONS)
        ]
