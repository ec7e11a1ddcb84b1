"""Governance: when a binding begins, what keeps to the one before it, who cannot follow it, and the emergency stop."""

from __future__ import annotations

import pytest

from meshnode.execution.floor import OrderTraded
from meshnode.ledger import proposals
from meshnode.ledger.governance_rows import (
    ADOPTED,
    BEGUN,
    LAPSED,
    OPEN,
    OVERTAKEN,
    REJECTED,
    UNFIT,
    WAITING,
    WITHDRAWN,
)
from meshnode.ledger.order_rows import Standing
from meshnode.ledger.proposals import VOTING_S, BindingMoved
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Lacking, Machine
from meshnode.settlement.closing import PeriodClosed
from meshnode.settlement.posting import Reason
from protocols.block import SignedRecord
from tests.ledger import governing as say
from tests.ledger import order_stories
from tests.ledger.chain import PERIOD_S, Chain, account, member, period_s
from tests.ledger.governing import AUCTION, DEARER, FOUNDED, NOTICE_S, WITHOUT_FEE, village
from zencode.binding import binding_hash
from zencode.reader import read


def _until(chain: Chain, time_s: int) -> None:
    """Let time pass, period by period, so that no block closes more than it may."""
    while chain.now_s < time_s:
        chain.block(time_s=min(time_s, chain.now_s + PERIOD_S))


def _closed(chain: Chain, period: int) -> PeriodClosed:
    found = [
        event
        for events in chain.events.values()
        for event in events
        if isinstance(event, PeriodClosed) and event.start_s == period_s(period)
    ]
    assert len(found) == 1
    return found[0]


def _grid_prices(chain: Chain, period: int) -> set[int]:
    return {one.price_u_kwh for one in _closed(chain, period).settlement.postings if one.reason == Reason.GRID}


# --- from the proposal to the beginning


def test_two_of_three_adopt_it_and_it_begins_at_the_first_boundary_after_the_notice() -> None:
    chain = village()
    made = say.propose(chain, "anna")
    assert chain.say(made) == Verdict.ACCEPTED
    assert say.proposal(chain, made).status == OPEN
    chain.block(say.vote(chain, "bela", made))
    assert say.proposal(chain, made).status == OPEN, "one of three is no 66 %"
    chain.block(say.vote(chain, "anna", made))
    row = say.proposal(chain, made)
    assert (row.status, row.electorate, row.yes, row.no) == (ADOPTED, 3, 2, 0)
    assert row.from_s == period_s(3), "half an hour after the vote, two and a bit periods"
    assert row.from_s >= row.decided_s + NOTICE_S
    before, after = binding_hash(read(FOUNDED)), binding_hash(read(DEARER))
    _until(chain, period_s(3) - 1)
    assert chain.machine.rules(chain.now_s).binding == before
    chain.block(time_s=period_s(3) + 5)
    assert chain.machine.rules(chain.now_s).binding == after
    assert say.proposal(chain, made).status == BEGUN
    # The period before is still open, and is settled by what was in force when it began.
    assert chain.machine.binding_hash() == before
    _until(chain, period_s(5))
    assert _grid_prices(chain, 2) <= {300_000}
    assert chain.machine.state.periods[period_s(2)].binding == before
    assert chain.machine.state.periods[period_s(3)].binding == after


def test_energy_costs_what_the_binding_of_its_period_says_and_corrections_too() -> None:
    """Anna draws a kWh in the last period of the old binding and one in the first of the new; the first comes late."""
    chain = village()
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    say.adopt(chain, say.propose(chain, "anna"))
    _until(chain, period_s(4) + 130)
    assert chain.machine.next_period_s == period_s(4)
    late = chain.say(chain.reading("anna", 2, 1000), chain.reading("anna", 3, 2000))
    assert late == [Verdict.ACCEPTED] * 2
    # 0.30 for the kWh of three periods until the change, 0.40 for the one after it.
    assert chain.claims()[account("anna")] == -700_000


def test_a_block_that_comes_hours_late_begins_it_at_its_boundary_all_the_same() -> None:
    chain = village()
    made = say.propose(chain, "anna")
    from_s = say.adopt(chain, made).from_s
    chain.block(time_s=from_s + 10 * PERIOD_S)
    assert [start for start, _ in chain.machine.state.schedule.items()] == [0, from_s]
    assert chain.machine.state.periods[from_s].binding == say.proposal(chain, made).binding


