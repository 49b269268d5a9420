"""What admit.lua does, in Python, and a reader of the fields in which answers say it (RFC 9651)."""

import re
from dataclasses import dataclass, field

ITEM = re.compile(r'"(?P<name>[ !#-\[\]-~]*)"(?P<parameters>(?:; *[a-z]+=[0-9]{1,15})*)')
PARAMETER = re.compile(r"; *([a-z]+)=([0-9]{1,15})")


@dataclass(frozen=True)
class Call:
    """Arguments of admit.lua; who asks and in which window is a number."""

    key: int
    tenant: int
    window: int
    key_most: int
    tenant_most: int
    waiting: int
    ahead: int


@dataclass
class Counters:
    """What is counted."""

    keys: dict[tuple[int, int, int], int] = field(default_factory=dict)
    tenants: dict[tuple[int, int], int] = field(default_factory=dict)

    def admit(self, call: Call) -> list[int]:
        """Grant what there is: to those that wait all of it, ahead a fiftieth of the rest at most."""
        key, tenant = (call.tenant, call.key, call.window), (call.tenant, call.window)
        key_left = max(0, call.key_most - self.keys.get(key, 0))
        tenant_left = max(0, call.tenant_most - self.tenants.get(tenant, 0))
        granted = min(call.waiting, key_left, tenant_left)
        granted += min(call.ahead, (min(key_left, tenant_left) - granted) // 50)
        self.keys[key] = self.keys.get(key, 0) + granted
        self.tenants[tenant] = self.tenants.get(tenant, 0) + granted
        return [granted, key_left - granted, tenant_left - granted]


def read_list(value: str) -> dict[str, dict[str, int]]:
    """A list of strings with integers as parameters, which is all that these fields are; ValueError for another."""
    found: dict[str, dict[str, int]] = {}
    for text in re.split(r"[ \t]*,[ \t]*", value):
        item = ITEM.fullmatch(text)
        if item is None:
            raise ValueError(text)
        found[item["name"]] = {name: int(number) for name, number in PARAMETER.findall(item["parameters"])}
    return found
