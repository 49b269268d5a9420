"""The Python SDK as its users get it: a wheel, installed where nothing else of this repository is."""

import os
import shutil
import subprocess
import sys
import sysconfig
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

USE = """
import importlib.metadata, sys
from pathlib import Path
import quotastack
from quotastack._sync.transport import VERSION

where = Path(quotastack.__file__)
assert where.is_relative_to(sys.prefix), where
assert importlib.metadata.version("quotastack-sdk") == VERSION
with quotastack.QuotaStack("qs_test_x", url="http://127.0.0.1:9", attempts=1) as client:
    assert client.check_entitlement("ada", "f").source == "fallback"
print("used")
"""


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, with the setuptools that is here: no index is asked."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    shutil.copytree(repository / "sdks" / "python", source, ignore=shutil.ignore_patterns("*.egg-info", "build"))
    run("uv", "build", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable, str(source))
    (built,) = (source / "dist").glob("*.whl")
    return built


def run(program: str, *arguments: str) -> str:
    """What it says; it has to succeed."""
    folder = sysconfig.get_path("scripts")
    path = os.pathsep.join([folder, os.environ["PATH"]])
    found = shutil.which(program, path=path) or program
    variables = os.environ | {"PATH": path, "VIRTUAL_ENV": sys.prefix}
    variables.pop("PYTHONPATH", None)
    done = subprocess.run([found, *arguments], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_in_it(wheel: Path) -> None:
    """The package with its mark for type checkers, the licence, and no more; and it asks for two others."""
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        said = Parser().parsestr(archive.read(metadata).decode())
    assert {"quotastack/py.typed", "quotastack/_sync/client.py"} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"quotastack", "quotastack_sdk"}
    needed = [line for line in said.get_all("Requires-Dist", []) if "extra" not in line]
    assert needed == ["httpx>=0.28", "msgspec>=0.22"]
    assert said["Name"] == "quotastack-sdk"
    assert "QuotaStack" in str(said.get_payload())


def test_it_is_used_by_itself(wheel: Path, tmp_path: Path) -> None:
    """In a fresh environment; what it needs is lent from this one, so that no index is asked."""
    environment = tmp_path / "venv"
    run("uv", "venv", "--offline", "--python", sys.executable, str(environment))
    python = str(environment / "bin" / "python")
    run("uv", "pip", "install", "--offline", "--no-deps", "--python", python, str(wheel))
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert run(python, "-I", "-c", USE) == "used\n"
