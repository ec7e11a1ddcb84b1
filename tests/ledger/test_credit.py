"""Credit: what members may owe and promise, their deposits, and old debts that come before new ones, as stories."""

from __future__ import annotations

from meshnode.ledger.movements import Moved, What
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import LEVY_CONSUMED, LEVY_GRID, LEVY_NEIGHBOURS, SIDE_BUY, GridFeesSet
from tests.ledger import credit as say
from tests.ledger import delivering, order_stories, tokens, wishes
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.credit import settling, stands
from tests.ledger.tokens import has

ACCEPTED = Verdict.ACCEPTED
# 1 Wh costs 0.2 EURO and a kWh 200, in units of EURO.
PRICE = 200_000


def test_without_a_limit_orders_are_taken_as_ever() -> None:
    chain = settling()
    assert chain.say(chain.bid("bela", 1, 20_000, PRICE)) == ACCEPTED
    assert (stands(chain, "bela").promised_u, stands(chain, "bela").left_u) == (4_000_000 + 200_000, None)


def test_exposure_stays_within_cash_and_limit() -> None:
    """Bela has 1000 and may owe 500: 7 Wh at 200 and the fee of 10 are 1470, one more is too much.

    A cancelled one makes room: for 6 at 210, and for 1 at 230 with its fee.
    """
    chain = settling()
    chain.block(say.limit(chain, "bela", 500))
    first = chain.bid("bela", 1, 7, PRICE)
    assert chain.say(first) == ACCEPTED
    assert (stands(chain, "bela").exposure_u, stands(chain, "bela").left_u) == (1_470, 30)
    assert chain.say(chain.bid("bela", 1, 1, PRICE)) == Verdict.OVER_CREDIT
    assert chain.say(chain.offer("bela", 1, 1000, PRICE)) == ACCEPTED, "who sells promises no money"
    assert chain.say(chain.cancel("bela", first)) == ACCEPTED
    assert chain.say(chain.bid("bela", 1, 6, PRICE), chain.bid("bela", 2, 1, 230_000)) == [ACCEPTED] * 2
    assert stands(chain, "bela").left_u == 0


def test_a_partners_price_counts_where_it_is_the_higher_one() -> None:
    """Bela would pay anna 0.25, and others 0.20: 5 Wh are 1250 with 50 of fees; one below 0.20 changes nothing."""
    chain = settling()
    chain.block(say.limit(chain, "bela", 500), wishes.first(chain, "bela", SIDE_BUY, "anna", 250_000))
    order = chain.bid("bela", 1, 5, PRICE)
    assert chain.say(chain.bid("bela", 1, 6, PRICE)) == Verdict.OVER_CREDIT
    assert chain.say(order) == ACCEPTED
    assert stands(chain, "bela").exposure_u == 1_300
    chain.block(chain.cancel("bela", order), wishes.first(chain, "bela", SIDE_BUY, "anna", 150_000))
    assert stands(chain, "bela").exposure_u == 0
    assert chain.say(chain.bid("bela", 1, 6, PRICE)) == ACCEPTED
    assert stands(chain, "bela").exposure_u == 1_260


def test_what_is_charged_on_top_counts_from_the_period_on_in_which_it_is_charged() -> None:
    """From period 2 on: the fee of 10 a kWh, 40 for the grid from far away, and 5 and 20 of levies; 75 in all.

    A levy of 90 on what comes from the grid is more than the 70 of those that neighbours' energy bears beside the
    one on everything: 95. And an order that stands for period 2 already costs more by what is announced later.
    """
    chain = settling()
    chain.block(
        say.limit(chain, "bela", 500),
        chain.bid("bela", 1, 1, PRICE),
        chain.bid("bela", 2, 1, PRICE),
        say.levy(chain, "all", LEVY_CONSUMED, 5_000, from_s=period_s(2)),
        say.levy(chain, "neighbours", LEVY_NEIGHBOURS, 20_000, from_s=period_s(2)),
        say.parameter(chain, GridFeesSet(fees_u_kwh=(40_000, 10_000), from_s=period_s(2))),
    )
    assert set(chain.verdicts()) == {ACCEPTED}
    assert stands(chain, "bela").exposure_u == 210 + 275
    assert chain.say(say.levy(chain, "grid", LEVY_GRID, 90_000, from_s=period_s(2))) == ACCEPTED
    assert stands(chain, "bela").exposure_u == 210 + 295
    assert chain.say(chain.bid("bela", 2, 4, 154_000)) == Verdict.OVER_CREDIT, "996 of 995"
    assert chain.say(chain.bid("bela", 2, 4, 153_750)) == ACCEPTED
    assert stands(chain, "bela").left_u == 0


