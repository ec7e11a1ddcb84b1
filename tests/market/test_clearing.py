"""Clearing: what is true of every mechanism and every book, and what each one adds."""

import inspect
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.market import (
    AuctionMechanism,
    Clearing,
    ContinuousMechanism,
    Mechanism,
    Order,
    OrderError,
    Side,
    Terms,
)
from meshnode.market.continuous import MECHANISM as CONTINUOUS
from meshnode.market.falling_auction import MECHANISM as FALLING_AUCTION
from meshnode.market.mid_market import MECHANISM as MID_MARKET_RATE
from meshnode.market.mid_market import mid_market_rate, share
from meshnode.market.order import ORDERS_MAX
from meshnode.market.pay_as_bid import MECHANISM as PAY_AS_BID
from meshnode.market.pay_as_clear import MECHANISM as PAY_AS_CLEAR
from meshnode.market.rising_auction import MECHANISM as RISING_AUCTION
from tests.market.strategies import ACCOUNTS, EXAMPLES, books, energies, terms

MECHANISMS = [PAY_AS_CLEAR, MID_MARKET_RATE, PAY_AS_BID, CONTINUOUS, RISING_AUCTION, FALLING_AUCTION]
ONE_PRICE = (PAY_AS_CLEAR, MID_MARKET_RATE)
every_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda found: found.name)


def order(position: int, side: Side, energy_wh: int = 10, price_u_kwh: int = 1000, **changes) -> Order:
    fields = {
        "order_id": bytes([position]) * 32,
        "account": ACCOUNTS[position % 5],
        "period": 7,
        "sequence": (1, position),
    }
    return Order(side=side, energy_wh=energy_wh, price_u_kwh=price_u_kwh, **{**fields, **changes})


def left_over(book: list[Order], clearing: Clearing) -> dict[bytes, int]:
    filled = {fill.order_id: fill.traded_wh + fill.own_wh for fill in clearing.fills}
    return {placed.order_id: placed.energy_wh - filled.get(placed.order_id, 0) for placed in book}


@every_mechanism
@EXAMPLES
@given(book=books(), given_terms=terms, random=st.randoms(use_true_random=False))
def test_the_order_of_orders_does_not_matter(mechanism: Mechanism, book, given_terms, random) -> None:
    shuffled = list(book)
    random.shuffle(shuffled)
    assert mechanism.clear(shuffled, given_terms) == mechanism.clear(book, given_terms)


@every_mechanism
@EXAMPLES
@given(book=books(), given_terms=terms)
def test_trades_keep_energy_limits_and_identity(mechanism: Mechanism, book, given_terms) -> None:
    by_id = {placed.order_id: placed for placed in book}
    clearing = mechanism.clear(book, given_terms)
    traded = dict.fromkeys(by_id, 0)
    for trade in clearing.trades:
        bid, offer = by_id[trade.buy_order], by_id[trade.sell_order]
        assert (bid.side, offer.side) == (Side.BUY, Side.SELL)
        assert (trade.buyer, trade.seller) == (bid.account, offer.account)
        assert trade.buyer != trade.seller
        assert offer.price_u_kwh <= trade.price_u_kwh <= bid.price_u_kwh
        assert trade.price_u_kwh == clearing.price_u_kwh or clearing.price_u_kwh is None
        assert trade.energy_wh > 0
        traded[bid.order_id] += trade.energy_wh
        traded[offer.order_id] += trade.energy_wh
    assert len({fill.order_id for fill in clearing.fills}) == len(clearing.fills)
    own = {fill.order_id: fill.own_wh for fill in clearing.fills}
    assert {fill.order_id: fill.traded_wh for fill in clearing.fills} == {
        order_id: traded[order_id] for order_id in own
    }
    assert all(energy_wh >= 0 for energy_wh in left_over(book, clearing).values())
    prices = {trade.price_u_kwh for trade in clearing.trades}
    assert (clearing.price_u_kwh is None) == (len(prices) != 1)
    assert mechanism not in ONE_PRICE or len(prices) <= 1
    # What an account set aside it set aside on both sides.
    for account in ACCOUNTS:
        for_side = [
            sum(own.get(placed.order_id, 0) for placed in book if (placed.account, placed.side) == (account, side))
            for side in Side
        ]
        assert for_side[0] == for_side[1]


