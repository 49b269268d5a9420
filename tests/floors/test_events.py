"""Every event that can be told is on its page, and nothing else is."""

import re

from app.trail.outbox import EventType
from tests.floors.source import refuse
from tests.floors.test_pages import differences

ENTRY = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \|", re.MULTILINE)


def test_every_event_is_explained() -> None:
    """docs/webhooks.md has a row for each type, with when it is told and what its data are."""
    repair = (
        "Give each member of EventType a row (| `type` | when | data |) in docs/webhooks.md, and remove the others."
    )
    refuse(differences({event_type.value for event_type in EventType}, "docs/webhooks.md", ENTRY), repair)
