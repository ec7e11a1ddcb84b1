"""Tokens: what members do with assets, as stories that add up to the unit."""

from __future__ import annotations

import msgspec
import pytest

from meshnode.ledger.assets import check_conservation
from meshnode.ledger.holds import HoldEnded
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine
from protocols.records import BURNING_ISSUER, POLICY_ONCE, AssetIssue, to_payload
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.tokens import DAY_S, HOUR_S, has, supply

ACCEPTED = Verdict.ACCEPTED


def market() -> Chain:
    """Anna has 100 SUN, Bela 1000 EURO from Carla, the cashier."""
    chain = Chain()
    assert chain.say(chain.issue("anna"), tokens.money(chain)) == [ACCEPTED] * 2
    assert chain.say(tokens.pay_in(chain, "bela", 1000, "bank 1")) == ACCEPTED
    return chain


def test_an_asset_with_the_usual_rules_is_encoded_as_ever() -> None:
    """What is not said takes no byte, and no row: older ledgers keep their hashes."""
    plain = AssetIssue(nonce=1, valid_until_s=2, asset="SUN", asset_kind=2, cap=10, amount=1)
    assert to_payload(plain) == bytes.fromhex("a7000801010202036353554e0402050a0601")
    chain = Chain()
    chain.block(chain.issue("anna"))
    assert len(chain.machine.state.asset_rules) == 0


def test_a_billion_access_tokens_and_never_one_more() -> None:
    chain = Chain()
    fixed = {"amount": 10**9, "cap": 10**9, "policy": POLICY_ONCE, "burning": BURNING_ISSUER}
    assert chain.say(chain.issue("anna", "ACCESS", **fixed)) == ACCEPTED
    assert chain.say(chain.transfer("anna", "bela", 5, "ACCESS")) == ACCEPTED
    assert chain.say(chain.issue("anna", "ACCESS", **fixed)) == Verdict.MINTED_ONCE
    assert chain.say(tokens.burn(chain, "bela", 5, "ACCESS")) == Verdict.NOT_BURNABLE
    assert supply(chain, "ACCESS") == 10**9 and has(chain, "bela", "ACCESS") == (5, 0)


def test_what_is_destroyed_makes_room_under_the_cap() -> None:
    chain = Chain()
    assert chain.say(chain.issue("anna", amount=1000)) == ACCEPTED
    assert chain.say(tokens.burn(chain, "anna", 400)) == ACCEPTED
    assert chain.say(tokens.burn(chain, "anna", 601)) == Verdict.NOT_ENOUGH
    assert (supply(chain, "SUN"), has(chain, "anna", "SUN")) == (600, (600, 0))
    assert chain.say(chain.issue("anna", amount=401)) == Verdict.OVER_CAP
    assert chain.say(chain.issue("anna", amount=400)) == ACCEPTED


def test_both_amounts_of_an_exchange_change_hands_at_once() -> None:
    chain = market()
    offered = tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO"))
    assert chain.say(offered) == ACCEPTED
    assert has(chain, "anna", "SUN") == (60, 40)
    assert chain.say(tokens.accept(chain, "bela", offered)) == ACCEPTED
    assert [has(chain, home, "SUN") for home in ("anna", "bela")] == [(60, 0), (40, 0)]
    assert [has(chain, home, "EURO") for home in ("anna", "bela")] == [(250, 0), (750, 0)]
    assert len(chain.machine.state.holds) == len(chain.machine.state.hold_ends) == 0


def test_who_cannot_pay_moves_neither_leg() -> None:
    """Carla has no EURO: the offer stays, for somebody who has."""
    chain = market()
    offered = tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO"))
    chain.block(offered)
    before = chain.machine.state.state_hash()
    balances = list(chain.machine.state.balances.items())
    assert chain.say(tokens.accept(chain, "carla", offered)) == Verdict.NOT_ENOUGH
    assert list(chain.machine.state.balances.items()) == balances and chain.machine.state.state_hash() != before
    assert chain.say(tokens.accept(chain, "bela", offered)) == ACCEPTED


def test_two_who_accept_in_one_block_get_it_once() -> None:
    chain = market()
    chain.block(tokens.pay_in(chain, "carla", 500, "bank 2"))
    offered = tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO"))
    chain.block(offered)
    found = chain.say(tokens.accept(chain, "bela", offered), tokens.accept(chain, "carla", offered))
    assert isinstance(found, list) and sorted(found) == [ACCEPTED, Verdict.UNKNOWN_HOLD]
    assert has(chain, "anna", "EURO") == (250, 0)


