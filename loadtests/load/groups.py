"""What went wrong in several tasks at once."""

from collections.abc import Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The single errors, out of however many groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
