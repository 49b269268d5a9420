"""How laws are run: the same examples every time, as many as a test can afford, and no clock that judges them."""

from hypothesis import HealthCheck, settings

LAW = settings(derandomize=True, deadline=None, max_examples=200)
PROGRAMS = settings(LAW, max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""For laws over long sequences of calls."""
