"""The one exception of this package."""


class ReplayError(Exception):
    """What keeps a file from being metered, in one line for the person at the terminal."""
