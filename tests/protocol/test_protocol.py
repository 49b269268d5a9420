"""The protocol holds in thousands of random interleavings, and each of its rules is needed.

A failure prints its seed and what happened; `run(seed, faults=...)` of tests/protocol/schedule.py does it again.
"""

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.protocol.spread import Search, find_violation

PARTS = 4
MOST_SECONDS = 600
"""For runs that were asked to be long."""

# Each rule is switched off alone. `faults`: whether it takes the loss of a store's memory to see that it is missing.
RULES = """
rule        | faults | without it                                                       | noticed as
revision    | no     | a late publish overwrites newer figures                          | not fresh
quiet       | yes    | a cost that nobody can read any more is never made up for        | drift
duplicates  | no     | an event of which the ledger knows does not count as applied     | accepted is not what waits
known       | no     | entries draw from blocks that their edge did not know            | the ledger depends on lag
dedupe      | no     | an event is posted whatever the ledger knows                     | posted twice
tick        | no     | accounts have no boundary at which they wait                     | overspend
dated       | no     | a publish does not say from when on its figures count            | what is enforced leaves a debt
clamp       | no     | an edge's clock may date a decision before an earlier one        | overspend
modulo      | no     | totals are not kept modulo 2^52                                  | beyond a double
drain       | no     | a load does not wait for what is in the stream                   | accepted is not what waits
token       | no     | figures read before something happened to the account are loaded | not fresh
absent      | no     | a publish that finds no account leaves the load under way alone  | not fresh
new         | no     | a new account is loaded with figures read before its load began  | not fresh
cursor      | no     | a flusher posts though lease and cursor are another's            | accepted is not what waits
republish   | no     | what a dead flusher committed and did not publish stays so       | not fresh
again       | yes    | what is published again comes without its cursor                 | drift
marks       | no     | what core committed and did not publish stays so                 | not fresh
incarnation | yes    | a memory that went back is read on from the ledger's cursor      | lost
drop        | yes    | accounts outlive the incarnation that they belong to             | accepted is not what waits
promoted    | yes    | a replica that took over counts as the server before it          | not fresh
behind      | yes    | a memory that published less than the ledger has posted is kept  | lost
restored    | yes    | a ledger that went back is not met with a new incarnation        | not fresh
hold        | no     | an account goes on deciding while an order is on its way         | overspend
release     | no     | any publish ends the wait for an order                           | overspend
once        | no     | an order is carried out as often as it is given                  | carried out twice
reprice     | no     | an edge prices by its own clock                                  | price of another moment
turn        | no     | the end of a period is no boundary                               | counted in another period
period      | no     | a new period comes only where nothing is under way               | counted in another period
deferred    | no     | what came back is spendable though its blocks may have expired   | overspend
kept        | no     | what came back outlives the boundary that it was reserved under  | overspend
reloaded    | no     | a reservation that was loaded again counts as opened just now    | overspend
back        | yes    | an account is loaded without its open reservations               | open ones differ
dropped     | yes    | open reservations outlive the incarnation that they belong to    | ended twice
first end   | no     | a reservation ends as often as somebody ends it                  | ended twice
seen        | no     | an opening that is asked for again is made again                 | open ones differ
due         | no     | a reservation can be used when its time is over                  | ended in time after it was due
due first   | no     | credit is refused that a reservation holds whose time is over    | refused for what is past due
late once   | no     | what was committed late is committed late again                  | another commit came first
opened      | yes    | an opening is posted whatever the ledger knows                   | reserved is not what is held
ended       | yes    | an end is posted whatever the ledger knows                       | reserved is not what is held
reopens     | no     | what was forgotten is opened again in Redis, not in the ledger  | overspend
charged     | no     | a key that was charged is charged again when it is opened again | posted twice
joins       | no     | new usage does not wait behind what is spooled                   | out of order
in order    | no     | an edge takes in what it spooled in any order                    | out of order
same id     | no     | what was spooled is taken in under another id                    | lost
struck      | no     | what was spooled is forgotten before Redis has it                | lost
adopted     | no     | what a dead edge has spooled stays there                         | lost
listed      | no     | what will never be taken in is forgotten                         | lost
look        | yes    | the lease holder looks at the memory only when it takes over     | stuck
"""
ROWS = [[cell.strip() for cell in row.split("|")] for row in RULES.strip().splitlines()[1:]]


@pytest.mark.slow
@pytest.mark.timeout(MOST_SECONDS)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("faults", [False, True], ids=["no faults", "faults"])
def test_protocol_holds(pool: ProcessPoolExecutor, seeds: range, part: int, *, faults: bool) -> None:
    """Nothing is overspent, lost, posted twice, ended twice, stale or stuck, in any order of events."""
    broken = find_violation(pool, Search(seeds[part::PARTS], faults))
    assert broken is None, broken


@pytest.mark.slow
@pytest.mark.timeout(MOST_SECONDS)
@pytest.mark.parametrize(("rule", "faults", "kind"), [(row[0], row[1] == "yes", row[3]) for row in ROWS])
def test_every_rule_is_needed(pool: ProcessPoolExecutor, seeds: range, rule: str, kind: str, *, faults: bool) -> None:
    """Without the rule some schedule breaks, in the way that the table says."""
    broken = find_violation(pool, Search(seeds, faults, rule, kind))
    assert broken is not None, f"nothing misses the rule '{rule}'"
