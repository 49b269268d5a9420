"""Whose rows a transaction sees is set in one place, and nothing that could undo it is said anywhere."""

import re
from collections.abc import Iterator

from tests.floors.source import refuse, texts

THE_ONE_PLACE = "app/io/postgres.py"
SETTING = re.compile(
    r"set_config\s*\(|\bSET\s+(?:LOCAL\s+|SESSION\s+)?(?:app\.|ROLE\b|SESSION\s+AUTHORIZATION\b|row_security\b)"
    r"|\bRESET\s+(?:ALL|ROLE|app\.)|\bBYPASSRLS\b|\bNO\s+FORCE\s+ROW|\bDISABLE\s+ROW\s+LEVEL",
    re.IGNORECASE,
)
PRODUCT = re.compile(r"(?:app|edge|migrations|deploy)/.*\.(?:py|sql)$")


def settings(path: str, text: str) -> Iterator[str]:
    """Every place that sets the environment, another role, or row-level security."""
    for match in SETTING.finditer(text):
        yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"


def test_the_environment_is_set_in_one_place() -> None:
    """`Transaction.enter`, for the transaction alone: Database.run calls it, and the audit of what operators do."""
    product = [(path, text) for path, text in texts() if PRODUCT.match(path)]
    found = [offence for path, text in product if path != THE_ONE_PLACE for offence in settings(path, text)]
    repair = "Give Database.run the environment: it is set for the one transaction, and in one place."
    refuse(found, repair)
    here = dict(product)[THE_ONE_PLACE]
    assert len(list(settings(THE_ONE_PLACE, here))) == 1
    assert "set_config('app.environment_id', $1, true)" in here


def test_this_floor_bites() -> None:
    """Each way to see other rows is found; what is set besides is not."""
    for text in (
        "SELECT set_config('a', 'b', true)",
        "SET app.environment_id = 'x'",
        "set local role quotastack",
        "SET SESSION AUTHORIZATION x",
        "SET LOCAL row_security = off",
        "RESET ALL",
        "ALTER ROLE x BYPASSRLS",
        "ALTER TABLE t NO FORCE ROW LEVEL SECURITY",
    ):
        assert list(settings("app/a.py", text)), text
    assert not list(settings("app/a.py", "SET LOCAL statement_timeout = 0; UPDATE accounts SET application = 1"))