def test_it_begins_no_sooner_than_its_author_wants() -> None:
    chain = village()
    row = say.adopt(chain, say.propose(chain, "anna", not_before_s=period_s(40) + 1))
    assert row.from_s == period_s(41)


def test_who_abstains_has_voted_and_is_none_of_those_who_adopt_it() -> None:
    """Of four, 66 % are three: with one no and one abstention nobody can adopt it any more."""
    chain = village(4)
    made = say.propose(chain, "anna")
    chain.block(made, say.vote(chain, "anna", made, 2))
    chain.block(say.vote(chain, "bela", made, 2))
    chain.block(say.vote(chain, "carla", made, 0))
    row = say.proposal(chain, made)
    assert (row.status, row.yes, row.no, row.abstained) == (REJECTED, 0, 1, 1)


def test_a_vote_that_nobody_ends_ends_by_itself() -> None:
    chain = village()
    made = say.propose(chain, "anna")
    chain.block(made)
    until_s = say.proposal(chain, made).until_s
    assert until_s == chain.now_s + VOTING_S
    chain.block(time_s=until_s - 1)
    assert say.proposal(chain, made).status == OPEN
    chain.block(time_s=until_s)
    assert say.proposal(chain, made).status == REJECTED
    assert not len(chain.machine.state.proposal_texts), "texts of what is over are not kept"
    assert len(chain.machine.state.bindings) == 1


def test_who_leaves_has_no_vote_any_more_and_takes_its_proposals_along() -> None:
    """Dora's vote against it goes with her: two of the three who are left are enough. Emil's proposal goes with him."""
    chain = village()
    chain.block(chain.join(member("dora")), chain.join(member("emil")))
    chain.block(say.declare(chain, "dora"), say.declare(chain, "emil"))
    made, other = say.propose(chain, "anna"), say.propose(chain, "emil", WITHOUT_FEE)
    chain.block(made, other)
    chain.block(say.vote(chain, "dora", made, 0), say.vote(chain, "anna", made), say.vote(chain, "bela", made))
    assert say.proposal(chain, made).status == OPEN
    chain.block(chain.leave("emil"))
    assert say.proposal(chain, other).status == WITHDRAWN
    assert say.proposal(chain, made).status == OPEN, "two of four"
    chain.block(chain.leave("dora"))
    row = say.proposal(chain, made)
    assert (row.status, row.electorate, row.yes, row.no) == (ADOPTED, 3, 2, 0)


def test_what_is_adopted_later_takes_the_place_of_what_has_not_begun() -> None:
    """So a community thinks better of it: the same majority adopts that everything stays as it is."""
    chain = village()
    first = say.propose(chain, "anna")
    say.adopt(chain, first)
    stay = say.propose(chain, "bela", FOUNDED)
    say.adopt(chain, stay)
    assert say.proposal(chain, first).status == OVERTAKEN
    _until(chain, period_s(6))
    assert say.proposal(chain, stay).status == BEGUN
    assert chain.machine.rules(chain.now_s).binding == binding_hash(read(FOUNDED))


def test_when_a_binding_begins_other_proposals_to_replace_the_one_before_are_overtaken() -> None:
    chain = village()
    first, other = say.propose(chain, "anna"), say.propose(chain, "bela", WITHOUT_FEE)
    chain.block(other)
    say.adopt(chain, first)
    _until(chain, say.proposal(chain, first).from_s)
    assert say.proposal(chain, other).status == OVERTAKEN
    assert chain.say(say.propose(chain, "bela", WITHOUT_FEE)) == Verdict.ACCEPTED


def test_who_joins_between_votes_by_the_binding_in_force_then() -> None:
    """The binding begins: what its join rule says of roles counts from that very block on."""
    closed = FOUNDED.replace("to join as 'prosumer'", "to join as 'guest'")
    chain = village()
    made = say.propose(chain, "anna", closed)
    from_s = say.adopt(chain, made).from_s
    chain.block(time_s=from_s - 1)
    assert chain.say(chain.join(member("emil"))) == Verdict.ROLE_NOT_ADMITTED
    assert chain.now_s >= from_s
    assert chain.say(chain.join(member("emil", ("guest",)))) == Verdict.ACCEPTED


# --- what keeps the binding that it was made under


