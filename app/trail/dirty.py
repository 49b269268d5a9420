"""Marks that an account's snapshot has to be published anew.

A lower domain marks; before the transaction commits one hook composes and raises the revision, after it one step
publishes. The marks that reach the table `dirty_accounts` outlive a crash between the two.
"""

from uuid import UUID

from app.io.postgres import Transaction


def mark(tx: Transaction, account_id: UUID) -> None:
    """The account's credits, plan or status change in this transaction."""
    tx.marked.add(account_id)


def mark_environment(tx: Transaction) -> None:
    """The catalogue changes in this transaction: every account of the environment is composed anew."""
    tx.whole_environment = True