@EXAMPLES
@given(books(), terms)
def test_pay_as_clear_leaves_no_cross_and_a_price_that_supports_the_result(book, given_terms) -> None:
    clearing = PAY_AS_CLEAR.clear(book, given_terms)
    rest = left_over(book, clearing)
    open_bids = [placed.price_u_kwh for placed in book if placed.side is Side.BUY and rest[placed.order_id]]
    open_offers = [placed.price_u_kwh for placed in book if placed.side is Side.SELL and rest[placed.order_id]]
    assert not open_bids or not open_offers or max(open_bids) < min(open_offers)
    price_u_kwh = clearing.price_u_kwh
    if price_u_kwh is not None:
        assert clearing.low_u_kwh <= price_u_kwh <= clearing.high_u_kwh
        # Nobody left out would have gained by trading at the price.
        assert all(limit <= price_u_kwh for limit in open_bids)
        assert all(limit >= price_u_kwh for limit in open_offers)


@EXAMPLES
@given(books(), terms)
def test_pay_as_clear_finds_the_most_welfare(book, given_terms) -> None:
    def curve(side: Side) -> list[int]:
        limits = (placed for placed in book if placed.side is side)
        return sorted(limit for placed in limits for limit in [placed.price_u_kwh] * placed.energy_wh)

    # Wh by Wh: the dearest bid with the cheapest offer, as long as somebody gains.
    best = sum(
        bid - offer for bid, offer in zip(reversed(curve(Side.BUY)), curve(Side.SELL), strict=False) if bid > offer
    )
    fills = {fill.order_id: fill.traded_wh + fill.own_wh for fill in PAY_AS_CLEAR.clear(book, given_terms).fills}
    sign = {Side.BUY: 1, Side.SELL: -1}
    found = sum(sign[placed.side] * placed.price_u_kwh * fills.get(placed.order_id, 0) for placed in book)
    assert found == best


@EXAMPLES
@given(books(), terms)
def test_pay_as_clear_serves_better_prices_first_and_equal_prices_by_time(book, given_terms) -> None:
    rest = left_over(book, PAY_AS_CLEAR.clear(book, given_terms))
    for side, sign in ((Side.BUY, -1), (Side.SELL, 1)):
        ranked = sorted(
            (placed for placed in book if placed.side is side),
            key=lambda placed: (sign * placed.price_u_kwh, placed.sequence),
        )
        filled = [placed.energy_wh - rest[placed.order_id] for placed in ranked]
        partly = [number for number, placed in enumerate(ranked) if rest[placed.order_id]]
        if partly:
            assert not any(filled[partly[0] + 1 :])


@EXAMPLES
@given(books(), terms)
def test_mid_market_fills_the_short_side_whole(book, given_terms) -> None:
    rate_u_kwh = mid_market_rate(given_terms.grid_price_u_kwh, given_terms.feed_in_price_u_kwh)
    willing = [
        placed
        for placed in book
        if (placed.price_u_kwh >= rate_u_kwh if placed.side is Side.BUY else placed.price_u_kwh <= rate_u_kwh)
    ]
    clearing = MID_MARKET_RATE.clear(book, given_terms)
    rest = left_over(book, clearing)
    unserved = [sum(rest[placed.order_id] for placed in willing if placed.side is side) for side in Side]
    assert min(unserved) == 0
    assert clearing.price_u_kwh in (rate_u_kwh, None)


sides = st.dictionaries(st.sampled_from(ACCOUNTS), energies, max_size=5)


@EXAMPLES
@given(sides, sides)
def test_sharing_is_as_much_as_can_go_to_others(wanted, offered) -> None:
    taken, given_ = share(wanted, offered)
    shared_wh = sum(taken.values())
    assert shared_wh == sum(given_.values())
    for account in ACCOUNTS:
        assert 0 <= taken.get(account, 0) <= wanted.get(account, 0)
        assert 0 <= given_.get(account, 0) <= offered.get(account, 0)
        assert taken.get(account, 0) + given_.get(account, 0) <= shared_wh
    assert shared_wh == most_between_others(wanted, offered)


