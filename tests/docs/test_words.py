"""Pages use the words of the field, and none beside them for the same thing."""

import re
from collections.abc import Iterator

from tests.docs.blocks import pages
from tests.floors.source import ROOT, refuse

INSTEAD = {
    r"wallets?": "credit",
    r"credit (?:lots?|buckets?|batch(?:es)?)": "credit block",
    r"credit (?:packs?|bundles?)": "top-up package, or a pack of credit where a product's own is meant",
    r"(?:credit )?holds on credit": "reservation",
    r"captur(?:e[sd]?|ing)": "commit",
    r"(?:cancel|abort|void)(?:l?ed|l?ing)? (?:a|the) reservations?": "release",
    r"reservations? (?:times?|timed) out": "expire",
    r"burn(?: |)downs?": "burn-down",
    r"roll-over|carry-over|carryover": "rollover",
    r"overdrafts?": "overage, or debt",
    r"sub-?accounts?": "environment",
    r"skus?|price plans?|tariffs?": "plan, or variant",
    r"plan variations?": "variant",
    r"meter(?:ed)? items?|metrics? to bill": "feature",
    r"dedup(?:lication)? (?:keys?|ids?)|request keys?": "idempotency key",
    r"tenant users?|subaccounts?": "customer",
    r"test mode|test environments?": "sandbox",
    r"production environments?": "live environment",
}
"""What is not said, and what is."""
FREE = re.compile(r"^(?:docs/decisions/|docs/demo/|CHANGELOG\.md|sdks/)")
"""Pages that tell of what was considered, of somebody's product, or of what was."""
_PATTERN = re.compile(rf"\b(?:{'|'.join(f'({word})' for word in INSTEAD)})\b", re.IGNORECASE)
_CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`|\]\([^)]+\)", re.MULTILINE | re.DOTALL)
ALLOWED = {"docs/cookbook/README.md": {"credit packs"}}
"""What a page may say all the same: the name of a product there."""


def offences(page: str, text: str) -> Iterator[str]:
    """Words of others, outside code and addresses."""
    prose = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    for found in _PATTERN.finditer(prose):
        if found[0].lower() not in ALLOWED.get(page, set()):
            said = list(INSTEAD.values())[(found.lastindex or 1) - 1]
            yield f"{page}:{prose.count(chr(10), 0, found.start()) + 1}: {found[0]!r}; here it is {said}"


def test_pages_say_what_the_contract_says() -> None:
    """One word for one thing, everywhere."""
    texts = [(page, (ROOT / page).read_text()) for page in pages() if not FREE.match(page)]
    refuse((offence for page, text in texts for offence in offences(page, text)), "Use the word of docs/concepts.md.")


def test_this_floor_bites() -> None:
    """A word of others, and the same in code."""
    assert list(offences("a.md", "The wallet.\n")) == ["a.md:1: 'wallet'; here it is credit"]
    assert not list(offences("a.md", "The `wallet`.\n\n```sh\nwallet\n```\n"))
