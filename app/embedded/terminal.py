"""What the supervisor says: coloured on a terminal, plain everywhere else."""

from typing import Final

from rich.console import Console
from rich.markup import escape

_NAME_WIDTH: Final = 8


class Terminal:
    """Prints short lines. A terminal that has gone away is no reason to leave things running."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def state(self, name: str, what: str) -> None:
        """Say what became of one part of the stack."""
        self._print(f"[bold]{name:<{_NAME_WIDTH}}[/bold]  {escape(what)}")

    def heading(self, text: str) -> None:
        """Begin a paragraph."""
        self._print(f"\n[bold]{escape(text)}[/bold]")

    def line(self, text: str) -> None:
        """Print a line as it is, never folded: it is there to be copied."""
        self._print(escape(text))

    def _print(self, markup: str) -> None:
        try:
            self._console.print(markup)
        except OSError:  # nobody is left to read it
            self._console.quiet = True
