"""Questions to the product while a scenario loads it; what they ask for has to hold at any speed.

One file is one probe. Each has a PROBE, and is named here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from loadtests.probes import crash, freshness, race, replay, reserve, void
from loadtests.probes.probe import Probe

PROBES: Mapping[str, Probe] = MappingProxyType(
    {module.PROBE.name: module.PROBE for module in (race, reserve, replay, freshness, void, crash)}
)
