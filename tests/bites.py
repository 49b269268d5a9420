"""Taking one rule of the product out at a time: what is made up has to miss each, or its tests are idle."""

from collections.abc import Callable
from typing import Any, NamedTuple
from unittest.mock import patch


class Rule(NamedTuple):
    """What keeps a rule (a name of a module or class, or a key of a dict), and what is put in its place."""

    where: Any
    name: Any
    replacement: Any


def is_missed(rule: Rule, live: Callable[[int], object], seeds: int) -> bool:
    """Whether some seed tells, by an AssertionError of `live`, that the rule is gone."""
    without: Any = (
        patch.dict(rule.where, {rule.name: rule.replacement}) if isinstance(rule.where, dict) else patch.object(*rule)
    )
    with without:
        return any(_fails(live, seed) for seed in range(seeds))


def _fails(live: Callable[[int], object], seed: int) -> bool:
    try:
        live(seed)
    except AssertionError:
        return True
    return False