def test_orders_meet_by_the_binding_that_they_were_made_under() -> None:
    """Old orders are cleared at one price; those of the new binding, in a falling auction, at the lowest ask's."""
    chain = village()
    made = say.propose(chain, "anna", AUCTION, mechanisms=(("falling-auction", 1), ("pay-as-clear", 1)))
    from_s = say.adopt(chain, made).from_s
    period = (from_s - period_s(0)) // PERIOD_S + 1
    chain.block(chain.bid("anna", period, 100, 200_000), chain.offer("bela", period, 100, 100_000))
    old = {row.binding for _, row in chain.machine.state.orders.items()}
    assert old == {binding_hash(read(FOUNDED))}
    chain.block(time_s=from_s)
    chain.block(chain.bid("anna", period, 50, 200_000), chain.offer("carla", period, 50, 100_000))
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    _until(chain, period_s(period + 1) + 130)
    closed = _closed(chain, period)
    prices = {(trade.seller, trade.energy_wh): trade.price_u_kwh for trade in closed.trades}
    assert prices == {(account("bela"), 100): 150_000, (account("carla"), 50): 100_000}
    assert closed.price_u_kwh in (None, 100_000)


def test_orders_of_bindings_that_say_the_same_of_it_meet() -> None:
    """Only the fee is another: bela's offer from before serves anna's bid from after."""
    chain = village()
    made = say.propose(chain, "anna", WITHOUT_FEE)
    from_s = say.adopt(chain, made).from_s
    period = (from_s - period_s(0)) // PERIOD_S + 1
    chain.block(chain.offer("bela", period, 100, 100_000))
    chain.block(time_s=from_s)
    chain.block(chain.bid("anna", period, 100, 200_000))
    _until(chain, period_s(period + 1) + 130)
    assert [(trade.buyer, trade.seller) for trade in _closed(chain, period).trades] == [
        (account("anna"), account("bela"))
    ]


def test_an_order_keeps_the_bounds_of_prices_that_it_was_given_under() -> None:
    """The new binding has a lower cap: it holds for new orders, and takes nothing out of the book."""
    lower = FOUNDED.replace("refuse prices above 0.29", "refuse prices above 0.19")
    chain = village()
    from_s = say.adopt(chain, say.propose(chain, "anna", lower)).from_s
    period = (from_s - period_s(0)) // PERIOD_S + 1
    chain.block(chain.bid("anna", period, 100, 250_000))
    chain.block(time_s=from_s)
    assert chain.say(chain.bid("anna", period, 100, 250_000)) == Verdict.PRICE_ABOVE_CAP
    assert len(chain.machine.state.orders) == 1


def test_contracts_and_standing_orders_say_under_which_binding_they_were_made() -> None:
    chain = order_stories.market()
    order_stories.give(chain, "bela", 10, "ENERGY")
    chain.block(order_stories.sell(chain, "bela", 1, 1))
    (_, row), *_ = chain.machine.state.standing.items()
    assert isinstance(row, Standing) and row.binding == chain.machine.rules(chain.now_s).binding


# --- who lacks something


def _mixed(chain: Chain) -> tuple[SignedRecord, int]:
    """All have declared a newer catalogue, and adopt a binding that needs it."""
    chain.block(*(say.declare(chain, home, catalogue=2) for home in ("anna", "bela", "carla")))
    made = say.propose(chain, "anna", catalogue=2)
    return made, say.adopt(chain, made).from_s


def test_a_node_that_lacks_the_catalogue_stops_before_the_block_and_changes_nothing() -> None:
    chain = village()
    older = Machine(chain.genesis, chain.chain_id, chain.mechanisms, chain.machine.verifier, catalogue=1)
    newer = Machine(chain.genesis, chain.chain_id, chain.mechanisms, chain.machine.verifier, catalogue=2)
    chain.machine = newer
    for block in chain.blocks:
        newer.apply(block)
    _, from_s = _mixed(chain)
    chain.block(time_s=from_s)
    for block in chain.blocks[:-1]:
        older.apply(block)
    before = older.state_hash()
    with pytest.raises(Lacking, match=r"catalogue version 2 \(it has 1\); its ledger up to height") as stopped:
        older.apply(chain.blocks[-1])
    assert "upgrade meshnode" in str(stopped.value)
    assert older.height == chain.machine.height - 1
    older.state.meta.put(0, older.state.meta.row)
    assert older.state.state_hash() == before
    # Upgraded, it goes on from where it stood.
    again = Machine(
        chain.genesis,
        chain.chain_id,
        chain.mechanisms,
        chain.machine.verifier,
        State.restore(older.state.dump()),
        catalogue=2,
    )
    again.apply(chain.blocks[-1])
    assert again.state_hash() == chain.machine.state_hash()


