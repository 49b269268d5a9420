"""A user of Locust who follows a script: makes its calls, lets it judge the answers, and tells Locust what is wrong."""

from itertools import count
from random import Random
from typing import Any, ClassVar

from locust import FastHttpUser, between, constant_throughput, task  # pyright: ignore[reportMissingImports] # its own

from loadtests.load.book import Book
from loadtests.load.judging import Answer, Wrong, is_passing, is_without_figures
from loadtests.load.plan import Plan, interrupted
from loadtests.scenarios.script import Call, Script

REQUEST_SECONDS = 10
LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.1, 0.5
_numbers = count()


class LoadUser(FastHttpUser):
    """Follows one script for as long as it lives; `plan`, `book` and `script_class` are given by the locustfile."""

    abstract = True
    network_timeout = connection_timeout = REQUEST_SECONDS
    plan: ClassVar[Plan]
    book: ClassVar[Book]
    script_class: ClassVar[type[Script]]
    actions: ClassVar[int] = 0
    """Of all users together."""

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - Locust types little
        self.host = self.plan.edge_url
        super().__init__(environment)
        number = next(_numbers)
        randomness = Random(f"{self.plan.seed}:{number}")  # noqa: S311 - chance with a seed, so that a run can be repeated
        self._script = self.script_class(self.plan, self.book, f"{self.script_class.__name__}_{number}", randomness)

    def wait_time(self) -> float:
        """A pause as people make it, or what is left until the next action is due."""
        if self.plan.rate is None:
            return between(LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS)(self)
        return constant_throughput(self.plan.rate)(self)

    @task
    def act(self) -> None:
        """What belongs together, call by call; what gets no answer is sent again after a pause."""
        while self._call(self._script.next_call()):
            if self._script.is_between:
                LoadUser.actions += 1
                return

    def _call(self, call: Call) -> bool:
        headers = {"Authorization": f"Bearer {self.plan.key}"}
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        with self.client.request(
            call.method,
            call.url,
            name=call.route,
            json=call.body,
            headers=headers,
            allow_redirects=False,
            catch_response=True,
        ) as response:
            content = response.content or b""
            status = response.status_code
            if not status or is_passing(status, content) or is_without_figures(status, content):
                self._note_interruption(response)
                return False
            is_replayed = response.headers.get("Idempotent-Replayed") == "true"
            try:
                self._script.settle(Answer(status, content, is_replayed))
            except Wrong as wrong:
                response.failure(str(wrong))
                return False
            response.success()
            return True

    def _note_interruption(self, response: Any) -> None:  # noqa: ANN401 - Locust types little
        """Count it apart where it is to be expected; elsewhere it is a failure."""
        if self.plan.expects_interruptions:
            response.request_meta["request_type"] = interrupted(response.request_meta["request_type"])
            response.success()
        else:
            reason = getattr(response, "error", None) or response.status_code
            response.failure(f"no answer: {reason!r}")
