"""Locust's shapes: how many users there are, tick by tick, until the run is over. Each of them ends by itself."""

from typing import ClassVar

from locust import LoadTestShape  # pyright: ignore[reportMissingImports] # its own environment

from loadtests.load.stages import STAGES, users_at

MOST_BEGINNING = 100
"""Users a second; Locust advises against more."""


class PlannedShape(LoadTestShape):
    """A shape that is bounded in users and in time."""

    abstract = True
    name: ClassVar[str]
    users: ClassVar[int] = 1
    seconds: ClassVar[int] = 1

    def tick(self) -> tuple[int, float] | None:
        """How many users, and how many of them begin a second. None ends the run."""
        users = users_at(STAGES[self.name](self.users, self.seconds), self.get_run_time())
        return None if users is None else (users, float(MOST_BEGINNING))


class Steady(PlannedShape):
    """All of them, all the time."""

    abstract = True
    name = "steady"


class Ramp(PlannedShape):
    """More with every step."""

    abstract = True
    name = "ramp"


class Spike(PlannedShape):
    """Few, then suddenly all, then few."""

    abstract = True
    name = "spike"


SHAPES: dict[str, type[PlannedShape]] = {shape.name: shape for shape in (Steady, Ramp, Spike)}
