"""How laws are run: the same examples every time, and no clock that judges them."""

from hypothesis import settings

LAW = settings(derandomize=True, deadline=None, max_examples=200)
