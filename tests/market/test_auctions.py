"""Auctions, partners, the agent, grid fees: what is true whatever comes, and what cannot be."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.market import Order, OrderError, Refusal, Side
from meshnode.market.agent import AgentError, Targets, act, still_wants
from meshnode.market.auction import AuctionError
from meshnode.market.falling_auction import ASKS_MAX, ATTRIBUTES_MAX, Ask, Call, award
from meshnode.market.falling_auction import MECHANISM as FALLING
from meshnode.market.grid_fees import GridFeeError, GridFees, grid_fee, shared_levels
from meshnode.market.partners import Preference, pair
from meshnode.market.rising_auction import MECHANISM as RISING
from meshnode.market.rising_auction import Bid, Lot, least_bid
from tests.market.strategies import ACCOUNTS, EXAMPLES, books, prices

AUCTION = b"auction".ljust(32, b"\0")


def lot(**changes) -> Lot:
    fields = {"reserve_u_kwh": 3, "step_u_kwh": 2, "opens_s": 10, "closes_s": 100, "snipe_s": 20, "latest_s": 130}
    return Lot(auction_id=AUCTION, seller=ACCOUNTS[0], energy_wh=500, **{**fields, **changes})


def call(**changes) -> Call:
    fields = {"energy_wh": 20, "maximum_u_kwh": 8, "attributes": (), "opens_s": 10, "closes_s": 100}
    return Call(auction_id=AUCTION, buyer=ACCOUNTS[0], **{**fields, **changes})


def ask(number: int, account: bytes, energy_wh: int, price_u_kwh: int, **changes) -> Ask:
    return Ask(number.to_bytes(32, "big"), account, energy_wh, price_u_kwh, (1, number), **changes)


times = st.lists(st.integers(0, 140), min_size=1, max_size=25).map(sorted)


@EXAMPLES
@given(times, st.data())
def test_a_rising_auction_rises_and_ends(moments, data) -> None:
    auction = RISING.open_auction(lot())
    taken: list[Bid] = []
    for number, time_s in enumerate(moments):
        bid = Bid(number.to_bytes(32, "big"), data.draw(st.sampled_from(ACCOUNTS[:3])), data.draw(st.integers(0, 30)))
        open_now = 10 <= time_s < auction.closes_s
        wanted = open_now and bid.account != ACCOUNTS[0] and bid.price_u_kwh >= least_bid(auction)
        done = RISING.place(auction, bid, time_s)
        assert (done.refusal is None) == wanted
        if wanted:
            assert done.displaced == (taken[-1] if taken else None)
            assert auction.closes_s <= done.auction.closes_s <= 130
            assert done.auction.closes_s == 130 or done.auction.closes_s >= time_s + 20
            taken.append(bid)
        else:
            assert done.auction is auction
        auction = done.auction
    ended = RISING.close_auction(auction, auction.closes_s)
    assert [bid.price_u_kwh for bid in taken] == sorted({bid.price_u_kwh for bid in taken})
    if taken:
        assert ended.open_wh == 0
        trade = ended.trades[0]
        assert (trade.buyer, trade.seller, trade.energy_wh) == (taken[-1].account, ACCOUNTS[0], 500)
        assert (trade.buy_order, trade.sell_order, trade.price_u_kwh) == (
            taken[-1].order_id,
            AUCTION,
            taken[-1].price_u_kwh,
        )
    else:
        assert (ended.trades, ended.open_wh) == ((), 500)


@EXAMPLES
@given(times, st.data())
def test_a_falling_auction_keeps_one_ask_of_everybody_and_takes_the_lowest(moments, data) -> None:
    auction = FALLING.open_auction(call())
    best: dict[bytes, Ask] = {}
    for number, time_s in enumerate(moments):
        one = ask(
            number,
            data.draw(st.sampled_from(ACCOUNTS)),
            data.draw(st.integers(1, 12)),
            data.draw(st.integers(-2, 10)),
        )
        before = best.get(one.account)
        wanted = (
            10 <= time_s < 100
            and one.account != ACCOUNTS[0]
            and one.price_u_kwh <= 8
            and (before is None or one.price_u_kwh < before.price_u_kwh)
        )
        done = FALLING.place(auction, one, time_s)
        assert (done.refusal is None) == wanted
        if wanted:
            assert done.displaced == before
            best[one.account] = one
        auction = done.auction
        assert sorted(auction.asks, key=lambda kept: kept.account) == sorted(
            best.values(), key=lambda kept: kept.account
        )
    ended = FALLING.close_auction(auction, 100)
    assert sum(trade.energy_wh for trade in ended.trades) + ended.open_wh == 20
    assert ended.open_wh == max(0, 20 - sum(kept.energy_wh for kept in best.values()))
    winners = {trade.seller for trade in ended.trades}
    paid = [trade.price_u_kwh for trade in ended.trades]
    assert paid == sorted(paid)
    assert all(trade.price_u_kwh == best[trade.seller].price_u_kwh for trade in ended.trades)
    losers = [kept for seller, kept in best.items() if seller not in winners]
    assert all(kept.price_u_kwh >= paid[-1] for kept in losers)


@EXAMPLES
@given(st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.integers(1, 9), prices), max_size=12), st.randoms())
def test_an_award_does_not_depend_on_the_order_of_asks(asked, random) -> None:
    asks = [ask(number, *one) for number, one in enumerate(asked)]
    shuffled = list(asks)
    random.shuffle(shuffled)
    assert award(call(), asks) == award(call(), shuffled)


def test_a_falling_auction_takes_no_more_asks_than_its_row_holds() -> None:
    auction = FALLING.open_auction(call())
    for number in range(ASKS_MAX):
        auction = FALLING.place(auction, ask(number, number.to_bytes(16, "big"), 1, 5), 50).auction
    assert len(auction.asks) == ASKS_MAX
    one_more = ask(ASKS_MAX, ASKS_MAX.to_bytes(16, "big"), 1, 5)
    assert FALLING.place(auction, one_more, 50).refusal is Refusal.TOO_MANY
    # Who is in it already may still go lower.
    assert FALLING.place(auction, ask(ASKS_MAX, bytes(16), 1, 4), 50).refusal is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lot(step_u_kwh=0), "a step of 0 u/kWh, expected 1 or more"),
        (lambda: lot(closes_s=10), "opens 10, closes 10, at the latest 130"),
        (lambda: lot(latest_s=99), "at the latest 99"),
        (lambda: lot(snipe_s=-1), "-1 s after late bids"),
        (lambda: lot(reserve_u_kwh=10**9 + 1), "1000000001 u/kWh, expected -1000000000 to 1000000000"),
        (lambda: call(energy_wh=0), "0 Wh, expected 1 to 1000000000"),
        (lambda: call(closes_s=10), "opens 10, closes 10; expected a later close"),
        (lambda: call(attributes=(("b", "1"), ("a", "1"))), "sorted, each name once"),
        (lambda: call(attributes=(("a", "1"), ("a", "2"))), "sorted, each name once"),
        (
            lambda: call(attributes=tuple((f"{n:02}", "1") for n in range(ATTRIBUTES_MAX + 1))),
            f"at most {ATTRIBUTES_MAX}",
        ),
        (lambda: ask(1, ACCOUNTS[1], 10**9 + 1, 0), "1000000001 Wh, expected"),
        (lambda: RISING.close_auction(RISING.open_auction(lot()), 99), "closes at 100, it is 99 only"),
        (lambda: FALLING.close_auction(FALLING.open_auction(call()), 99), "closes at 100, it is 99 only"),
        (
            lambda: RISING.place(RISING.open_auction(lot()), Bid(b"", ACCOUNTS[1], 10**9 + 1), 50),
            "1000000001 u/kWh, expected",
        ),
    ],
)
def test_an_auction_that_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(AuctionError, match=message):
        make()


# --- partners ---------------------------------------------------------------------------------------


@EXAMPLES
@given(books(), st.integers(0, 2**32))
def test_partners_trade_within_their_limits_and_nothing_is_lost(book, seed) -> None:
    random = Random(seed)
    wishes = []
    for order in book:
        others = [known for known in ACCOUNTS[:3] if known != order.account]
        if random.random() < 0.6:
            wishes.append(Preference(order.order_id, random.choice(others), random.randrange(-2, 10) * 30_000))
    found = pair(book, wishes)
    shuffled = list(book)
    random.shuffle(shuffled)
    assert pair(shuffled, wishes[::-1]) == found
    by_id = {order.order_id: order for order in book}
    wish_of = {wish.order_id: wish for wish in wishes}

    def limit(order: Order, other: Order) -> int:
        wish = wish_of.get(order.order_id)
        return wish.price_u_kwh if wish and wish.partner == other.account else order.price_u_kwh

    left = {order.order_id: order.energy_wh for order in found.orders}
    for trade in found.trades:
        bid, offer = by_id[trade.buy_order], by_id[trade.sell_order]
        assert limit(offer, bid) <= trade.price_u_kwh <= limit(bid, offer)
        assert trade.price_u_kwh in {
            wish.price_u_kwh
            for order, other in ((bid, offer), (offer, bid))
            if (wish := wish_of.get(order.order_id)) and wish.partner == other.account
        }
        for order in (bid, offer):
            left[order.order_id] = left.get(order.order_id, 0) + trade.energy_wh
    assert left == {order.order_id: order.energy_wh for order in book}
    # Whoever named a partner has nothing left that the partner would still take.
    rest = {order.order_id: order for order in found.orders}
    for wish in wishes:
        order = rest.get(wish.order_id)
        for other in found.orders if order else ():
            if other.account == wish.partner and other.side is not order.side:
                bid, offer = (order, other) if order.side is Side.BUY else (other, order)
                assert limit(bid, offer) < limit(offer, bid)


def test_a_preference_that_cannot_be_is_refused() -> None:
    order = Order(b"1", ACCOUNTS[0], Side.SELL, 7, 10, 5, (1, 1))
    good = Preference(b"1", ACCOUNTS[1], 5)
    for wishes in ([good, good], [Preference(b"2", ACCOUNTS[1], 5)], [Preference(b"1", ACCOUNTS[0], 5)]):
        with pytest.raises(OrderError, match="expected one for an order of this clearing"):
            pair([order], wishes)
    with pytest.raises(OrderError, match="1000000001 u/kWh"):
        pair([order], [Preference(b"1", ACCOUNTS[1], 10**9 + 1)])


# --- agent and grid fees ----------------------------------------------------------------------------


@EXAMPLES
@given(
    st.lists(st.integers(0, 50), min_size=3, max_size=3, unique=True).map(sorted),
    st.integers(0, 80),
    st.integers(1, 80),
)
def test_the_agent_moves_towards_the_target_and_then_rests(levels, balance_wh, most_wh) -> None:
    low_wh, target_wh, high_wh = levels
    targets = Targets(100, 200, low_wh, target_wh, high_wh)
    wish = act(targets, balance_wh, False, most_wh)
    goal_wh = min(target_wh, most_wh)
    if wish is None:
        assert low_wh < balance_wh or balance_wh >= goal_wh
        assert balance_wh < high_wh
        assert balance_wh <= most_wh
        return
    after_wh = balance_wh + wish.energy_wh * (1 if wish.side is Side.BUY else -1)
    assert after_wh == goal_wh
    assert wish.price_u_kwh == (100 if wish.side is Side.BUY else 200)
    assert act(targets, after_wh, False, most_wh) is None
    assert act(targets, balance_wh, True, most_wh) is None


def test_an_order_of_an_agent_never_wants_more_than_is_missing() -> None:
    """A target of 50, of which others may have brought a part, or too much; a lowered maximum counts as well."""
    targets = Targets(100, 200, 10, 50, 90)
    assert [still_wants(targets, Side.BUY, has, False) for has in (0, 20, 50, 70)] == [50, 30, 0, 0]
    assert [still_wants(targets, Side.SELL, has, False) for has in (95, 60, 50, 20)] == [45, 10, 0, 0]
    assert still_wants(targets, Side.BUY, 20, False, most_wh=30) == 10
    assert still_wants(targets, Side.SELL, 60, False, most_wh=30) == 30
    assert still_wants(targets, Side.BUY, 0, True) == still_wants(targets, Side.SELL, 95, True) == 0


def test_targets_that_cannot_be_are_refused() -> None:
    for levels in ((-1, 5, 9), (5, 5, 9), (1, 9, 9)):
        with pytest.raises(AgentError, match="expected 0 <= low < target < high"):
            Targets(1, 2, *levels)
    with pytest.raises(AgentError, match="a target price of 1000000001 u/kWh"):
        Targets(1, 10**9 + 1, 1, 2, 3)


def test_grid_fees_never_rise_with_closeness() -> None:
    for fees in ((), (1, 2), (1, -1), (10**9 + 1, 0), tuple(range(9, 0, -1))):
        with pytest.raises(GridFeeError):
            GridFees(fees)
    fees = GridFees((70, 50, 50, 0))
    homes = [("a", "b", "c", str(number)) for number in range(2)] + [("a", "b", "d", "0"), ("x", "b", "c", "0")]
    for one in homes:
        for other in homes:
            assert grid_fee(fees, one, other) == grid_fee(fees, other, one)
            assert grid_fee(fees, one, other) == (70, 50, 50, 0, 0)[shared_levels(one, other)]
