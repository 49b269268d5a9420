"""Whatever changes something goes through Mutation: no route has its own idea of repeats, or leaves no trace."""

import inspect
from collections.abc import Iterable, Iterator

from litestar import post
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler

from app.main import DOMAINS
from app.trail.idempotency import Mutation
from tests.app.trail.examples import EXAMPLES
from tests.floors.source import refuse

READS = {
    "POST /v1/subscriptions/{subscription_id}/change/preview": "says what a change would do, and does nothing",
}
"""Routes that change nothing although their method could: why each has it."""
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
MUTATIONS = {"mutation", "operator_mutation"}


def changing_routes(handlers: Iterable[object]) -> Iterator[tuple[str, HTTPRouteHandler]]:
    """Method and path, as the audit log names routes, of what could change something."""
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            for method in CHANGING & {str(method) for method in handler.http_methods}:
                for path in handler.paths:
                    yield f"{method} {path.replace(':str}', '}')}", handler


def strays(handlers: Iterable[object]) -> Iterator[str]:
    """Routes that take no mutation, by themselves or by what they are given."""
    for route, handler in changing_routes(handlers):
        asked = set(inspect.signature(handler.fn).parameters)
        for name in asked & set(handler.dependencies or {}):
            provided = (handler.dependencies or {})[name]
            asked |= set(inspect.signature(getattr(provided, "dependency", provided)).parameters)
        if not asked & MUTATIONS and route not in READS:
            yield route


def test_every_change_goes_through_mutation() -> None:
    """Key, effect, answer and audit row commit together, whichever route it is."""
    repair = "Take `mutation: NamedDependency[Mutation]` and answer by it, or name the route in READS with its reason."
    refuse(strays(DOMAINS), repair)


def test_every_change_has_its_example() -> None:
    """tests/app/trail proves by it: twins, replays, another request under the key, a crash, and the audit row."""
    routes = {route for route, _ in changing_routes(DOMAINS)}
    missing = [f"{route} has no example" for route in routes - EXAMPLES.keys() - READS.keys()]
    gone = [f"{route} does not exist" for route in (EXAMPLES.keys() | READS.keys()) - routes]
    refuse(missing + gone, "Give each route an example in tests/app/trail/examples.py, and remove the others.")


@post("/bare")
async def _bare() -> None: ...


@post("/whole")
async def _whole(mutation: NamedDependency[Mutation]) -> None: ...


def _provide(mutation: NamedDependency[Mutation]) -> Mutation:
    return mutation


@post("/given", dependencies={"given": Provide(_provide, sync_to_thread=False)})
async def _given(given: NamedDependency[Mutation]) -> None: ...


def test_the_floor_bites() -> None:
    """It finds the route without a mutation, and leaves those alone that have one."""
    assert list(strays([_bare, _whole, _given])) == ["POST /bare"]