def most_between_others(wanted: dict[bytes, int], offered: dict[bytes, int]) -> int:
    """The most that can flow from offers to other accounts' wants: augmenting paths, step by step."""
    flow = {(seller, buyer): 0 for seller in offered for buyer in wanted if seller != buyer}
    total_wh = 0
    while True:
        open_sellers = [
            seller for seller in offered if sum(flow.get((seller, buyer), 0) for buyer in wanted) < offered[seller]
        ]
        paths = [[seller] for seller in open_sellers]
        seen = {("sells", seller) for seller in open_sellers}
        found = None
        while paths and found is None:
            path = paths.pop(0)
            if len(path) % 2:
                steps = [("buys", buyer) for buyer in wanted if (path[-1], buyer) in flow]
            else:
                steps = [("sells", seller) for seller in offered if flow.get((seller, path[-1]), 0)]
            for step in steps:
                if step not in seen:
                    seen.add(step)
                    paths.append([*path, step[1]])
                    bought = sum(flow.get((seller, step[1]), 0) for seller in offered)
                    if step[0] == "buys" and bought < wanted[step[1]]:
                        found = paths[-1]
                        break
        if found is None:
            return total_wh
        back = [flow[found[i + 1], found[i]] for i in range(1, len(found) - 1, 2)]
        spare_wh = offered[found[0]] - sum(flow.get((found[0], buyer), 0) for buyer in wanted)
        missing_wh = wanted[found[-1]] - sum(flow.get((seller, found[-1]), 0) for seller in offered)
        step_wh = min([spare_wh, missing_wh, *back])
        for i in range(0, len(found) - 1, 2):
            flow[found[i], found[i + 1]] += step_wh
        for i in range(1, len(found) - 1, 2):
            flow[found[i + 1], found[i]] -= step_wh
        total_wh += step_wh