def test_the_same_acceptance_in_two_blocks_pays_once() -> None:
    chain = market()
    offered = tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO"))
    chain.block(offered)
    accepted = tokens.accept(chain, "bela", offered)
    assert chain.say(accepted) == ACCEPTED
    assert chain.say(accepted) == Verdict.REPEATED
    assert has(chain, "bela", "EURO") == (750, 0)


def test_what_is_held_cannot_be_spent_and_comes_back_with_its_time() -> None:
    """The last second counts; in the block after it the offer is gone, before anybody in that block can accept."""
    chain = market()
    offered = tokens.offer(chain, "anna", (90, "SUN"), (250, "EURO"), until_s=chain.now_s + HOUR_S)
    chain.block(offered)
    until_s = chain.now_s - 5 + HOUR_S
    assert chain.say(chain.transfer("anna", "bela", 11)) == Verdict.NOT_ENOUGH
    assert chain.say(tokens.burn(chain, "anna", 11)) == Verdict.NOT_ENOUGH
    chain.block(time_s=until_s)
    assert has(chain, "anna", "SUN") == (10, 90)
    assert chain.say(tokens.accept(chain, "bela", offered), time_s=until_s + 1) == Verdict.UNKNOWN_HOLD
    ended = [event for event in chain.events[chain.machine.height] if isinstance(event, HoldEnded)]
    assert [event.hold_id for event in ended] == [offered.record_id]
    assert has(chain, "anna", "SUN") == (100, 0)


def test_an_offer_to_one_member_can_be_declined() -> None:
    chain = market()
    offered = tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO"), to="bela")
    chain.block(offered)
    assert chain.say(tokens.withdraw(chain, "bela", offered)) == ACCEPTED
    assert has(chain, "anna", "SUN") == (100, 0)


def test_money_in_and_out_counts_once_for_each_payment() -> None:
    chain = market()
    assert chain.say(tokens.pay_in(chain, "bela", 1000, "bank 1")) == Verdict.REFERENCE_TAKEN
    asked = tokens.ask(chain, "bela", 300)
    assert chain.say(asked) == ACCEPTED
    assert has(chain, "bela", "EURO") == (700, 300)
    assert chain.say(tokens.pay_out(chain, asked, "bank 1")) == Verdict.REFERENCE_TAKEN
    assert chain.say(tokens.pay_out(chain, asked, "bank 2")) == ACCEPTED
    assert (supply(chain, "EURO"), has(chain, "bela", "EURO")) == (700, (700, 0))
    assert chain.say(tokens.pay_in(chain, "anna", 1, "bank 2")) == Verdict.REFERENCE_TAKEN
    assert chain.machine.state.references[("EURO", "bank 2")].amount == -300


def test_a_wish_for_money_that_nobody_pays_comes_back() -> None:
    chain = market()
    first, second = tokens.ask(chain, "bela", 300), tokens.ask(chain, "bela", 200)
    chain.block(first, second)
    assert chain.say(tokens.release(chain, "carla", first)) == ACCEPTED
    assert has(chain, "bela", "EURO") == (800, 200)
    chain.block(time_s=chain.now_s + 2 * DAY_S)
    assert has(chain, "bela", "EURO") == (1000, 0)
    assert chain.say(tokens.pay_out(chain, second, "bank 2")) == Verdict.UNKNOWN_HOLD


def test_a_new_cashier_takes_over_what_is_open() -> None:
    chain = market()
    asked = tokens.ask(chain, "bela", 300)
    chain.block(asked)
    assert chain.say(tokens.money(chain, "anna")) == ACCEPTED
    assert chain.say(tokens.pay_out(chain, asked, "bank 2")) == Verdict.NOT_CASHIER
    assert chain.say(tokens.pay_out(chain, asked, "bank 2", by="anna")) == ACCEPTED


