"""A reader who pastes the blocks of a page in their order: into one shell, one Python program, one module for node.

Each of the three is a process that takes turns: it waits where a block begins until it is told to go on. So the blocks
of a language share their names, and what one language does the next one finds. A program begins with what the shell has
exported by then.
"""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.docs.blocks import Block
from tests.floors.source import ROOT
from tests.programs import program
from tests.typescript import built_sdk

SECONDS = 60
"""How long one block may take."""
END_SECONDS = 20
LINKED = ("docs", "deploy", "sdks")
"""Folders of the checkout that a reader has at hand; what a page writes is in a folder of its own."""
HERE = Path(__file__).parent
_SHELL = """
set -euo pipefail
while read -r file <&"$TURN_IN"; do
  source "$file" </dev/null
  env -0 >"$file.exported"
  echo >&"$TURN_OUT"
done
"""


class Pupil:
    """A process that waits for its turns."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        turn_in, self._go = os.pipe()
        self._came, turn_out = os.pipe()
        self._output = folder / f"output-{command[0].rpartition('/')[2]}"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "TURN_IN": str(turn_in), "TURN_OUT": str(turn_out)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(turn_in, turn_out),
            )
        os.close(turn_in)
        os.close(turn_out)
        self._read = 0

    def go_on(self, word: str = "") -> None:
        """Its next turn."""
        os.write(self._go, f"{word}\n".encode())

    def wait_for_turn(self, block: Block) -> str:
        """What it printed until it came to the end of a block; AssertionError where it ends there, or does not come."""
        ready, _, _ = select.select([self._came], [], [], SECONDS)
        has_come = ready and os.read(self._came, 1)
        output = self.printed()
        assert ready, f"{block.place}: nothing came of it within {SECONDS} s\n{output}"
        assert has_come, f"{block.place}: it failed\n{output}"
        return output

    def printed(self) -> str:
        """What is new of its output."""
        with self._output.open("rb") as output:
            output.seek(self._read)
            content = output.read()
        self._read += len(content)
        return content.decode()

    def end(self) -> None:
        """Let it run to its own end; AssertionError where that is a bad one, or does not come."""
        os.close(self._go)
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            status = "it runs on"
        assert status == 0, f"{self._process.args[0]}: {status}\n{self.printed()}"  # type: ignore[index]

    def forget(self) -> None:
        """Leave nothing of it."""
        os.close(self._came)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def module_of(blocks: list[Block], turn: str) -> str:
    """The blocks as one text, each at the lines that it has on its page, a turn above each and below the last."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - len(lines) - 1)
        lines += [turn, *block.text.splitlines()]
    return "\n".join([*lines, turn, ""])


def install(packages: Path) -> None:
    """The SDK as `npm install` leaves it, and beside it what its examples are about."""
    sdk = built_sdk()
    packages.mkdir()
    (packages / "quotastack").symlink_to(sdk)
    for package in (sdk / "node_modules").iterdir():
        if package.name[0] not in "._":
            (packages / package.name).symlink_to(package)


class Reader:
    """Goes through the blocks of one page, in a folder of its own."""

    def __init__(self, blocks: list[Block], folder: Path, environment: Mapping[str, str]) -> None:
        self._blocks, self._folder = blocks, folder
        self._pupils: dict[str, Pupil] = {}
        self._environment = dict(environment)
        for name in LINKED:
            if (ROOT / name).exists():
                (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)
        self._environment["PYTHONPATH"] = str(ROOT / "sdks" / "python" / "src")

    def outputs(self) -> list[str]:
        """Run everything; what each block printed. AssertionError where one fails."""
        found: list[str] = []
        for block in self._blocks:
            kind = "node" if block.language in {"ts", "js"} else block.language
            pupil = self._pupil(kind)
            pupil.go_on(self._script(block) if kind == "sh" else "")
            found.append(pupil.wait_for_turn(block))
            if kind == "sh":
                self._take_over(block)
        for pupil in self._pupils.values():
            pupil.end()
        return found

    def forget(self) -> None:
        """Leave no process."""
        for pupil in self._pupils.values():
            pupil.forget()

    def _pupil(self, kind: str) -> Pupil:
        if kind not in self._pupils:
            make = {"sh": self._shell, "python": self._python, "node": self._node}[kind]
            self._pupils[kind] = Pupil(make(), self._folder, self._environment)
        return self._pupils[kind]

    def _shell(self) -> list[str]:
        return [program("bash"), "--noprofile", "--norc", "-c", _SHELL]

    def _python(self) -> list[str]:
        whole = module_of([block for block in self._blocks if block.language == "python"], "_turn()")
        (self._folder / "page.py").write_text(whole)
        return [sys.executable, str(HERE / "turns.py"), "page.py"]

    def _node(self) -> list[str]:
        whole = module_of([block for block in self._blocks if block.language in {"ts", "js"}], "await _turn()")
        (self._folder / "page.ts").write_text(whole)
        install(self._folder / "node_modules")
        return [program("node"), "--enable-source-maps", str(HERE / "turns.mjs"), "page.ts"]

    def _script(self, block: Block) -> str:
        script = self._folder / f"line-{block.line}.sh"
        script.write_text("\n" * block.line + block.text)
        return str(script)

    def _take_over(self, block: Block) -> None:
        """What the shell has exported by now: programs that begin after this block have it."""
        exported = Path(f"{self._script(block)}.exported").read_bytes().decode()
        pairs = (pair.partition("=") for pair in exported.split("\0") if pair)
        self._environment |= {name: value for name, _, value in pairs if not name.startswith("TURN_")}


@contextmanager
def reading(blocks: list[Block], folder: Path, environment: Mapping[str, str]) -> Iterator[Reader]:
    """A reader of these blocks; none of its processes is left behind."""
    reader = Reader(blocks, folder, environment)
    try:
        yield reader
    finally:
        reader.forget()
