"""Carried: no sentence is passed over in silence - it is carried out, or told."""

from __future__ import annotations

import pytest

from zencode import sentences as s
from zencode.binding import Binding, Block, Statement, same_fact, sorted_statements
from zencode.languages import Phase
from zencode.reader import read
from zencode.sentences import BY_ID, SENTENCES, Sentence
from zencode.terms import terms

#: New sentences that the state machine carries out; tests of the node prove it of each.
CARRIED = {s.CATALOGUE, s.PAY_AS_BID, s.EQUAL_PARTS, s.ROUNDS, s.EQUAL_ROUNDS, s.NAMED_KEY}

#: Whatever an example of the catalogue names is here.
WORLD = read("""\
Rule language 'en'
Rule binding version 1
Scenario 'market': Palm Bay
Given the currency is 'EUR'
And there is a role 'member'
And there is a role 'operator'
And there is a role 'helped'
And 'flat 1A' has an allocation share of 100 %
And 'flat 1A' has an allocation share of 100 % in the band 'peak'
And the band 'peak' runs from 08:00 to 19:00 on 'Monday to Friday'
And the battery 'Bay Battery' stores 400 kWh at 100 kW and belongs to 'Bay Coop'
And the feeder 'Harbour Road' is measured by the meter 'a1'
And the feed 'grid' tells whether the grid is there
And the grid fee between members who share 0 levels of the grid is 0.05 EUR/kWh
And the grid fee between members who share 1 levels of the grid is 0.04 EUR/kWh
And value added tax of category 'S' is 19 %
And the asset 'PALM' is 'money' and at most 1000 of it exist
And the asset 'SUN' is 'utility' and at most 1000 of it exist
And the asset 'ACCESS' is 'utility' and at most 1000 of it exist
And the asset 'STORED' is 'energy' and at most 1000 of it exist
And 'flat 1A' has rank 1 in sharing
When a member leaves
Then keep the contract open for 1 month
""")


def _with(row: Sentence) -> Binding:
    """The world with one more sentence, which stands where it may."""
    said = Statement(row.id, row.example)
    rules, givens, blocks = list(WORLD.rules), list(WORLD.givens), list(WORLD.blocks)
    if row.phase == Phase.RULE:
        rules.append(said)
    elif row.phase == Phase.GIVEN:
        # The one of the world, and with it whatever else the example says of the same, gives way.
        givens = [given for given in givens if row.id == s.BAND_SHARE or same_fact(given) != same_fact(said)]
        givens += [] if row.id == s.BAND_SHARE else [said]
    elif row.phase == Phase.WHEN:
        blocks.append(Block(said, (), (_action(row.id),)))
    elif row.phase == Phase.IF:
        blocks.append(Block(_event(row), (said,), (_action(row.under[0]),)))
    else:
        conditions = (Statement(s.ORDER_BUYS),) if row.id == s.REFUSE_ORDER else ()
        blocks.append(Block(_event(row), conditions, (said, *_verdict(row))))
    if any(block.event.id == s.ORDER for block in blocks) and not _matches(blocks):
        blocks.append(Block(Statement(s.ORDER), (), (Statement(s.PAY_AS_CLEAR),)))
    return Binding(WORLD.scenario, WORLD.title, sorted_statements(rules), sorted_statements(givens), tuple(blocks))


def _event(row: Sentence) -> Statement:
    return Statement(row.under[0], BY_ID[row.under[0]].example)


def _action(event: int) -> Statement:
    """Some action that makes sense at an event, and is not about all members."""
    rows = [row for row in SENTENCES if row.phase == Phase.THEN and event in row.under and row.id not in _MECHANISMS]
    return Statement(rows[0].id, rows[0].example)


def _verdict(row: Sentence) -> tuple[Statement, ...]:
    return (Statement(s.ACCEPT),) if s.JOIN in row.under else ()


def _matches(blocks: list[Block]) -> bool:
    return any(action.id in _MECHANISMS for block in blocks for action in block.actions)


_MECHANISMS = {s.PAY_AS_CLEAR, s.ORDER_BOOK, s.FALLING, s.PAY_AS_BID, s.RISING} | {
    row.id for row in SENTENCES if row.name.startswith(("mid-market", "fixed", "allocation by", "sharing", "equal"))
}


@pytest.mark.parametrize("row", [row for row in SENTENCES if row.since > 1], ids=lambda row: row.name)
def test_a_new_sentence_is_carried_out_or_told(row: Sentence) -> None:
    told = row.name in terms(_with(row)).beyond
    assert told != (row.id in CARRIED)