def test_below_zero_the_feed_in_price_is_charged_on_what_is_not_used() -> None:
    """Who buys at 0.20 and does not use it leaves the seller with energy that costs 0.30: 0.50 are due."""
    chain = settling()
    chain.block(say.outside(chain, feed_in=-300_000), chain.bid("bela", 1, 2, PRICE))
    assert stands(chain, "bela").exposure_u == 1_000


def test_orders_of_assets_count_as_well_backed_or_not() -> None:
    """Of 1500: 800 are held for 4 units, 600 are promised for 3 more; 100 are left, for no other unit at 200."""
    chain = settling()
    chain.block(chain.issue("anna", "ENERGY", 0, 10**9, asset_kind=1), say.limit(chain, "bela", 500))
    assert chain.say(order_stories.buy(chain, "bela", 4, 200)) == ACCEPTED
    resting = order_stories.buy(chain, "bela", 3, 200, unbacked=1)
    assert chain.say(resting) == ACCEPTED
    assert has(chain, "bela", "EURO") == (0, 1_000)
    assert (stands(chain, "bela").cash_u, stands(chain, "bela").promised_u, stands(chain, "bela").left_u) == (
        0,
        400,
        100,
    )
    assert chain.say(order_stories.buy(chain, "bela", 1, 200, unbacked=1)) == Verdict.OVER_CREDIT
    assert chain.say(order_stories.amend(chain, "bela", resting, 3, 250)) == Verdict.OVER_CREDIT
    assert chain.say(order_stories.amend(chain, "bela", resting, 3, 220)) == ACCEPTED
    assert chain.say(chain.bid("bela", 1, 1, PRICE)) == Verdict.OVER_CREDIT


def test_what_is_owed_after_a_period_counts_until_it_is_paid() -> None:
    """Bela draws 10 kWh from the grid: what it owes for them leaves too little for 20 kWh more."""
    chain = settling()
    chain.block(say.limit(chain, "bela", 5_000_000))
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla", "dora")))
    readings = [chain.reading(home, 0, 0) for home in ("anna", "carla", "dora")]
    chain.block(*readings, chain.reading("bela", 0, 10_000), time_s=period_s(1) + 10)
    owed_u = stands(chain, "bela").owed_u
    assert owed_u > 0 and stands(chain, "bela").left_u == 5_000_000 + 1_000 - owed_u
    assert chain.say(chain.bid("bela", 5, 20_000, 290_000)) == Verdict.OVER_CREDIT


def test_the_limit_of_everybody_and_that_of_one() -> None:
    chain = settling()
    assert chain.say(say.limit(chain, None, 0), say.limit(chain, "dora", 300)) == [ACCEPTED] * 2
    assert [stands(chain, home).limit_u for home in ("bela", "carla", "dora")] == [0, 0, 300]
    assert chain.say(say.limit(chain, "dora", None), say.limit(chain, None, None)) == [ACCEPTED] * 2
    assert stands(chain, "dora").limit_u is None


