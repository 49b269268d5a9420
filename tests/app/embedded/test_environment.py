"""What the variables mean for the stack."""

from pathlib import Path

import pytest

from app.embedded.environment import Listener, read_environment, role_database_url
from app.embedded.errors import EmbeddedError
from app.embedded.secret_file import database_password, load_secrets


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104 - what a container binds
        ("::", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("localhost", "http://localhost:8000"),
    ],
)
def test_a_listener_has_an_address_for_clients(host: str, url: str) -> None:
    """Nobody can connect to "every address"."""
    assert Listener("CORE", host, 8000).url == url


@pytest.mark.parametrize(
    ("owner", "derived"),
    [
        ("postgresql://quotastack@/db?host=/run/x", "postgresql://quotastack_core:pw@/db?host=/run/x"),
        ("postgresql:///db?host=/run/x", "postgresql://quotastack_core:pw@/db?host=/run/x"),
        ("postgres://o:p%40q@h:5433/db?sslmode=require", "postgres://quotastack_core:pw@h:5433/db?sslmode=require"),
        ("postgresql://o@[::1]:5433/db", "postgresql://quotastack_core:pw@[::1]:5433/db"),
    ],
)
def test_a_role_logs_in_at_the_owners_server(owner: str, derived: str) -> None:
    """Same server, database and options; another user."""
    assert role_database_url(owner, "quotastack_core", "pw") == derived


def test_nothing_given_is_everything_embedded() -> None:
    """The defaults are those of the documentation; an empty variable is as good as none."""
    environment = read_environment({"DATABASE_URL": "", "HOME": "/home/ada"})
    assert (environment.database_url, environment.redis_url, environment.secrets) == (None, None, {})
    assert [listener.port for listener in environment.listeners] == [8000, 8002, 8001]
    assert environment.var_dir == Path("var").absolute()
    assert environment.inherited == {"HOME": "/home/ada"}


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "8000.5"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    """By the name of its variable."""
    with pytest.raises(EmbeddedError, match="EDGE_PORT"):
        read_environment({"EDGE_PORT": port})


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """Each is long enough for the roles; a second run has the same; one that is given is not stored."""
    made = load_secrets(tmp_path, {})
    assert {len(secret) >= 32 for secret in made.values()} == {True}
    assert len(set(made.values())) == 4
    given = {"ADMIN_TOKEN": "t" * 32}
    assert load_secrets(tmp_path, given) == {**made, **given}
    assert "t" * 32 not in (tmp_path / "secrets.json").read_text()
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """With what to do; it is not overwritten, since the data were made with what it held."""
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(EmbeddedError, match=r"secrets\.json cannot be read"):
        load_secrets(tmp_path, {})


def test_passwords_differ_by_role_and_secret() -> None:
    """Each is worked out again whenever it is needed."""
    passwords = [database_password(secret, user) for secret in ("a", "b") for user in ("core", "jobs")]
    assert len(set(passwords)) == 4
    assert passwords[0] == database_password("a", "core")
