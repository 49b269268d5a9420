"""Marks that an account's snapshot has to be published anew.

A lower domain marks; before the transaction commits one hook composes and raises the revision, after it one step
publishes. The marks that reach the table `dirty_accounts` outlive a crash between the two.
"""

from uuid import UUID

from app.io.postgres import Transaction
from app.io.statements import statements

_SQL = statements("app.trail")
MAX_LEFT_OVER = 1_000
"""Accounts that one replay publishes; the flusher takes what is beyond."""


def mark(tx: Transaction, account_id: UUID) -> None:
    """The account's credits, plan or status change in this transaction."""
    tx.marked.add(account_id)


def mark_environment(tx: Transaction) -> None:
    """The catalogue changes in this transaction: every account of the environment is composed anew."""
    tx.whole_environment = True


async def hold_catalogue(tx: Transaction) -> None:
    """Keep the environment's catalogue as it is until the transaction ends.

    Without it a customer made beside a new feature could be composed without that feature, and stay so. It is taken
    before any account is locked: a change of the catalogue locks in that order too.
    """
    await tx.connection.execute(_SQL["lock_catalogue_shared"], str(tx.environment))


async def change_catalogue(tx: Transaction) -> None:
    """Wait for every composition under way, and have new ones wait, until the transaction ends.

    What follows touches every account of the environment, so it may take longer than other statements.
    """
    await tx.connection.execute("SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '1min'")
    await tx.connection.execute(_SQL["lock_catalogue"], str(tx.environment))


async def publish_left_over(tx: Transaction) -> None:
    """Have what earlier transactions changed published before this one is answered.

    A replay stands for a request that may still be on its way to the edge, or died there: whoever gets the same answer
    gets the same promise.
    """
    rows = await tx.connection.fetch(_SQL["list_unpublished"], tx.environment, MAX_LEFT_OVER)
    tx.unpublished.update(row["account_id"] for row in rows)