def test_a_supplier_bounds_its_customers_as_long_as_it_supplies_them() -> None:
    """Of the community's 800 and the supplier's 300 the smaller counts; once the contract has ended the other does."""
    chain = settling()
    assert chain.say(say.limit(chain, "bela", 300, by="dora")) == Verdict.NOT_SUPPLIER
    offered = tokens.contract(chain, "dora", "bela")
    chain.block(offered, say.limit(chain, "bela", 800))
    assert chain.say(say.limit(chain, "bela", 300, by="dora")) == Verdict.NOT_SUPPLIER, "an offer is no contract"
    chain.block(tokens.sign(chain, "bela", offered))
    assert chain.say(say.limit(chain, "bela", 300, by="dora")) == ACCEPTED
    assert (
        chain.say(say.limit(chain, "carla", 300, by="dora"), say.limit(chain, None, 3, by="dora"))
        == [Verdict.NOT_SUPPLIER] * 2
    )
    assert stands(chain, "bela").limit_u == 300
    chain.block(tokens.end(chain, "dora", offered))
    assert stands(chain, "bela").limit_u == 800
    chain.block(time_s=period_s(1) + 130)
    assert len(chain.machine.state.credit_limits) == 1, "what the supplier said is forgotten"


def test_a_deposit_is_held_until_who_has_it_gives_it_back() -> None:
    chain = settling()
    left = say.deposit(chain, "bela", 400)
    assert chain.say(left) == ACCEPTED
    assert has(chain, "bela", "EURO") == (600, 400)
    assert chain.say(chain.transfer("bela", "dora", 601, "EURO")) == Verdict.NOT_ENOUGH
    assert (
        chain.say(say.release(chain, left, by="bela"), say.release(chain, left, by="dora")) == [Verdict.NOT_FOR_YOU] * 2
    )
    assert chain.say(say.release(chain, left)) == ACCEPTED
    assert has(chain, "bela", "EURO") == (1_000, 0)
    assert chain.say(say.release(chain, left)) == Verdict.UNKNOWN_HOLD


def test_a_deposit_is_left_with_who_answers_for_it() -> None:
    chain = settling()
    assert chain.say(say.deposit(chain, "bela", 400, to="dora")) == Verdict.NO_DEPOSIT_TO
    offered = tokens.contract(chain, "dora", "bela")
    chain.block(offered)
    chain.block(tokens.sign(chain, "bela", offered))
    left = say.deposit(chain, "bela", 400, to="dora")
    assert chain.say(left) == ACCEPTED
    assert chain.say(say.release(chain, left, by="dora")) == ACCEPTED
    assert chain.say(say.deposit(chain, "bela", 1_001), say.deposit(chain, "bela", 1, to="bela")) == [
        Verdict.NOT_ENOUGH,
        Verdict.SAME_ACCOUNT,
    ]


