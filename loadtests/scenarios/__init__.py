"""What is played, by name: each module says which scripts its users follow, and how many of them follow which.

Nothing here knows Locust: `loadtests/load/user.py` lets one of its users follow a script, and tests follow one by hand.
"""

from collections.abc import Mapping
from types import MappingProxyType

from loadtests.scenarios import api_platform, chat_app, mixed
from loadtests.scenarios.script import Script

SCENARIOS: Mapping[str, Mapping[type[Script], int]] = MappingProxyType(
    {module.__name__.rpartition(".")[2]: module.SCRIPTS for module in (chat_app, api_platform, mixed)}
)
