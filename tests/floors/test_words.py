"""What no committed file may say: work put off, download addresses, paths of the machine it was written on."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.floors.source import ROOT, refuse, texts

PUT_OFF = re.compile(r"\b(?:TO[D]O|FIX[M]E|X{3})\b")
DOWNLOAD = re.compile(r"https?://\S+\.(?:whl|tgz|tar\.gz)\b")
LOCKED = re.compile(r"://|^-", re.MULTILINE)


def matches(pattern: re.Pattern[str], path: str, text: str) -> Iterator[str]:
    """Every place of the text that the pattern finds."""
    for match in pattern.finditer(text):
        yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"


def machine_paths(root: Path, home: Path) -> re.Pattern[str]:
    """Finds the two folders that differ from machine to machine; a root or home of `/` names nothing."""
    folders = [re.escape(str(folder)) for folder in (root, home) if folder != Path("/")]
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(folders) or '(?!)'})(?![\w-])")


def found(pattern: re.Pattern[str]) -> list[str]:
    """Every place in the committed files that the pattern finds."""
    return [offence for path, text in texts() for offence in matches(pattern, path, text)]


def test_nothing_is_put_off() -> None:
    """No mark that says: later."""
    refuse(found(PUT_OFF), "Do it now, or leave it out and say nothing of it here.")


def test_no_download_address() -> None:
    """No file names the place that an archive comes from; the locks hold hashes only."""
    refuse(found(DOWNLOAD), "Name the package and its version; the reader's own registry knows the address.")


def test_locks_hold_names_and_hashes_only() -> None:
    """No address and no index option in a lock file: it installs from whatever registry the machine uses."""
    locks = [offence for path, text in texts() if path.endswith(".lock") for offence in matches(LOCKED, path, text)]
    refuse(locks, "Write the locks with `make lock`.")


def test_no_path_of_this_machine() -> None:
    """Neither this checkout's own path nor the home directory stands in a committed file."""
    refuse(
        found(machine_paths(ROOT, Path.home())), "Write the path relative to the repository, or take it from a setting."
    )