def test_a_node_without_the_mechanism_says_which_one() -> None:
    chain = village()
    lean = say.without(chain.mechanisms, "falling-auction")
    older = Machine(chain.genesis, chain.chain_id, lean, chain.machine.verifier)
    made = say.propose(chain, "anna", AUCTION, mechanisms=(("falling-auction", 1),))
    from_s = say.adopt(chain, made).from_s
    chain.block(time_s=from_s)
    with pytest.raises(Lacking, match="lacks the mechanism falling-auction version 1"):
        for block in chain.blocks:
            older.apply(block)
    assert older.height == chain.machine.height - 1


def test_what_most_nodes_could_not_carry_out_waits_before_anybody_votes() -> None:
    chain = village()
    made = say.propose(chain, "anna", catalogue=2)
    chain.block(made)
    assert say.proposal(chain, made).status == WAITING
    chain.block(say.declare(chain, "anna", catalogue=2), say.declare(chain, "bela", catalogue=2))
    assert say.proposal(chain, made).status == WAITING, "two of three nodes are no 90 %"
    chain.block(say.declare(chain, "carla", catalogue=3))
    assert say.proposal(chain, made).status == OPEN


def test_what_never_becomes_votable_lapses() -> None:
    chain = village(able=2)
    made = say.propose(chain, "anna")
    chain.block(made)
    chain.block(time_s=chain.now_s + VOTING_S)
    assert say.proposal(chain, made).status == LAPSED


def test_it_is_put_off_from_period_to_period_while_too_few_validators_could_carry_it_out() -> None:
    """Two nodes were set back to an older version during the notice."""
    chain = village()
    chain.machine = Machine(chain.genesis, chain.chain_id, chain.mechanisms, chain.machine.verifier, catalogue=2)
    for block in chain.blocks:
        chain.machine.apply(block)
    made, from_s = _mixed(chain)
    chain.block(say.declare(chain, "bela", catalogue=1), say.declare(chain, "carla", catalogue=1))
    chain.block(time_s=from_s)
    row = say.proposal(chain, made)
    assert (row.status, row.from_s, row.deferred) == (ADOPTED, from_s + PERIOD_S, 1)
    chain.block(time_s=from_s + PERIOD_S + 60)
    assert say.proposal(chain, made).from_s == from_s + 2 * PERIOD_S
    chain.block(say.declare(chain, "carla", catalogue=2))
    chain.block(time_s=from_s + 2 * PERIOD_S)
    assert (say.proposal(chain, made).status, say.proposal(chain, made).deferred) == (BEGUN, 2)


def test_a_tree_that_only_a_newer_catalogue_could_have_judged_is_judged_when_it_begins() -> None:
    chain = village()
    chain.machine = Machine(chain.genesis, chain.chain_id, chain.mechanisms, chain.machine.verifier, catalogue=2)
    for block in chain.blocks:
        chain.machine.apply(block)
    chain.block(*(say.declare(chain, home, catalogue=2) for home in ("anna", "bela", "carla")))
    made = say.propose(chain, "anna", catalogue=2, tree=b"\x80")
    from_s = say.adopt(chain, made).from_s
    chain.block(time_s=from_s)
    assert say.proposal(chain, made).status == UNFIT
    assert chain.machine.rules(chain.now_s).binding == binding_hash(read(FOUNDED))


# --- a node that begins anew, and what is kept


def test_a_node_that_begins_anew_after_any_block_comes_to_the_same() -> None:
    """From the state after each block the rest is executed again: proposals, votes, a pause, a beginning."""
    chain = village()
    first = chain.machine.height
    made, other = say.propose(chain, "anna"), say.propose(chain, "bela", WITHOUT_FEE)
    chain.block(made, other)
    chain.block(say.vote(chain, "carla", other, 0), say.vote(chain, "bela", made))
    chain.block(say.pause(chain, for_s=1200), say.vote(chain, "anna", made))
    _until(chain, period_s(5))
    assert say.proposal(chain, made).status == BEGUN
    hashes = set()
    for begin in range(first, chain.machine.height):
        again = chain.replay()
        for block in chain.blocks[:begin]:
            again.apply(block)
        again = Machine(
            chain.genesis, chain.chain_id, chain.mechanisms, again.verifier, State.restore(again.state.dump())
        )
        for block in chain.blocks[begin:]:
            again.apply(block)
            again.check_invariants()
        hashes.add(again.state_hash())
    assert hashes == {chain.machine.state_hash()}


