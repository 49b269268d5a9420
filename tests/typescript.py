"""The TypeScript SDK as tests need it: with the tools of its lock, and built. Who comes first does it for all."""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

from tests.programs import program

FOLDER = Path(__file__).parents[1] / "sdks" / "typescript"
_SOURCES = ("package*.json", "tsconfig*.json", "scripts/**/*", "src/**/*")
_STAMP = FOLDER / "node_modules" / ".made-from"


def built_sdk() -> Path:
    """The package's folder. Other processes wait meanwhile, so that none reads what is half made."""
    lock = os.open(FOLDER, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (FOLDER / "dist").is_dir() or not _STAMP.is_file() or _STAMP.read_text() != _digest():
            for arguments in (("ci", "--no-audit", "--no-fund"), ("run", "build")):
                done = subprocess.run(
                    [program("npm"), *arguments],
                    cwd=FOLDER,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
                assert done.returncode == 0, done.stdout.decode()
            _STAMP.write_text(_digest())
    finally:
        os.close(lock)
    return FOLDER


def _digest() -> str:
    """What it is made from."""
    files = sorted({file for pattern in _SOURCES for file in FOLDER.glob(pattern) if file.is_file()})
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(FOLDER)} {len(content)}\n".encode() + content)
    return digest.hexdigest()
