"""Welfare: a single price leaves nothing on the table, as a linear programme says that knows no auctions."""

from random import Random

import pytest

from meshnode.market import Order, Side, Terms, Trade
from meshnode.market.clearing import welfare
from meshnode.market.pay_as_bid import MECHANISM as PAY_AS_BID
from meshnode.market.pay_as_clear import MECHANISM as PAY_AS_CLEAR
from tests.market.strategies import ACCOUNTS

BOOKS = 100


def random_book(seed: int) -> list[Order]:
    """Up to 60 orders of members of whom some stand on both sides."""
    random = Random(seed)
    return [
        Order(
            order_id=number.to_bytes(32, "big"),
            account=bytes([random.randrange(40)]) * 16,
            side=random.choice(list(Side)),
            period=7,
            energy_wh=random.randrange(1, 5_000),
            price_u_kwh=random.randrange(-50, 400) * 1_000,
            sequence=(1, number),
        )
        for number in range(random.randrange(2, 60))
    ]


def optimum(book: list[Order]) -> int:
    """The most welfare, in micro-units times Wh per kWh: maximise what bids are worth less what offers ask."""
    highspy = pytest.importorskip("highspy", reason="highspy is not installed; it is one of the test requirements")
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    sign = {Side.BUY: 1, Side.SELL: -1}
    taken = [model.addVariable(lb=0, ub=order.energy_wh) for order in book]
    pairs = list(zip(book, taken, strict=True))
    model.addConstr(sum(sign[order.side] * energy for order, energy in pairs) == 0)
    model.maximize(sum(sign[order.side] * order.price_u_kwh * energy for order, energy in pairs))
    found = model.getObjectiveValue()
    assert abs(found - round(found)) < 1e-2
    return round(found)


@pytest.mark.parametrize("mechanism", [PAY_AS_CLEAR, PAY_AS_BID], ids=lambda found: found.name)
def test_the_welfare_of_an_auction_is_the_optimum_of_a_linear_programme(mechanism) -> None:
    traded_books = 0
    for seed in range(BOOKS):
        book = random_book(seed)
        clearing = mechanism.clear(book, Terms(0, 0))
        accepted = {fill.order_id: fill.traded_wh + fill.own_wh for fill in clearing.fills}
        sign = {Side.BUY: 1, Side.SELL: -1}
        found = sum(sign[order.side] * order.price_u_kwh * accepted.get(order.order_id, 0) for order in book)
        assert found == optimum(book), f"seed {seed}"
        traded_books += bool(clearing.trades)
        own = any(fill.own_wh for fill in clearing.fills)
        limits = {order.order_id: order.price_u_kwh for order in book}
        if not own:
            # What the command line calls welfare; the two gains are rounded down one by one.
            assert found // 1000 - sum(welfare(clearing.trades, limits)) in (0, 1)
    assert traded_books > BOOKS // 2


def test_welfare_is_what_both_sides_gain() -> None:
    trade = Trade(ACCOUNTS[0], ACCOUNTS[1], b"bid", b"offer", 1_500, 150_000)
    assert welfare([trade], {b"bid": 200_001, b"offer": 120_000}) == (75_001, 45_000)
    assert welfare([], {}) == (0, 0)