def owing() -> Chain:
    """Bela stores 1 kWh, pays its 1000 for the first period's fee of 700, and owes 400 after the second one's."""
    chain = settling()
    chain.block(chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    rules = {"fee_asset": "EURO", "fee_u_kwh": 700, "others": ((account("dora"), 1_000_000),)}
    chain.block(delivering.storage(chain, efficiency_ppm=1_000_000, **rules), delivering.stored(chain, 0, 0))
    chain.block(delivering.stored(chain, 1_000, 0, ("bela", 1_000, 0)))
    assert chain.verdicts() == [ACCEPTED]
    for period in (1, 2):
        chain.block(time_s=period_s(period) + 130)
    assert (has(chain, "bela", "EURO"), stands(chain, "bela").arrears_u) == ((0, 0), 400)
    return chain


def test_arrears_are_paid_by_whatever_comes_first() -> None:
    """Carla sends 150, then 300: dora, who has the fee, gets 400 of them, bela 50."""
    chain = owing()
    before = has(chain, "dora", "EURO")[0]
    chain.block(chain.transfer("carla", "bela", 150, "EURO"))
    assert (has(chain, "bela", "EURO"), stands(chain, "bela").arrears_u) == ((0, 0), 250)
    chain.block(chain.transfer("carla", "bela", 300, "EURO"))
    assert (has(chain, "bela", "EURO"), stands(chain, "bela").arrears_u) == ((50, 0), 0)
    assert has(chain, "dora", "EURO")[0] - before == 400
    moved = [event for event in chain.events[chain.machine.height] if isinstance(event, Moved)]
    assert [(one.what, one.amount) for one in moved] == [
        (What.TRANSFER, 300),
        (What.STORAGE_FEE, 250),
        (What.STORAGE_FEE, 250),
    ]


def test_two_records_of_one_block_do_not_outrun_old_debts() -> None:
    """What carla sends pays the fee before bela's own record of the same block can spend it."""
    chain = owing()
    said = chain.say(chain.transfer("carla", "bela", 300, "EURO"), chain.transfer("bela", "anna", 300, "EURO"))
    assert said == [ACCEPTED, Verdict.NOT_ENOUGH]


def test_who_owes_fees_promises_nothing_new_under_a_limit() -> None:
    chain = owing()
    chain.block(say.limit(chain, "bela", 10_000))
    assert chain.say(chain.bid("bela", 5, 1, PRICE)) == Verdict.IN_ARREARS
    assert stands(chain, "bela").left_u == 0


def test_a_deposit_that_is_given_back_pays_fees_first() -> None:
    """Of 600 that bela left, 400 pay what it owes; 200 are its own."""
    chain = settling()
    left = say.deposit(chain, "bela", 600)
    chain.block(left, chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    rules = {"fee_asset": "EURO", "fee_u_kwh": 400, "others": ((account("dora"), 1_000_000),)}
    chain.block(delivering.storage(chain, efficiency_ppm=1_000_000, **rules), delivering.stored(chain, 0, 0))
    chain.block(delivering.stored(chain, 1_000, 0, ("bela", 1_000, 0)))
    for period in (1, 2):
        chain.block(time_s=period_s(period) + 130)
    assert (has(chain, "bela", "EURO"), stands(chain, "bela").arrears_u) == ((0, 600), 400)
    chain.block(say.release(chain, left))
    assert (has(chain, "bela", "EURO"), stands(chain, "bela").arrears_u) == ((200, 0), 0)


def test_a_deposit_that_is_given_back_pays_claims_too() -> None:
    """Anna sold to bela, who has nothing but its deposit: giving it back pays anna as far as it goes."""
    chain = settling()
    left = say.deposit(chain, "bela", 1_000)
    chain.block(left, *(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla", "dora")))
    chain.block(chain.bid("bela", 0, 10, PRICE), chain.offer("anna", 0, 10, PRICE))
    readings = [chain.reading(home, 0, 0) for home in ("carla", "dora")]
    sold = (chain.reading("anna", 0, 0, 10), chain.reading("bela", 0, 10))
    chain.block(*readings, *sold, time_s=period_s(1) + 10)
    owed_u = stands(chain, "bela").owed_u
    assert owed_u >= 2_000 and has(chain, "bela", "EURO") == (0, 1_000)
    chain.block(say.release(chain, left))
    assert has(chain, "bela", "EURO") == (0, 0) and stands(chain, "bela").owed_u == owed_u - 1_000
    assert has(chain, "anna", "EURO") == (1_000, 0)
    moved = [event for event in chain.events[chain.machine.height] if isinstance(event, Moved)]
    assert [(one.what, one.amount) for one in moved] == [(What.CLAIM_PAID, 1_000)] * 2


def test_the_asset_of_a_fee_that_is_owed_stays() -> None:
    chain = owing()
    chain.block(chain.issue("anna", "SUN", 100, 100))
    rules = {"efficiency_ppm": 1_000_000, "fee_u_kwh": 700, "others": ((account("dora"), 1_000_000),)}
    assert chain.say(delivering.storage(chain, **rules, fee_asset="SUN")) == Verdict.FEES_OWED
    assert chain.say(delivering.storage(chain, efficiency_ppm=1_000_000)) == Verdict.FEES_OWED
    chain.block(chain.transfer("carla", "bela", 500, "EURO"))
    assert chain.say(delivering.storage(chain, **rules, fee_asset="SUN")) == ACCEPTED


def test_a_snapshot_carries_limits_deposits_and_promises() -> None:
    chain = owing()
    chain.block(say.limit(chain, None, 7), say.limit(chain, "dora", 800), say.deposit(chain, "dora", 200))
    chain.block(chain.bid("dora", 5, 5, 100_000))
    state = chain.machine.state
    again = State.restore(state.dump())
    assert again.state_hash() == state.state_hash()
    assert again.orders.promised_u(account("dora")) == state.orders.promised_u(account("dora")) == 500
