"""wrk, with one thread, as a closed loop of so many connections."""

from pathlib import Path

import msgspec

from loadtests.measuring import Run, WrongResult
from loadtests.programs import find, output_of

SCRIPT = Path(__file__).with_name("wrk.lua")
UNIQUE = "__unique__--"
"""Stands in a request where each one that is sent has another number of twelve digits."""
OPENED_ID = "__id__"
"""Stands in a request that follows each 201 where the reservation's id goes."""
NUMBERS = 10**12
"""How many there are."""
OVERTIME_SECONDS = 15


class Report(msgspec.Struct, frozen=True):
    """What wrk says at its end."""

    requests: int
    """Answered ones; at the end as many again as there are connections may be under way."""
    duration_microseconds: int
    p50_microseconds: int
    failed_connections: int
    refused: int
    """Answers with a status of 400 or above."""

    def run(self, events_each: float = 1) -> Run:
        """Rate and latency, where every request carries so many events, or a part of what is counted."""
        rate = self.requests * events_each * 1_000_000 / self.duration_microseconds
        return Run(rate, float(self.p50_microseconds))


def drive(
    port: int, request: str, connections: int, seconds: int, numbers: int = NUMBERS, *, follow_up: str | None = None
) -> Report:
    """Send `request` to a server on loopback; `UNIQUE` in it begins again after so many numbers.

    After each 201 `follow_up` goes next, on whichever connection is free, with the id in place of `OPENED_ID`.
    Raises WrongResult unless every answer was a success.
    """
    command = [find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", SCRIPT]
    command += [f"http://127.0.0.1:{port}", "--", request, str(numbers), *([follow_up] if follow_up else [])]
    report = parse(output_of(command, seconds + OVERTIME_SECONDS))
    if report.refused or report.failed_connections or not report.requests:
        raise WrongResult(f"of {report.requests} requests {report.refused} were refused: {report}")
    return report


def parse(output: str) -> Report:
    """The report that `wrk.lua` writes as the last line."""
    return msgspec.json.decode(output.strip().rpartition("\n")[2], type=Report)


def http_request(method: str, target: str, key: str, body: str = "") -> str:
    """A whole request in HTTP/1.1. `UNIQUE` may stand in it: what takes its place is as long."""
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}"]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*head, "", body])
