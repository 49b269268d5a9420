"""Environment variables are read once, and everything wrong is said at once."""

import pytest

from app.settings import CoreSettings, FlusherSettings, OwnerSettings, SettingsError, read

COMPLETE = {
    "CORE_DATABASE_URL": "postgresql://quotastack_core@/quotastack",
    "REDIS_URL": "redis://127.0.0.1",
    "ADMIN_TOKEN": "a" * 32,
    "KEY_PEPPER": "b" * 32,
    "INTERNAL_SECRET": "c" * 32,
    "WEBHOOK_KEY": "d" * 32,
}


def test_defaults_and_values() -> None:
    """What is not set has its default, what is set its type."""
    changed = {"CORE_PORT": "9000", "PARTITIONS": "8", "BILLING_TIMEZONE": "Asia/Tokyo"}
    settings = read(CoreSettings, COMPLETE | changed)
    assert (settings.core_port, settings.core_internal_port, settings.log_level) == (9000, 8002, "info")
    assert settings.agreement().partitions == 8
    assert settings.billing_zone().key == "Asia/Tokyo"


def test_everything_wrong_is_named_and_no_value_shown() -> None:
    """One start is enough to learn what to set."""
    with pytest.raises(SettingsError) as error:
        read(
            CoreSettings,
            {
                "CORE_DATABASE_URL": "mysql://secret-host",
                "ADMIN_TOKEN": "too-short",
                "CORE_PORT": "http",
                "KEY_PEPPER": "",
                "BILLING_TIMEZONE": "Mars/Olympus",
                "LOG_LEVEL": "loud",
                "WEBHOOK_ALLOWED_NETWORKS": "10.0.0.0/8, here",
            },
        )
    text = str(error.value)
    named = {"CORE_PORT", "BILLING_TIMEZONE", "LOG_LEVEL", "WEBHOOK_ALLOWED_NETWORKS", *COMPLETE}
    assert {line.partition(":")[0].partition(" ")[0] for line in text.splitlines()} == named
    assert not any(value in text for value in ("secret-host", "too-short", "loud"))


def test_each_process_asks_for_its_own_only() -> None:
    """The flusher needs no secret, the owner no Redis."""
    flusher = {"FLUSHER_DATABASE_URL": "postgres://quotastack_flusher@/q", "REDIS_URL": "redis://x"}
    assert read(FlusherSettings, flusher).trim_lag_seconds == 600
    with pytest.raises(SettingsError) as error:
        read(OwnerSettings, {})
    assert str(error.value).count("is not set") == 4


@pytest.mark.parametrize(
    ("exceptions", "is_good"),
    [
        (f"env_{'0' * 32}=1/2", True),
        (f"env_{'0' * 32}=1/2,env_{'a' * 32}=999999999999/1", True),
        (f"env_{'0' * 32}=0/2", False),
        (f"env_{'0' * 32}=1", False),
        (f"env_{'0' * 31}=1/2", False),
        (f"ten_{'0' * 32}=1/2", False),
        (f"env_{'0' * 32}=1/2,", False),
        (f"env_{'0' * 32}=1/2 env_{'a' * 32}=1/2", False),
    ],
)
def test_exceptions_to_rate_limits_have_one_form(exceptions: str, is_good: bool) -> None:  # noqa: FBT001 - a column
    """What is misspelt is found at the start, and not by a client."""
    environ = COMPLETE | {"RATE_LIMIT_EXCEPTIONS": exceptions}
    if is_good:
        assert len(read(CoreSettings, environ).allowances().others) == exceptions.count("=")
    else:
        with pytest.raises(SettingsError, match=r"^RATE_LIMIT_EXCEPTIONS: "):
            read(CoreSettings, environ)