def test_a_sale_for_money_outside_needs_the_seller_twice() -> None:
    """The tokens are held while the money is on its way; the seller cannot take them back meanwhile."""
    chain = market()
    sale = tokens.sell(chain, "bela", "anna", 400, reference="for the tokens")
    assert chain.say(sale) == ACCEPTED
    assert chain.say(tokens.release(chain, "bela", sale)) == Verdict.NOT_FOR_YOU
    assert chain.say(chain.transfer("bela", "carla", 601, "EURO")) == Verdict.NOT_ENOUGH
    assert chain.say(tokens.confirm(chain, "bela", sale)) == ACCEPTED
    assert [has(chain, home, "EURO") for home in ("anna", "bela")] == [(400, 0), (600, 0)]


def test_who_has_left_is_given_nothing() -> None:
    """An offer of a member who left: its tokens go back in time, and nobody can trade with it."""
    chain = market()
    chain.block(chain.transfer("anna", "bela", 50))
    offered = tokens.offer(chain, "bela", (40, "SUN"), (1, "EURO"))
    sale = tokens.sell(chain, "anna", "bela", 10, "SUN")
    chain.block(offered, sale, tokens.pay_in(chain, "anna", 5, "bank 2"))
    state = chain.machine.state
    row = state.accounts[account("bela")]
    state.accounts.put(account("bela"), msgspec.structs.replace(row, left_s=chain.now_s))
    assert chain.say(tokens.accept(chain, "anna", offered)) == Verdict.UNKNOWN_ACCOUNT
    assert chain.say(tokens.confirm(chain, "anna", sale)) == Verdict.UNKNOWN_ACCOUNT
    chain.block(time_s=chain.now_s + 2 * DAY_S)
    assert has(chain, "bela", "SUN") == (50, 0) and has(chain, "anna", "SUN") == (50, 0)


def test_holds_survive_a_snapshot() -> None:
    chain = market()
    chain.block(tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO")), tokens.ask(chain, "bela", 300))
    machine = chain.machine
    restored = Machine(
        chain.genesis, chain.chain_id, chain.mechanisms, machine.verifier, State.restore(machine.state.dump())
    )
    assert restored.state_hash() == machine.state_hash()
    check_conservation(restored.state)


def test_a_hold_that_is_missing_is_noticed() -> None:
    """The check itself: held without a hold is a unit that nobody could ever get back."""
    chain = market()
    offered = tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO"))
    chain.block(offered)
    chain.machine.state.holds.delete(offered.record_id)
    with pytest.raises(AssertionError, match="not the sum of the open holds"):
        check_conservation(chain.machine.state)


def test_a_replay_computes_the_same_bytes() -> None:
    """Every kind of record here, holds that end by themselves, pairs and their corrections: on another node, too."""
    chain = market()
    homes = ("anna", "bela", "carla")
    chain.block(
        *(chain.reading(home, -1, 0, 0) for home in homes),
        tokens.metered(chain, "LOG", 1, 100),
        chain.issue("anna", "PAY", 10**6, 10**9, asset_kind=0, settles=1),
    )
    offered, asked = tokens.offer(chain, "anna", (40, "SUN"), (250, "EURO")), tokens.ask(chain, "bela", 300)
    sale, agreed = tokens.sell(chain, "bela", "anna", 10), tokens.contract(chain, "anna", "bela")
    chain.block(offered, asked, sale, agreed, tokens.offer(chain, "anna", (5, "SUN"), (1, "EURO")))
    chain.block(
        tokens.accept(chain, "bela", offered),
        tokens.pay_out(chain, asked, "bank 2"),
        tokens.confirm(chain, "bela", sale),
        tokens.sign(chain, "bela", agreed),
        tokens.burn(chain, "bela", 1),
        *(chain.transfer("anna", home, 100_000, "PAY") for home in homes[1:]),
    )
    for period in range(3):
        values = {"anna": (0, 900 * period), "bela": (640 * period, 0), "carla": (333 * period, 0)}
        readings = [chain.reading(home, period, *values[home]) for home in homes]
        chain.block(*readings, time_s=period_s(period + 1) + 1)
    chain.block(chain.reading("bela", 2, 1200, 0, version=1), time_s=chain.now_s + DAY_S + 60)
    assert len(chain.machine.state.pairs) > 6 and len(chain.machine.state.holds) == 0
    other = chain.replay()
    for block in chain.blocks:
        assert other.check_view(block) is None
        assert other.apply(block) == chain.events[block.header.height]
    assert other.state_hash() == chain.machine.state_hash()
