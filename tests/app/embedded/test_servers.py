"""The embedded servers: real ones, on real directories, with real deaths."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.embedded.errors import EmbeddedError
from app.embedded.postgres import EmbeddedPostgres, start_postgres
from app.embedded.valkey import EmbeddedValkey, start_valkey
from tests.app.embedded.probes import is_alive, query
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for the whole file: each test leaves servers and data that the next can use."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A running Postgres."""
    with start_postgres(data_dir) as server:
        yield server


@pytest.fixture
def valkey(data_dir: Path) -> Iterator[EmbeddedValkey]:
    """A running Valkey."""
    with start_valkey(data_dir) as server:
        yield server


def test_the_owner_makes_roles_but_is_no_superuser(postgres: EmbeddedPostgres) -> None:
    """Row-level security holds only for who is no superuser."""
    flags = "SELECT rolcanlogin, rolcreaterole, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    assert [tuple(row) for row in query(postgres.url_owner, flags)] == [(True, True, False, False)]
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert query(postgres.url_owner, owner)[0][0] == "quotastack"
    assert query(postgres.url_superuser, "SELECT current_setting('is_superuser')")[0][0] == "on"


def test_postgres_has_the_settings_that_the_product_counts_on(postgres: EmbeddedPostgres) -> None:
    """UTC, no JIT, statements counted, checksums; no address on any network."""
    names = "listen_addresses", "TimeZone", "jit", "shared_preload_libraries", "data_checksums"
    found = [query(postgres.url_superuser, f"SHOW {name}")[0][0] for name in names]
    assert found == ["", "UTC", "off", "pg_stat_statements", "on"]


def test_valkey_keeps_what_it_acknowledged(valkey: EmbeddedValkey) -> None:
    """Synced before each answer, nothing evicted, no address on any network."""
    with redis.Redis.from_url(valkey.url) as client:
        wanted = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
        assert client.config_get(*wanted) == wanted


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_postgres_finds_its_data_again(data_dir: Path, how: str) -> None:
    """What was committed is there after an orderly stop and after a kill, at the same address."""
    first = start_postgres(data_dir)
    query(first.url_owner, f"CREATE TABLE {how} (kept int)")
    first.stop() if how == "stopped" else os.kill(first.pid, signal.SIGKILL)
    with start_postgres(data_dir) as second:
        assert second.pid != first.pid
        assert second.url_owner == first.url_owner
        assert query(second.url_owner, f"TABLE {how}") == []


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_valkey_finds_its_data_again(data_dir: Path, how: str) -> None:
    """What was acknowledged is there after an orderly stop and after a kill, at the same address."""
    first = start_valkey(data_dir)
    with redis.Redis.from_url(first.url) as client:
        client.set(how, "kept")
    first.stop() if how == "stopped" else os.kill(first.pid, signal.SIGKILL)
    with start_valkey(data_dir) as second, redis.Redis.from_url(second.url) as client:
        assert client.get(how) == b"kept"


def test_a_second_start_joins_the_first(postgres: EmbeddedPostgres, valkey: EmbeddedValkey, data_dir: Path) -> None:
    """One server per directory, and only who started it stops it."""
    for first, second in ((postgres, start_postgres(data_dir)), (valkey, start_valkey(data_dir))):
        assert second.pid == first.pid
        second.stop()
        assert is_alive(first.pid)
        assert not first.has_ended()


def test_servers_stand_side_by_side(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    """Another directory is another server."""
    with start_valkey(tmp_path) as other:
        assert other.pid != valkey.pid
        assert other.url != valkey.url


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """A socket's path is limited to 107 bytes; the data stay where they were wanted."""
    long_dir = tmp_path / ("deep-" * 10) / ("deeper-" * 10)
    with start_postgres(long_dir) as server:
        assert query(server.url_owner, "SELECT 1")
    with start_valkey(long_dir) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        socket_directory = server.socket_directory
        assert not socket_directory.is_relative_to(long_dir)
        assert socket_directory.stat().st_mode & 0o777 == 0o700
        assert server.directory.is_relative_to(long_dir)
    assert not socket_directory.exists()


def test_a_directory_in_our_place_is_refused(tmp_path: Path) -> None:
    """Where everybody may write somebody may have been first: the socket does not go into a directory of theirs."""
    long_dir = tmp_path / ("deep-" * 10) / ("deeper-" * 10)
    with start_valkey(long_dir) as server:
        theirs = server.socket_directory
    theirs.mkdir(mode=0o755)
    try:
        with pytest.raises(EmbeddedError, match="belongs to you alone"):
            start_valkey(long_dir)
    finally:
        theirs.rmdir()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error ends with the server's own words, and the directory is free for another try."""
    with start_valkey(tmp_path) as server:
        log = server.directory / "appendonlydir" / "appendonly.aof.manifest"
    kept = log.read_text()
    log.write_text("nonsense")
    with pytest.raises(EmbeddedError, match=r"ended at once(?s:.*)AOF"):
        start_valkey(tmp_path)
    log.write_text(kept)
    start_valkey(tmp_path).stop()


def test_nothing_half_made_stays(data_dir: Path) -> None:
    """A cluster is made beside its place; what an interrupted start left is removed by the next."""
    with start_postgres(data_dir) as server:
        cluster = server.directory
    aside = cluster.rename(cluster.with_name("aside"))
    half_made = data_dir / f"{cluster.name}.making-x"
    half_made.mkdir()
    with start_postgres(data_dir) as server:
        assert not half_made.exists()
        assert wait_until(lambda: query(server.url_owner, "SELECT 1"), 30, "the new cluster answers")
    assert aside.exists()