@EXAMPLES
@given(sides)
def test_the_long_side_shares_in_proportion(wanted) -> None:
    demand_wh = sum(wanted.values())
    seller = b"\xff" * 16
    taken, _ = share(wanted, {seller: demand_wh // 3})
    for account, energy_wh in wanted.items():
        assert abs(taken.get(account, 0) * demand_wh - energy_wh * (demand_wh // 3)) < max(demand_wh, 1)


@pytest.mark.parametrize(
    ("book", "message"),
    [
        ([order(1, Side.BUY), order(2, Side.SELL, period=8)], "orders of periods 7 and 8 in one clearing"),
        ([order(1, Side.BUY), order(1, Side.BUY, sequence=(2, 0))], "occurs twice"),
        ([order(1, Side.BUY), order(2, Side.BUY, sequence=(1, 1))], "two orders at sequence"),
        ([order(1, Side.BUY)] * (ORDERS_MAX + 1), "8193 orders in one clearing, the limit is 8192"),
    ],
)
@every_mechanism
def test_orders_that_do_not_belong_together_are_refused(mechanism: Mechanism, book, message: str) -> None:
    with pytest.raises(OrderError, match=message):
        mechanism.clear(book, Terms(0, 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: order(1, Side.BUY, energy_wh=0), "0 Wh, expected 1 to 1000000000"),
        (lambda: order(1, Side.BUY, energy_wh=10**9 + 1), "1000000001 Wh, expected 1 to 1000000000"),
        (lambda: order(1, Side.SELL, price_u_kwh=10**9 + 1), "1000000001 u/kWh, expected"),
        (lambda: order(1, Side.SELL, price_u_kwh=-(10**9) - 1), "-1000000001 u/kWh, expected"),
    ],
)
def test_an_order_out_of_bounds_is_refused(make: Callable[[], Order], message: str) -> None:
    with pytest.raises(OrderError, match=message):
        make()


@EXAMPLES
@given(books(), terms)
def test_pay_as_bid_accepts_what_pay_as_clear_accepts_and_takes_the_bids_price(book, given_terms) -> None:
    clearing = PAY_AS_BID.clear(book, given_terms)
    assert clearing.fills == PAY_AS_CLEAR.clear(book, given_terms).fills
    limits = {placed.order_id: placed.price_u_kwh for placed in book}
    assert all(trade.price_u_kwh == limits[trade.buy_order] for trade in clearing.trades)


@EXAMPLES
@given(books(), terms)
def test_continuous_leaves_nothing_that_could_trade(book, given_terms) -> None:
    rest = left_over(book, CONTINUOUS.clear(book, given_terms))
    still = [placed for placed in book if rest[placed.order_id]]
    for bid in (placed for placed in still if placed.side is Side.BUY):
        for offer in (placed for placed in still if placed.side is Side.SELL):
            assert bid.account == offer.account or bid.price_u_kwh < offer.price_u_kwh


@EXAMPLES
@given(books(), terms)
def test_rising_auctions_sell_lots_whole_to_the_highest_bid_that_wants_as_much(book, given_terms) -> None:
    by_time = sorted(book, key=lambda placed: placed.sequence)
    wanted = {placed.order_id: placed.energy_wh for placed in by_time if placed.side is Side.BUY}
    expected = []
    for offer in (placed for placed in by_time if placed.side is Side.SELL):
        able = [
            placed
            for placed in by_time
            if placed.account != offer.account and wanted.get(placed.order_id, 0) >= offer.energy_wh
        ]
        best = max(
            able, key=lambda placed: (placed.price_u_kwh, (-placed.sequence[0], -placed.sequence[1])), default=None
        )
        if best is not None and best.price_u_kwh >= offer.price_u_kwh:
            wanted[best.order_id] -= offer.energy_wh
            expected.append((best.order_id, offer.order_id, offer.energy_wh, best.price_u_kwh))
    trades = RISING_AUCTION.clear(book, given_terms).trades
    assert [(one.buy_order, one.sell_order, one.energy_wh, one.price_u_kwh) for one in trades] == expected


@EXAMPLES
@given(books(), terms)
def test_falling_auctions_take_the_lowest_offers_of_others_at_what_they_ask(book, given_terms) -> None:
    by_time = sorted(book, key=lambda placed: placed.sequence)
    left = {placed.order_id: placed.energy_wh for placed in by_time if placed.side is Side.SELL}
    expected = []
    for bid in (placed for placed in by_time if placed.side is Side.BUY):
        open_wh = bid.energy_wh
        for offer in sorted(by_time, key=lambda placed: placed.price_u_kwh):
            if offer.account != bid.account and offer.price_u_kwh <= bid.price_u_kwh:
                energy_wh = min(open_wh, left.get(offer.order_id, 0))
                if energy_wh:
                    left[offer.order_id] -= energy_wh
                    open_wh -= energy_wh
                    expected.append((bid.order_id, offer.order_id, energy_wh, offer.price_u_kwh))
    trades = FALLING_AUCTION.clear(book, given_terms).trades
    assert [(one.buy_order, one.sell_order, one.energy_wh, one.price_u_kwh) for one in trades] == expected


@every_mechanism
def test_the_largest_period_clears_in_a_moment(mechanism: Mechanism) -> None:
    """Lots that are too large for every bid but the worst: who looks at each pair needs minutes."""
    half = ORDERS_MAX // 2
    book = [
        Order(
            order_id=bytes([side]) + number.to_bytes(31, "big"),
            account=bytes([side]) * 8 + number.to_bytes(8, "big"),
            side=side,
            period=7,
            energy_wh=1_000 if side is Side.SELL or number == half - 1 else 999,
            price_u_kwh=5_000 - number % 7 if side is Side.BUY else 1_000 + number % 11,
            sequence=(side, number),
        )
        for side in Side
        for number in range(half)
    ]
    clearing = mechanism.clear(book, Terms(5_000, 1_000))
    assert clearing.energy_wh > 0


def test_a_thousand_equal_orders_clear_by_time() -> None:
    book = [
        order(number % 250, side, order_id=bytes([side]) + number.to_bytes(31, "big"), sequence=(side, number))
        for number in range(1000)
        for side in Side
    ]
    clearing = PAY_AS_CLEAR.clear(book, Terms(0, 0))
    assert clearing.energy_wh + sum(fill.own_wh for fill in clearing.fills) // 2 == 10_000


@every_mechanism
def test_a_mechanism_keeps_the_interface(mechanism: Mechanism) -> None:
    assert isinstance(mechanism, Mechanism)
    assert list(inspect.signature(mechanism.clear).parameters) == ["orders", "terms"]
    clearing = mechanism.clear([], Terms(0, 0))
    assert (clearing.mechanism, clearing.version) == (mechanism.name, mechanism.version)


def test_what_goes_on_all_the_time_says_so() -> None:
    assert [found.name for found in MECHANISMS if isinstance(found, ContinuousMechanism)] == ["continuous"]
    auctions = [found.name for found in MECHANISMS if isinstance(found, AuctionMechanism)]
    assert auctions == ["rising-auction", "falling-auction"]
