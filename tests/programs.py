"""Programs of the system that a test drives: where one is missing the test is skipped, and in CI it fails."""

import os

import pytest

from loadtests.programs import MissingPrograms, find


def program(name: str) -> str:
    """The path of a program; without it the test ends here and says what installs it."""
    try:
        return find(name)
    except MissingPrograms as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
