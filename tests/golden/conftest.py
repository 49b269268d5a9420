"""The option that writes golden files anew."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/golden --write-golden`."""
    parser.addoption("--write-golden", action="store_true", help="write the expected files anew from what comes out")