def test_only_so_many_proposals_that_are_over_are_kept() -> None:
    chain = village()
    for _ in range(proposals.MAX_DECIDED + 2):
        made = say.propose(chain, "anna")
        chain.block(made)
        chain.block(say.withdraw(chain, "anna", made))
    assert len(chain.machine.state.proposals) == proposals.MAX_DECIDED
    assert made.record_id in chain.machine.state.proposals


def test_every_step_is_told() -> None:
    chain = village()
    made = say.propose(chain, "anna")
    say.adopt(chain, made)
    _until(chain, say.proposal(chain, made).from_s)
    told = [event for events in chain.events.values() for event in events if isinstance(event, BindingMoved)]
    assert [event.row.status for event in told] == [OPEN, ADOPTED, BEGUN]


# --- the emergency stop


def test_while_matching_is_paused_periods_close_without_trades_and_the_rest_goes_on() -> None:
    chain = village()
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    chain.block(chain.bid("anna", 0, 100, 200_000), chain.offer("bela", 0, 100, 100_000))
    chain.block(chain.bid("anna", 2, 100, 200_000), chain.offer("bela", 2, 100, 100_000))
    assert chain.say(say.pause(chain, for_s=PERIOD_S + 180)) == Verdict.ACCEPTED
    assert chain.say(chain.bid("carla", 2, 100, 200_000)) == Verdict.ACCEPTED, "orders are still taken"
    _until(chain, period_s(1) + 130)
    assert (_closed(chain, 0).trades, chain.machine.state.periods[period_s(0)].matched) == ((), 0)
    assert [traded for _, _, traded in _closed(chain, 0).fills] == [0, 0]
    # A late reading settles the period again, and still nobody trades in it.
    assert chain.say(chain.reading("anna", 0, 1000)) == Verdict.ACCEPTED
    _until(chain, period_s(3) + 130)
    assert _closed(chain, 2).trades and chain.machine.state.periods[period_s(2)].matched


def test_only_an_administrator_pauses_and_not_for_longer_than_a_week() -> None:
    chain = Chain()
    week_s = 7 * 86_400
    assert chain.say(say.pause(chain, "bela")) == Verdict.NOT_ADMINISTRATOR
    assert chain.say(say.pause(chain, for_s=week_s + 100)) == Verdict.END_NOT_AHEAD
    assert chain.say(say.pause(chain, for_s=0)) == Verdict.END_NOT_AHEAD
    assert chain.say(say.pause(chain, for_s=week_s)) == Verdict.ACCEPTED
    assert chain.say(say.resume(chain, "bela")) == Verdict.NOT_ADMINISTRATOR


def test_orders_of_assets_rest_while_matching_is_paused_and_meet_by_their_turn_after_it() -> None:
    """The older of two bids gets the coins, though both came while nothing traded."""
    chain = order_stories.market()
    order_stories.give(chain, "bela", 10, "ENERGY")
    chain.block(order_stories.sell(chain, "bela", 10, 2), say.pause(chain))
    first, second = order_stories.buy(chain, "carla", 10, 2), order_stories.buy(chain, "anna", 10, 2)
    order_stories.give(chain, "carla", 100, "EURO")
    order_stories.give(chain, "anna", 100, "EURO")
    assert chain.say(first, second) == [Verdict.ACCEPTED] * 2
    assert all(not row.ready_wh for _, row in chain.machine.state.standing.items())
    at_once = order_stories.buy(chain, "carla", 1, 2, good=2)
    assert chain.say(at_once) == Verdict.NOT_FILLED
    assert chain.say(say.resume(chain)) == Verdict.ACCEPTED
    traded = [event for event in chain.events[chain.machine.height] if isinstance(event, OrderTraded)]
    assert [(event.trade.buy_order, event.trade.energy_wh) for event in traded] == [(first.record_id, 10)]
    assert chain.machine.state.standing[second.record_id].ready_wh == 10


def test_an_auction_whose_time_is_over_closes_after_the_pause() -> None:
    chain = order_stories.market()
    order_stories.give(chain, "bela", 10, "ENERGY")
    lot = order_stories.rising(chain, "bela", 10, 2, 1, closes_s=chain.now_s + 300)
    chain.block(lot)
    order_stories.give(chain, "carla", 100, "EURO")
    chain.block(order_stories.bid(chain, "carla", lot, 10, 3))
    chain.block(say.pause(chain, for_s=600))
    chain.block(time_s=chain.now_s + 400)
    assert lot.record_id in chain.machine.state.auctions
    chain.block(time_s=chain.now_s + 400)
    assert lot.record_id not in chain.machine.state.auctions
    assert [row.energy_wh for _, row in chain.machine.state.executions.items()] == [10]
