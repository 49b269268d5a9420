"""How far it is: a bar with rate and time left on a terminal, a line at every twentieth elsewhere."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

STEPS: Final = 20

Advance = Callable[[int], None]


@contextmanager
def show_progress(console: Console, what: str, total: int) -> Generator[Advance]:
    """Show how many of `total` are done, as the function that is given is told of more."""
    if not console.is_terminal:
        yield _Lines(console, what, total).advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """So many a second."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class _Lines:
    def __init__(self, console: Console, what: str, total: int) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._done = 0
        self._steps = 0

    def advance(self, count: int) -> None:
        self._done += count
        steps = STEPS * self._done // self._total
        if steps > self._steps:
            self._steps = steps
            percent = 100 * self._done // self._total
            self._console.print(f"{self._what}: {self._done} of {self._total} ({percent} %)", soft_wrap=True)
