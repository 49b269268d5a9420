"""The one exception of this package."""


class EmbeddedError(Exception):
    """What keeps the stack from running, said in one line to the person at the terminal, with the way out."""
