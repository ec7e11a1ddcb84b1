"""Book: any operations one after the other, compared with the naive book, and what is always true."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.market import OrderError, Side, Trade
from meshnode.market.book import Book
from meshnode.market.ranking import Ranking
from meshnode.market.standing import Band, Effects, Leaving, StandingOrder, TimeInForce
from tests.market.load import CANCELS_PERCENT, operations, run
from tests.market.naive_book import NaiveBook, limit, price_between
from tests.market.strategies import ACCOUNTS, EXAMPLES, FEWER

STEPS = 60
FORCES = [TimeInForce.GTC] * 6 + [TimeInForce.IOC, TimeInForce.FOK, TimeInForce.MARKET]


def story_of(seed: int) -> list[dict | tuple]:
    """Operations in a small world, where everything happens: few members, few prices, small energies.

    Drawn from a seed and not from strategies, whose lists are mostly too short for an order to be
    booked, amended, backed and met again. In every other story members are partners all the time.
    """
    random = Random(seed)
    members, friends = (ACCOUNTS[:3], 60) if seed % 2 else (ACCOUNTS, 10)

    def price() -> int:
        return random.randrange(-1, 5) * 1_000

    def step() -> dict | tuple:
        kind = random.choices(("place", "back", "amend", "cancel", "expire"), (50, 25, 20, 4, 1))[0]
        if kind == "place":
            return {
                "account": random.choice(members),
                "side": random.choice(list(Side)),
                "energy_wh": random.randrange(1, 9),
                "backed_wh": random.choice((None, None, 0, 2)),
                "price_u_kwh": price(),
                "time_in_force": random.choice(FORCES),
                "expires_s": random.choice((None, None, random.randrange(1, 40))),
                "partner": (random.choice(members), price()) if random.randrange(100) < friends else None,
            }
        if kind == "amend":
            return (
                kind,
                random.randrange(50),
                random.randrange(12),
                random.choice((None, price())),
                random.randrange(9),
            )
        return (kind, random.randrange(50), random.randrange(9))

    return [step() for _ in range(STEPS)]


stories = st.integers(0, 2**32).map(story_of)


def order_of(what: dict, number: int) -> StandingOrder:
    partner = what["partner"] if what["partner"] and what["partner"][0] != what["account"] else (None, None)
    energy_wh = what["energy_wh"]
    return StandingOrder(
        order_id=bytes([number]) * 32,
        account=what["account"],
        side=what["side"],
        energy_wh=energy_wh,
        ready_wh=energy_wh if what["backed_wh"] is None else min(energy_wh, what["backed_wh"]),
        price_u_kwh=what["price_u_kwh"],
        sequence=(number // 3, number % 3),
        expires_s=what["expires_s"],
        partner=partner[0],
        partner_price_u_kwh=partner[1],
    )


class Both:
    """The book and the naive one, told the same things; every operation is checked."""

    def __init__(self) -> None:
        self.book, self.naive = Book(), NaiveBook()

    def tell(self, what: dict | tuple, number: int) -> None:
        before = {order.order_id: order for order in self.book}
        effects, trades = self._run(what, number, sorted(before))
        assert effects.trades == tuple(trades)
        rows = sorted(self.naive.orders, key=lambda order: order.sequence)
        assert list(self.book) == rows
        self._check_effects(before, effects)
        self._check_trades(effects)
        assert self.book.executable_cross() is None
        for account in ACCOUNTS:
            assert self.book.of_account(account) == [row for row in rows if row.account == account]
        assert [pair for pair in ((a, b) for a in rows for b in rows) if price_between(*pair) is not None] == []

    def _run(self, what: dict | tuple, number: int, ids: list[bytes]) -> tuple[Effects, list[Trade]]:
        if isinstance(what, dict):
            order = order_of(what, number)
            trades = self.naive.place(order, what["time_in_force"])
            effects = self.book.place(order, what["time_in_force"])
            if what["time_in_force"] is TimeInForce.FOK:
                assert sum(trade.energy_wh for trade in effects.trades) in (0, order.energy_wh)
            return effects, trades
        if what[0] == "expire":
            self.naive.expire(what[1])
            return self.book.expire(what[1]), []
        if not ids:
            return Effects(), []
        order_id = ids[what[1] % len(ids)]
        if what[0] == "back":
            ready_wh = min(what[2], self.naive.find(order_id).energy_wh)
            return self.book.back(order_id, ready_wh), self.naive.back(order_id, ready_wh)
        if what[0] == "amend":
            sequence = (number // 3, number % 3)
            price_u_kwh = self.naive.find(order_id).price_u_kwh if what[3] is None else what[3]
            return (
                self.book.amend(order_id, what[2], price_u_kwh, sequence=sequence, ready_wh=what[4]),
                self.naive.amend(order_id, what[2], price_u_kwh, sequence, what[4]),
            )
        self.naive.cancel(order_id)
        return self.book.cancel(order_id), []

    def _check_effects(self, before: dict[bytes, StandingOrder], effects: Effects) -> None:
        """The rows of a ledger that applies the effects are those of the book."""
        rows = dict(before)
        for left in effects.left:
            rows.pop(left.order.order_id, None)
        for order in effects.resting:
            rows[order.order_id] = order
        assert rows == {order.order_id: order for order in self.book}
        touched = [order.order_id for order in effects.resting] + [left.order.order_id for left in effects.left]
        assert len(touched) == len(set(touched))
        for left in effects.left:
            assert (left.why is Leaving.FILLED) == (left.order.energy_wh == 0)

    def _check_trades(self, effects: Effects) -> None:
        stands = {order.order_id: order for order in effects.resting}
        stands |= {left.order.order_id: left.order for left in effects.left}
        for trade in effects.trades:
            bid, offer = stands[trade.buy_order], stands[trade.sell_order]
            assert (bid.account, offer.account) == (trade.buyer, trade.seller)
            assert trade.buyer != trade.seller
            assert trade.energy_wh > 0
            assert limit(offer, bid) <= trade.price_u_kwh <= limit(bid, offer)


@FEWER
@given(stories)
def test_the_book_does_what_the_naive_book_does(story) -> None:
    both = Both()
    for number, what in enumerate(story):
        both.tell(what, number)


@FEWER
@given(stories, st.integers(0, STEPS))
def test_a_book_from_rows_goes_on_as_if_it_had_never_stopped(story, cut) -> None:
    one = Both()
    for number, what in enumerate(story[:cut]):
        one.tell(what, number)
    one.book = Book(list(one.book)[::-1])
    for number, what in enumerate(story[cut:], cut):
        one.tell(what, number)


@pytest.mark.nightly
def test_a_hundred_thousand_operations() -> None:
    for seed in range(2_000):
        both = Both()
        for number, what in enumerate(story_of(seed)):
            both.tell(what, number)


def order(
    number: int, side: Side, energy_wh: int = 10, price_u_kwh: int = 1_000, ready_wh: int | None = None, **changes
) -> StandingOrder:
    fields = {"account": ACCOUNTS[number % 5], "sequence": (1, number), **changes}
    ready_wh = energy_wh if ready_wh is None else ready_wh
    return StandingOrder(
        order_id=bytes([number]) * 32,
        side=side,
        energy_wh=energy_wh,
        ready_wh=ready_wh,
        price_u_kwh=price_u_kwh,
        **fields,
    )


def test_an_amendment_downwards_keeps_its_place_and_any_other_loses_it() -> None:
    for total_wh, price_u_kwh, first in ((6, 1_000, 1), (10, 1_000, 1), (11, 1_000, 2), (6, 1_001, 2)):
        book = Book([order(1, Side.SELL), order(2, Side.SELL)])
        book.amend(bytes([1]) * 32, total_wh, price_u_kwh, sequence=(2, 0), ready_wh=10)
        trade = book.place(order(3, Side.BUY, 1, 2_000, sequence=(2, 1))).trades[0]
        assert trade.sell_order == bytes([first]) * 32


def test_an_amendment_counts_what_has_traded_already() -> None:
    book = Book([order(1, Side.SELL, 10)])
    book.place(order(2, Side.BUY, 7))
    # 3 Wh are open. Less, said of the whole order, stays less.
    effects = book.amend(bytes([1]) * 32, 8, 1_000, sequence=(2, 0), ready_wh=10)
    assert [(row.energy_wh, row.filled_wh, row.sequence) for row in effects.resting] == [(1, 7, (1, 1))]
    effects = book.amend(bytes([1]) * 32, 7, 1_000, sequence=(2, 1), ready_wh=10)
    assert [(left.order.energy_wh, left.why) for left in effects.left] == [(1, Leaving.CANCELLED)]


def test_prices_beyond_the_band_do_not_come_in_and_do_not_stay() -> None:
    band = Band(floor_u_kwh=0, cap_u_kwh=2_000)
    book = Book()
    assert book.place(order(1, Side.BUY, price_u_kwh=2_001), band=band).left[0].why is Leaving.OUT_OF_BAND
    partner = {"partner": ACCOUNTS[0], "partner_price_u_kwh": -1}
    assert book.place(order(2, Side.SELL, **partner), band=band).left[0].why is Leaving.OUT_OF_BAND
    book.place(order(3, Side.SELL, price_u_kwh=2_000), band=band)
    # A market order's protection is brought down to the cap.
    effects = book.place(order(4, Side.BUY, 12, 9_000), TimeInForce.MARKET, band)
    assert [trade.price_u_kwh for trade in effects.trades] == [2_000]
    assert [(left.order.price_u_kwh, left.why) for left in effects.left[1:]] == [(2_000, Leaving.UNFILLED)]
    book.place(order(5, Side.SELL, price_u_kwh=1_500), band=band)
    book.place(order(6, Side.SELL, price_u_kwh=1_000), band=band)
    with pytest.raises(OrderError, match="2001 u/kWh is not allowed"):
        book.amend(bytes([5]) * 32, 5, 2_001, sequence=(2, 0), ready_wh=5, band=band)
    left = book.keep_within(Band(cap_u_kwh=1_400)).left
    assert [(gone.order.order_id[0], gone.why) for gone in left] == [(5, Leaving.OUT_OF_BAND)]
    assert [rest.order_id[0] for rest in book] == [6]


def test_quotes_are_of_all_orders_and_of_those_that_are_backed() -> None:
    book = Book([order(1, Side.SELL, price_u_kwh=800, ready_wh=0), order(2, Side.SELL), order(3, Side.BUY, 5, 700)])
    quote = book.quote()
    assert (quote.buying_u_kwh, quote.buying_now_u_kwh) == (800, 1_000)
    assert (quote.selling_u_kwh, quote.selling_now_u_kwh) == (700, 700)
    assert Book().quote().buying_u_kwh is None
    assert [row.order_id[0] for row in book.of_side(Side.SELL)] == [1, 2]
    assert book.get(bytes([3]) * 32) is not None
    assert book.get(bytes([9]) * 32) is None
    assert len(book) == 3
    assert [row.order_id[0] for row in book.of_account(ACCOUNTS[1])] == [1]
    assert book.of_account(b"nobody") == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Book([order(1, Side.BUY), order(1, Side.BUY, sequence=(1, 2))]), "is in the book already"),
        (lambda: Book([order(1, Side.BUY), order(2, Side.BUY, sequence=(1, 1))]), "expected one above"),
        (lambda: Book([order(5, Side.BUY)]).place(order(4, Side.BUY)), r"at sequence \(1, 4\), expected one above"),
        (lambda: Book().place(order(1, Side.BUY, 0)), "0 Wh are open, expected 1 or more"),
        (lambda: Book().cancel(bytes(32)), "is not in the book"),
        (lambda: order(1, Side.BUY, 10**9 + 1), "expected 0 to 1000000000"),
        (lambda: order(1, Side.BUY, 10, ready_wh=11), "11 Wh are ready, expected 0 to 10"),
        (lambda: order(1, Side.BUY, price_u_kwh=10**9 + 1), "1000000001 u/kWh, expected"),
        (lambda: order(1, Side.BUY, partner=ACCOUNTS[2]), "a partner and a price for it come together"),
        (
            lambda: order(1, Side.BUY, partner=ACCOUNTS[1], partner_price_u_kwh=1),
            "names its own account as partner",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OrderError, match=message):
        make()


@EXAMPLES
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=300))
def test_a_ranking_gives_the_smallest_first(steps) -> None:
    ranking = Ranking()
    live: set[tuple[int, int, int, bytes]] = set()
    for number, (rank, adds) in enumerate(steps):
        if adds or not live:
            entry = (rank, 1, number, number.to_bytes(4, "big"))
            ranking.add(rank, (1, number), entry[3])
            live.add(entry)
        else:
            gone = sorted(live)[rank % len(live)]
            live.remove(gone)
            ranking.discard(gone[3])
        assert ranking.first() == min(live, default=None)
        assert len(ranking) == len(live)
    taken = [ranking.take() for _ in live]
    assert taken == sorted(live)
    ranking.put_back(taken)
    assert ranking.first() == min(live, default=None)


def test_an_order_that_leaves_and_comes_back_is_ranked_once() -> None:
    ranking = Ranking()
    for _ in range(3):
        ranking.add(5, (1, 1), b"a")
        ranking.discard(b"a")
    ranking.add(5, (1, 1), b"a")
    taken = ranking.take()
    assert taken == (5, 1, 1, b"a")
    assert ranking.take() is None
    ranking.put_back([taken])
    assert ranking.first() == taken


def test_removed_entries_do_not_pile_up() -> None:
    ranking = Ranking()
    for number in range(10_000):
        ranking.add(-number, (1, number), number.to_bytes(4, "big"))
        ranking.discard((number - 10).to_bytes(4, "big") if number >= 10 else b"")
    assert len(ranking) == 10
    assert len(ranking._heap) < 100


def test_the_load_is_the_same_for_a_seed_and_keeps_its_word() -> None:
    load = operations(7, 3_000)
    assert load == operations(7, 3_000) != operations(8, 3_000)
    assert sum(len(one) == 2 for one in load) * 100 == len(load) * CANCELS_PERCENT


def test_the_load_trades_as_in_the_naive_book() -> None:
    load = operations(7, 600)
    deals, _, book = run(load)
    naive, expected = NaiveBook(), []
    for position, operation in enumerate(load):
        order_id = operation[1].to_bytes(32, "big")
        if len(operation) == 2:
            naive.orders = [row for row in naive.orders if row.order_id != order_id]
            continue
        kind, number, member, energy_wh, price = operation
        side = Side.BUY if kind == "buy" else Side.SELL
        placed = StandingOrder(order_id, member.to_bytes(16, "big"), side, energy_wh, energy_wh, price, (1, position))
        for trade in naive.place(placed, TimeInForce.GTC):
            other = trade.sell_order if side is Side.BUY else trade.buy_order
            expected.append((number, int.from_bytes(other, "big"), trade.price_u_kwh, trade.energy_wh))
    assert deals == expected
    assert len(deals) > 100
    assert list(book) == sorted(naive.orders, key=lambda row: row.sequence)
