"""Who does it this time: some do nearly everything, and most do nearly nothing."""

EXPONENT = 3


def heavy_tail(count: int, share: float) -> int:
    """One of `count`, for a `share` drawn evenly from [0, 1): the first is drawn count^(-1/3) of the time.

    The same choice as in `quotastack replay`: floor(count · share³).
    """
    return min(int(count * share**EXPONENT), count - 1)
