"""Each floor refuses what it is there to refuse, and leaves the decent neighbour alone."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.floors.source import Source, parse
from tests.floors.test_metrics import metrics_of
from tests.floors.test_pages import BOUND_ENTRY, bounds, differences, headless_domains
from tests.floors.test_pure import impurities
from tests.floors.test_seams import stray_drivers, stray_environment, stray_sql
from tests.floors.test_size import oversized
from tests.floors.test_waiting import sleeps
from tests.floors.test_words import DOWNLOAD, LOCKED, PUT_OFF, machine_paths, matches

PAGE = "\n".join(f"{heading}: x" for heading in ("Owns", "Invariants", "Tables", "Neighbours", "Not mine"))
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 60

CASES: list[tuple[Callable[[Source], Iterable[object]], str, str, str]] = [
    # floor, path, refused, allowed
    (impurities, "app/rules/a.py", "import redis", "from decimal import Decimal"),
    (impurities, "app/rules/a.py", "from app.io import clock", "from app.rules.credits import MICRO"),
    (impurities, "app/rules/a.py", "from . import credits", "import msgspec"),
    (impurities, "app/rules/a.py", "import random", "import hashlib"),
    (impurities, "app/rules/a.py", "async def f(): ...", "def f(): ..."),
    (impurities, "app/rules/a.py", "HALF = 0.5", "HALF = 5"),
    (impurities, "app/rules/a.py", "float('1')", "int('1')"),
    (impurities, "app/rules/a.py", "def f(x: float): ...", "def f(x: int): ..."),
    (impurities, "app/rules/a.py", "datetime.now(UTC)", "now.replace(tzinfo=UTC)"),
    (impurities, "app/wire/a.py", "uuid.uuid4()", "uuid.UUID(int=1)"),
    (stray_drivers, "app/ledger/store.py", "import asyncpg", "from app.io.postgres import Transaction"),
    (stray_drivers, "edge/handlers.py", "from redis.asyncio import Redis", "from edge.redis import connect"),
    (stray_drivers, "edge/redis.py", "import aiohttp", "from redis.asyncio import Redis"),
    (stray_environment, "app/cli.py", "os.environ['A']", "os.getpid()"),
    (stray_environment, "edge/main.py", "from os import getenv", "from os import getpid"),
    (stray_sql, "app/ledger/service.py", "x = 'SELECT 1'", "x = 'Select a plan'"),
    (stray_sql, "app/ledger/service.py", "x = f'''\n  insert into {t} values (1)'''", "x = 'insert a coin'"),
    (stray_sql, "app/ledger/service.py", "x = 'with due as (select 1)'", "x = 'with care'"),
    (oversized, "app/a.py", "x = 1\n" * 501, "x = 1\n" * 500),
    (oversized, "app/a.py", LONG_FUNCTION, LONG_FUNCTION.removesuffix("    x = 1\n")),
    (oversized, "app/a.py", "def f(a, b, c, d, e, g): ...", "def f(self, a, b, c, d, e, *, g, h, i): ..."),
    (oversized, "app/a.py", "def f(a, b, c, d, e, *, g, h, i, j): ...", "def f(a, b, c, d, e, *args, **more): ..."),
    (sleeps, "tests/a.py", "time.sleep(1)", "time.monotonic()"),
    (sleeps, "tests/a.py", "await asyncio.sleep(delay)", "await asyncio.sleep(0)"),
    (sleeps, "tests/a.py", "sleep(0.1)", "await poll(ready)"),
    (metrics_of, "app/io/a.py", "metrics.counter('quotastack_a_total', 'A.')", "counters('a')"),
    (metrics_of, "edge/a.py", "A = histogram('quotastack_a_seconds', 'A.')", "show('quotastack_a_seconds')"),
    (headless_domains, "app/ledger/__init__.py", "", f'"""The ledger.\n\n{PAGE}\n"""'),
    (headless_domains, "app/ledger/__init__.py", f'"""{PAGE.replace("Not mine", "Others")}"""', f'"""{PAGE}"""'),
    (headless_domains, "app/ledger/__init__.py", f'"""{PAGE.replace("Tables", "Owns")}"""', f'"""{PAGE}"""'),
]


@pytest.mark.parametrize(("floor", "path", "refused", "allowed"), CASES)
def test_floor_bites(floor: Callable[[Source], Iterable[object]], path: str, refused: str, allowed: str) -> None:
    """The floor reports the first snippet and passes the second."""
    assert list(floor(parse(path, refused)))
    assert not list(floor(parse(path, allowed)))


def test_a_bound_is_found_with_its_value() -> None:
    """A number without its row, and a row that has another number."""
    source = parse("edge/listener.py", "MAX_CONNECTIONS = 1\n_PRIVATE = 2\nlower = 3\n")
    assert [name for name, _ in bounds(source)] == ["MAX_CONNECTIONS"]
    found = list(differences({"MAX_CONNECTIONS` | 9,999", "MAX_NEW` | 1"}, "docs/edge-http.md", BOUND_ENTRY))
    assert "docs/edge-http.md says nothing of MAX_NEW` | 1" in found
    assert "docs/edge-http.md says nothing of MAX_CONNECTIONS` | 9,999" in found
    assert any("speaks of MAX_CONNECTIONS` | 10,000" in offence for offence in found)


@pytest.mark.parametrize("allowed_at", ["app/io/postgres.py", "app/ledger/store.py", "migrations/first.py"])
def test_sql_is_allowed_at_home(allowed_at: str) -> None:
    """A statement in its own place is fine."""
    assert not list(stray_sql(parse(allowed_at, "x = 'SELECT 1'")))


@pytest.mark.parametrize(
    ("pattern", "refused", "allowed"),
    [
        (PUT_OFF, "# TO" + "DO: later", "mastodon"),
        (DOWNLOAD, "http" + "s://host.example/a-1.0.tar.gz", "see a-1.0.tar.gz"),
        (LOCKED, "--index-" + "url elsewhere", "httpx==1.0 --hash=sha256:ab"),
        (LOCKED, "a @ file:" + "///a.whl", "    --hash=sha256:ab"),
        (machine_paths(Path("/srv/house"), Path("/home/ada")), "cd /srv/house/app", "cd /srv/house-old"),
        (machine_paths(Path("/srv/house"), Path("/home/ada")), "'/home/ada'", "/mnt/home/ada"),
    ],
)
def test_words_bite(pattern: re.Pattern[str], refused: str, allowed: str) -> None:
    """The pattern finds the first text and not the second."""
    assert list(matches(pattern, "a.md", refused))
    assert not list(matches(pattern, "a.md", allowed))
