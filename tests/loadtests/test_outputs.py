"""What the measuring programs write, and what is sent through them."""

import pytest

from app.wire import keys
from loadtests import machine, redis_benchmark, wrk
from loadtests.accepting import accept_call
from loadtests.bench.usage import accept_command
from loadtests.customer import END_USER_ID, Customer
from loadtests.measuring import Run
from loadtests.programs import MissingPrograms, find, how_to_install


def test_wrk_report_is_the_last_line() -> None:
    """Rates count events, of which a request may carry many."""
    line = '{"requests":50,"duration_microseconds":2000000,"p50_microseconds":70,"failed_connections":0,"refused":1}'
    report = wrk.parse(f"Running 2s test\n  50 requests in 2.00s\n\n{line}\n")
    assert report.refused == 1
    assert report.run() == Run(25, 70)
    assert report.run(events_each=100) == Run(2500, 70)


def test_request_states_the_length_that_it_has_when_sent() -> None:
    """What takes the place of a unique number is as wide as the place."""
    assert len(wrk.UNIQUE) == len(f"{0:012}") == len(redis_benchmark.UNIQUE)
    request = wrk.http_request("POST", "/v1/usage", "key", f'{{"é":"{wrk.UNIQUE}"}}')
    head, _, body = request.partition("\r\n\r\n")
    assert f"Content-Length: {len(body.encode())}" in head.split("\r\n")


def test_redis_benchmark_csv_is_read_from_its_end() -> None:
    """The first field is the command, which may hold commas, quotes and line ends."""
    header = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max"'
    output = f'{header}\n"EVALSHA a","1\nb","45000.50","1.037","0.112","0.991","1.511","1.951","3.023"\n'
    assert redis_benchmark.parse(output) == Run(45000.5, 991.0)


def test_script_gets_what_the_edge_gives_it() -> None:
    """As arguments of a program: no zero byte, another key each time, and otherwise everything as long as ever."""
    customer = Customer(None)
    command = accept_command(customer)
    call = accept_call(customer.catalogue, END_USER_ID, "bench_2f1c64de_000000000001")
    as_bytes = [part if isinstance(part, bytes) else str(part).encode() for part in call]
    assert [len(part) for part in command[1:]] == [len(part) for part in as_bytes]
    assert not any(b"\0" in part for part in command)
    assert [redis_benchmark.UNIQUE in part for part in command].count(True) == 1
    assert command[5].startswith(keys.tag(customer.partition))


def test_likely_repeats_stay_few() -> None:
    """Random numbers repeat by the square of how many are taken."""
    assert redis_benchmark.likely_repeats(1_000) == 10
    assert redis_benchmark.likely_repeats(1_000_000) < 1_000


@pytest.mark.parametrize(
    ("platform", "command"),
    [("linux", "sudo apt-get install nginx redis-tools"), ("darwin", "brew install nginx redis")],
)
def test_missing_programs_come_with_their_command(platform: str, command: str) -> None:
    """Each program is named, and the packages that bring them."""
    message = how_to_install(["nginx", "redis-benchmark"], platform)
    assert message.startswith("Not installed: nginx, redis-benchmark.")
    assert message.endswith(command)


def test_program_that_is_nowhere_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found means: on the PATH, or where Debian keeps servers."""
    monkeypatch.setattr("loadtests.programs.shutil.which", lambda *_args, **_options: None)
    with pytest.raises(MissingPrograms, match="wrk"):
        find("wrk")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012", "4.1.0"),
        ("postgres (PostgreSQL) 18.6", "18.6"),
        ("nothing", ""),
    ],
)
def test_version_is_the_first_number_with_a_dot(text: str, version: str) -> None:
    """Every program says it in its own way."""
    assert machine.version_in(text) == version


def test_cpu_is_the_first_processor() -> None:
    """Elsewhere than on Linux the text is empty, and so is the answer."""
    assert machine.cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2.3GHz\nprocessor\t: 1\n") == "Some CPU @ 2.3GHz"
    assert not machine.cpu_model("")
