"""Laws of giving back: nothing is lost, nothing is made, and where nothing happened meanwhile all is as it was."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.ledger.book import DEBT, EXPIRED, Account, block_account
from app.ledger.returning import Drawn, GivenBack, Giving, give_back, refund_id
from app.ledger.targets import Targets
from app.rules import burndown
from app.rules.moments import NEVER_AT
from tests.flusher.batch_subjects import make_account, make_block
from tests.rules.laws import LAW

AT, REVISION, CAUSE = 10, 5, UUID(int=99)
amounts = st.lists(st.integers(1, 50), max_size=5)


def begin(drawn: list[int], debt: int, owed: int, gone: set[int], voided: set[int]) -> tuple[Account, Drawn, Targets]:
    """An account whose blocks were drawn whole; those in `gone` have expired since, those in `voided` were voided."""
    blocks = [make_block(n + 1, amount, AT if n in gone else NEVER_AT) for n, amount in enumerate(drawn)]
    taken = Drawn([(block.id, block.remaining_micro) for block in blocks], debt)
    for block in blocks:
        block.remaining_micro = 0
    account = make_account("user", [])
    account.debt_micro = owed
    named = {block.id: block for block in blocks}
    return account, taken, Targets(blocks=named, voided={UUID(int=n + 1) for n in voided})


def give(account: Account, drawn: Drawn, targets: Targets) -> GivenBack:
    """All of it, at the one moment of these laws."""
    return give_back(account, drawn, targets, Giving(AT, REVISION, CAUSE))


@LAW
@given(amounts, st.integers(0, 50), st.integers(0, 80), st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)))
def test_nothing_is_lost_and_nothing_is_made(
    drawn: list[int], debt: int, owed: int, gone: set[int], voided: set[int]
) -> None:
    """30: what debt, blocks and `expired` gain is what was drawn, and the working copy says the same."""
    account, taken, targets = begin(drawn, debt, owed, gone, voided)
    back = give(account, taken, targets)
    assert sum(amount for _, amount in back.lines) == sum(drawn) + debt
    assert all(amount >= 0 for _, amount in back.lines)
    gains = dict(back.lines)
    assert account.debt_micro == owed - gains[DEBT] >= 0
    for block in account.blocks:
        assert block.remaining_micro == gains[block_account(block.id)]
        assert block.remaining_micro <= block.granted_micro
    assert account.blocks == burndown.sort_blocks(account.blocks)
    expired = sum(amount for name, amount in back.lines if name == EXPIRED)
    assert expired == sum(amount for n, amount in enumerate(drawn) if n in gone - voided)
    back_to_debt = debt + sum(amount for n, amount in enumerate(drawn) if n in voided)
    assert gains[DEBT] == min(owed, back_to_debt)
    assert sum(block.remaining_micro for block in back.blocks.made) == back_to_debt - gains[DEBT]
    refunds = [(block.id, block.known_revision, block.expires_at) for block in back.blocks.made]
    assert refunds in ([], [(refund_id(CAUSE), REVISION, NEVER_AT)])


@LAW
@given(amounts, st.integers(0, 300))
def test_where_nothing_happened_all_is_as_it_was(held: list[int], amount: int) -> None:
    """31: drawing an amount and giving it back changes no block and no debt."""
    account = make_account("user", [make_block(n + 1, one) for n, one in enumerate(held)])
    before = [structs.replace(block) for block in account.blocks]
    draws, debt = burndown.plan_draws(account.blocks, amount, AT, REVISION)
    taken = Drawn([(draw.block.id, draw.amount_micro) for draw in draws], debt)
    for draw in draws:
        draw.block.remaining_micro -= draw.amount_micro
    account.debt_micro += debt
    dead = {block.id: block for block in account.blocks if not block.remaining_micro}
    account.blocks = [block for block in account.blocks if block.remaining_micro]  # as the next batch finds it
    assert give(account, taken, Targets(blocks=dead)).blocks.made == []
    assert account.debt_micro == 0
    assert account.blocks == before


@LAW
@given(amounts, st.integers(0, 50), st.integers(0, 400))
def test_a_part_and_the_rest_are_the_whole(held: list[int], debt: int, first: int) -> None:
    """30: what is used comes first, in the order of the draws, and debt last of all."""
    whole = Drawn([(UUID(int=n + 1), amount) for n, amount in enumerate(held)], debt)
    used, rest = whole.split(first)
    assert used.joined(rest) == whole
    total = sum(amount for _, amount in used.draws) + used.debt_micro
    assert total == min(first, sum(held) + debt)
    assert not (rest.draws and used.debt_micro)
    assert all(amount > 0 for _, amount in [*used.draws, *rest.draws])
