"""Settlement: energy and money are conserved in every period, and corrections end where they should."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.amounts import PPM, AmountError, value
from meshnode.market import Order, Side, Terms, Trade
from meshnode.market.grid_fees import GridFees
from meshnode.market.mid_market import MECHANISM as MID_MARKET_RATE
from meshnode.market.pay_as_clear import MECHANISM as PAY_AS_CLEAR
from meshnode.settlement import (
    GRID_ACCOUNT,
    POOL_ACCOUNT,
    Entry,
    Metered,
    PeriodInputs,
    Quality,
    Reason,
    SettlementBroken,
    SettlementError,
    Tariff,
    changes_by_account,
    check_settlement,
    completeness_ppm,
    correct,
    estimate,
    fund_account,
    settle,
)
from meshnode.settlement.levies import Levy, Solidarity
from tests.market.strategies import ACCOUNTS, ASSET, EXAMPLES, LEVIES, meters, periods, prices, tariffs

ANNA, BELA, CORA = ACCOUNTS[:3]
TARIFF = Tariff(grid_price_u_kwh=320_000, feed_in_price_u_kwh=80_000, sharing="mid-market-rate")


def period(*metered: Metered, trades: tuple[Trade, ...] = (), tariff: Tariff = TARIFF) -> PeriodInputs:
    return PeriodInputs(period=7, asset=ASSET, metered=metered, trades=trades, tariff=tariff)


def trade(buyer: bytes, seller: bytes, energy_wh: int = 100) -> Trade:
    return Trade(buyer, seller, b"bid", b"offer", energy_wh, 150_000)


@EXAMPLES
@given(periods())
def test_every_period_is_conserved(inputs: PeriodInputs) -> None:
    check_settlement(inputs, settle(inputs))


@EXAMPLES
@given(periods())
def test_money_sums_to_zero_with_grid_and_funds(inputs: PeriodInputs) -> None:
    changes = changes_by_account(settle(inputs).postings)
    assert sum(changes.values()) == 0
    assert changes.get(POOL_ACCOUNT, 0) == 0
    members = {metered.account for metered in inputs.metered}
    funds = {fund for fund, _ in inputs.tariff.fee_split} | {levy.fund for levy in inputs.tariff.levies}
    helped = set() if inputs.tariff.solidarity is None else {account for account, _ in inputs.tariff.solidarity.helped}
    assert set(changes) <= members | funds | helped | {GRID_ACCOUNT, POOL_ACCOUNT}
    assert all(changes.get(fund, 0) >= 0 for fund in funds - members - helped)


@st.composite
def purchases(draw: st.DrawFn) -> PeriodInputs:
    """Bela buys from two others and uses no more than that; who sells may be short, and others may share."""
    limits = draw(st.lists(prices.filter(lambda price: price >= 0), min_size=2, max_size=2))
    wh = draw(st.lists(st.integers(1, 3).map(lambda step: step * 1_000), min_size=2, max_size=2))
    used_wh = draw(st.integers(0, sum(wh) // 1_000)) * 1_000
    others = [
        Metered(account, 0, draw(st.integers(0, 4)) * 1_000, None, Quality.MEASURED)
        for account in ACCOUNTS
        if account != BELA
    ]
    bought = [
        Trade(BELA, seller, b"bid", b"offer", wh[place], limits[place]) for place, seller in enumerate((ANNA, CORA))
    ]
    bases = draw(st.sets(st.integers(0, 2)))
    levies = tuple(Levy(fund_account("light"), base, 30_000) for base in sorted(bases))
    feed_in = draw(st.sampled_from((80_000, -90_000)))
    tariff = msgspec.structs.replace(draw(tariffs()), levies=levies, feed_in_price_u_kwh=feed_in)
    if draw(st.booleans()):
        # Shared energy may be dearer than the grid's.
        tariff = msgspec.structs.replace(tariff, sharing="pro-rata", weights=(), shared_price_u_kwh=400_000)
    return period(Metered(BELA, used_wh, 0), *others, trades=tuple(bought), tariff=tariff)


@settings(EXAMPLES, max_examples=1_000)
@given(purchases())
def test_who_uses_what_it_bought_pays_no_more_than_what_was_reserved(inputs: PeriodInputs) -> None:
    """Prices of the trades and the most that may come on top: enough whoever delivers, and whoever does not."""
    settlement = settle(inputs)
    (line,) = (one for one in settlement.lines if one.account == BELA)
    most_u = sum(value(one.price_u_kwh + inputs.tariff.on_top_u_kwh, one.energy_wh) for one in inputs.trades)
    # What it owns of the production and leaves it pays for at a price below zero, whether it buys or not.
    owned_u = sum(one.amount_u for one in settlement.postings if one.reason is Reason.SURPLUS and one.debit == BELA)
    # What is shared is divided to the micro-unit.
    assert line.out_u - line.in_u - owned_u <= most_u + len(inputs.metered)


@EXAMPLES
@given(periods(), st.randoms(use_true_random=False))
def test_the_order_of_meters_does_not_matter(inputs: PeriodInputs, random) -> None:
    shuffled = list(inputs.metered)
    random.shuffle(shuffled)
    assert settle(msgspec.structs.replace(inputs, metered=tuple(shuffled))) == settle(inputs)


@EXAMPLES
@given(periods())
def test_with_sharing_nothing_goes_round_through_the_grid(inputs: PeriodInputs) -> None:
    if inputs.tariff.sharing != "mid-market-rate":
        return
    lines = settle(inputs).lines
    drawing = [line.account for line in lines if line.grid_wh]
    feeding = [line.account for line in lines if line.fed_in_wh]
    # Only a member on both sides can draw and feed at once, and then nobody else does either.
    assert not drawing or not feeding or (drawing == feeding and len(drawing) == 1)


@EXAMPLES
@given(st.integers(1, 900), st.integers(0, 900), st.integers(0, 900), st.integers(0, 400))
def test_each_wh_of_a_trade_is_delivered_claimed_or_cancelled(
    traded_wh: int, export_wh: int, import_wh: int, tick: int
) -> None:
    price_u_kwh = tick * 1000
    sold = Trade(ANNA, BELA, b"bid", b"offer", traded_wh, price_u_kwh)
    tariff = msgspec.structs.replace(TARIFF, sharing=None)
    settlement = settle(period(Metered(ANNA, import_wh, 0), Metered(BELA, 0, export_wh), trades=(sold,), tariff=tariff))
    found = {posting.reason: posting.energy_wh for posting in settlement.postings if posting.orders}
    seller_short_wh, buyer_short_wh = max(0, traded_wh - export_wh), max(0, traded_wh - import_wh)
    cancelled_wh = min(seller_short_wh, buyer_short_wh)
    claims = {
        Reason.TRADE: traded_wh - max(seller_short_wh, buyer_short_wh),
        Reason.SELLER_SHORT: (seller_short_wh - cancelled_wh) * (price_u_kwh < 320_000),
        Reason.BUYER_SHORT: (buyer_short_wh - cancelled_wh) * (price_u_kwh > 80_000),
    }
    assert found == {reason: energy_wh for reason, energy_wh in claims.items() if energy_wh}
    # Who kept the trade is at least as well off as with delivery, up to the micro-units of rounding down.
    anna, bela = settlement.lines
    if import_wh >= traded_wh:
        best_u = value(price_u_kwh, traded_wh) + value(320_000, import_wh - traded_wh)
        assert anna.out_u - anna.in_u <= best_u + 2
    if export_wh >= traded_wh:
        best_u = value(price_u_kwh, traded_wh) + value(80_000, export_wh - traded_wh)
        assert bela.in_u - bela.out_u >= best_u - 2


@EXAMPLES
@given(st.data(), periods(), st.integers(1, 3))
def test_corrections_end_where_the_right_reading_would_have(data, inputs: PeriodInputs, times: int) -> None:
    first = settled = settle(inputs)
    posted = list(first.postings)
    for _ in range(times):
        inputs = msgspec.structs.replace(
            inputs,
            metered=tuple(
                data.draw(meters(metered.account)) if data.draw(st.booleans()) else metered
                for metered in inputs.metered
            ),
        )
        better = settle(inputs)
        posted.extend(correct(settled, better))
        settled = better
    accounts = {
        GRID_ACCOUNT,
        POOL_ACCOUNT,
        fund_account("coop"),
        fund_account("network"),
        fund_account("light"),
        *ACCOUNTS,
    }
    right, found = changes_by_account(settle(inputs).postings), changes_by_account(posted)
    assert {key: found.get(key, 0) for key in accounts} == {key: right.get(key, 0) for key in accounts}
    assert tuple(posted[: len(first.postings)]) == first.postings


@EXAMPLES
@given(periods())
def test_a_correction_by_the_same_readings_posts_nothing(inputs: PeriodInputs) -> None:
    settlement = settle(inputs)
    assert correct(settlement, settle(inputs)) == ()


def fingerprint() -> str:
    """A hash over everything that a market day of 40 homes produces."""
    accounts = [hashlib.sha256(bytes([number])).digest()[:16] for number in range(40)]
    spread = [int.from_bytes(account[:2], "big") for account in accounts]
    orders = [
        Order(account, account, Side.BUY if number % 2 else Side.SELL, 7, 1 + number, number * 4, (number, 0))
        for account, number in zip(accounts, spread, strict=True)
        if number
    ]
    metered = tuple(
        Metered(account, number % 900, number % 700, number % 1100)
        for account, number in zip(accounts, spread, strict=True)
    )
    tariff = msgspec.structs.replace(TARIFF, fee_u_kwh=12_345, fee_split=((ANNA, 333_333), (BELA, 666_667)))
    found = []
    for mechanism in (PAY_AS_CLEAR, MID_MARKET_RATE):
        clearing = mechanism.clear(orders, Terms(320_000, 80_000))
        first = settle(period(*metered, trades=clearing.trades, tariff=tariff))
        later = settle(period(*metered[1:], Metered(accounts[0], 1, 2), trades=clearing.trades, tariff=tariff))
        found.append((clearing, first, correct(first, later)))
    return hashlib.sha256(msgspec.msgpack.encode(found)).hexdigest()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_with_another_hash_seed_computes_the_same_bytes(seed: str) -> None:
    root = Path(__file__).parents[2]
    code = "from tests.market.test_settlement import fingerprint; print(fingerprint())"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == fingerprint()


def test_a_correction_leaves_alone_what_stays_right() -> None:
    before = settle(period(Metered(ANNA, 500, 0), Metered(BELA, 300, 0)))
    after = settle(period(Metered(ANNA, 600, 0), Metered(BELA, 300, 0)))
    postings = correct(before, after)
    assert [(posting.entry, posting.energy_wh) for posting in postings] == [
        (Entry.REVERSAL, 500),
        (Entry.REPLACEMENT, 600),
    ]
    assert {ANNA, GRID_ACCOUNT} == {postings[0].debit, postings[0].credit}


def test_a_correction_of_another_period_is_refused() -> None:
    old = settle(period(Metered(ANNA, 500, 0)))
    with pytest.raises(SettlementError, match=r"correction of period 7 .* by a settlement of period 8"):
        correct(old, msgspec.structs.replace(old, period=8))


def test_two_equal_trades_are_corrected_one_by_one() -> None:
    trades = (trade(ANNA, BELA), trade(ANNA, BELA))
    before = settle(period(Metered(ANNA, 200, 0), Metered(BELA, 0, 200), trades=trades))
    after = settle(period(Metered(ANNA, 100, 0), Metered(BELA, 0, 100), trades=trades))
    assert len([posting for posting in before.postings if posting.reason is Reason.TRADE]) == 2
    reversals = [posting for posting in correct(before, after) if posting.reason is Reason.TRADE]
    assert len(reversals) == 1
    assert reversals[0].entry is Entry.REVERSAL


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda line: {"neighbours_wh": line.neighbours_wh + 1},
            "own . neighbours . grid is 1201, expected 1200",
        ),
        (lambda line: {"consumption_wh": 0}, "consumption is 0, expected 1200"),
        (lambda line: {"fed_in_wh": 1}, "sold . fed in is 1, expected 0"),
        (lambda line: {"grid_wh": -1, "neighbours_wh": 1201}, "-1 Wh, below zero"),
        (lambda line: {"grid_wh": 0, "neighbours_wh": 1200}, "energy from neighbours is 1200, expected 900"),
        (lambda line: {"out_u": line.out_u - 1}, "payments less receipts of all members is"),
        (lambda line: {"in_u": 5, "out_u": line.out_u + 6}, "payments less receipts of all members is"),
    ],
)
def test_the_check_finds_a_wrong_line(spoil, message: str) -> None:
    inputs = period(Metered(ANNA, 1200, 0), Metered(BELA, 0, 900))
    settlement = settle(inputs)
    lines = (
        msgspec.structs.replace(settlement.lines[0], **spoil(settlement.lines[0])),
        *settlement.lines[1:],
    )
    with pytest.raises(SettlementBroken, match=message):
        check_settlement(inputs, msgspec.structs.replace(settlement, lines=lines))


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize(
    "change",
    [
        {"energy_wh": 99},
        {"amount_u": 99},
        {"amount_u": -1},
        {"debit": CORA, "credit": CORA},
        {"debit": b"stranger" * 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_check_finds_a_wrong_posting(number: int, change: dict[str, object]) -> None:
    tariff = msgspec.structs.replace(
        TARIFF,
        fee_u_kwh=10_000,
        fee_split=((fund_account("coop"), 400_000), (fund_account("network"), 600_000)),
    )
    inputs = period(Metered(ANNA, 1200, 0), Metered(BELA, 0, 900), trades=(trade(ANNA, BELA, 500),), tariff=tariff)
    settlement = settle(inputs)
    kept = list(settlement.postings)
    # trade, shared twice, grid, the fee for two funds; beyond the last one: a posting is lost.
    assert len(kept) == 6
    if number < len(kept):
        kept[number] = msgspec.structs.replace(kept[number], **change)
    else:
        kept.pop()
    with pytest.raises(SettlementBroken):
        check_settlement(inputs, msgspec.structs.replace(settlement, postings=tuple(kept)))


LEVIED = msgspec.structs.replace(
    TARIFF,
    levies=LEVIES,
    solidarity=Solidarity(50_000, ((CORA, 1), (ACCOUNTS[3], 2))),
    grid_fees=GridFees((50_000, 20_000)),
    locations=((ANNA, ("north",)), (BELA, ("north",))),
)
LEVIED_PERIOD = msgspec.structs.replace(
    period(
        *(Metered(ANNA, 1200, 0), Metered(BELA, 0, 900), Metered(CORA, 300, 0)),
        trades=(trade(ANNA, BELA, 500),),
        tariff=LEVIED,
    ),
    priced=(trade(CORA, BELA, 100),),
)


def test_levies_grid_fees_and_solidarity_to_the_micro_unit() -> None:
    """Anna takes 733 Wh from bela beside her, cora 167 from across the grid; of what that brings bela gives 5 %."""
    settlement = settle(LEVIED_PERIOD)
    found: dict[Reason, list[tuple[int, int]]] = {}
    for posting in settlement.postings:
        found.setdefault(posting.reason, []).append((posting.energy_wh, posting.amount_u))
    assert found[Reason.PRICED] == [(100, 15_000)]
    assert found[Reason.GRID_FEE] == [(733, 14_660), (167, 8_350)]
    # All of it used; from neighbours, but for bela, whose levy it is; and from the grid.
    assert found[Reason.LEVY] == [
        *((1_200, 12_000), (300, 3_000)),
        *((733, 9_048), (167, 2_061)),
        *((467, 15_566), (133, 4_433)),
    ]
    income_u = 500 * 150 + 100 * 150 + 300 * 200
    given_u = income_u * 50_000 // 1_000_000
    assert found[Reason.SOLIDARITY] == [(0, given_u), (0, given_u // 3), (0, given_u - given_u // 3)]


@pytest.mark.parametrize("number", range(len(settle(LEVIED_PERIOD).postings)))
@pytest.mark.parametrize("change", [{"amount_u": 1}, {"credit": b"stranger" * 2}, None], ids=["amount", "to", "lost"])
def test_the_check_finds_a_wrong_levy(number: int, change: dict[str, object] | None) -> None:
    settlement = settle(LEVIED_PERIOD)
    kept = list(settlement.postings)
    kept[number : number + 1] = [] if change is None else [msgspec.structs.replace(kept[number], **change)]
    with pytest.raises(SettlementBroken):
        check_settlement(LEVIED_PERIOD, msgspec.structs.replace(settlement, postings=tuple(kept)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (period(Metered(ANNA, 1, 0), Metered(ANNA, 1, 0)), "is metered twice; add up its meters first"),
        (period(Metered(GRID_ACCOUNT, 1, 0)), "is reserved, not a member"),
        (period(Metered(ANNA, 1, 0), trades=(trade(ANNA, BELA),)), "traded but is not metered; estimate it"),
        (period(Metered(ANNA, 1, 0), trades=(trade(ANNA, ANNA),)), "trades with itself"),
        (
            period(Metered(ANNA, 1, 0), Metered(BELA, 0, 1), trades=(trade(ANNA, BELA, 0),)),
            "a trade of 0 Wh, expected 1 or more",
        ),
        (
            period(*(Metered(number.to_bytes(16, "big"), 0, 0) for number in range(1, 4098))),
            "4097 members, the limit is 4096",
        ),
    ],
)
def test_inputs_that_cannot_be_settled_are_refused(inputs: PeriodInputs, message: str) -> None:
    with pytest.raises(SettlementError, match=message):
        settle(inputs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sharing": "by height"}, "sharing is 'by height', expected None or one of mid-market-rate, pro-rata, static"),
        ({"sharing": "fr-full-dynamic"}, "sharing is 'fr-full-dynamic', expected None or one of mid-market-rate"),
        ({"sharing": "static", "weights": ((ANNA, 999_999),)}, "add up to 999999 ppm, expected 1000000"),
        ({"sharing": "static", "weights": ((ANNA, 500_000), (ANNA, 500_000))}, "given twice"),
        ({"sharing": "priority", "weights": ((ANNA, -1),)}, "is -1: expected a weight of 0 or more"),
        ({"sharing": "pro-rata", "weights": ((ANNA, 1_000_000),)}, "this way of sharing takes none"),
        ({"shared_price_u_kwh": 10**9 + 1}, "shared_price_u_kwh is 1000000001, expected"),
        ({"fee_u_kwh": -1}, "fee_u_kwh is -1, expected 0 to"),
        ({"fee_u_kwh": 1}, "the shares of the fee add up to 0 ppm, expected 1000000"),
        ({"fee_u_kwh": 1, "fee_split": ((ANNA, 999_999),)}, "add up to 999999 ppm, expected 1000000"),
        ({"fee_split": ((ANNA, 500_000), (ANNA, 500_000))}, "given twice"),
        ({"fee_split": ((ANNA, -1), (BELA, 1_000_001))}, "expected a weight of 0 or more"),
        ({"grid_price_u_kwh": 10**9 + 1}, "grid_price_u_kwh is 1000000001, expected"),
        ({"feed_in_price_u_kwh": -(10**9) - 1}, "feed_in_price_u_kwh is -1000000001, expected"),
    ],
)
def test_a_tariff_that_does_not_add_up_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises((SettlementError, AmountError), match=message):
        Tariff(**{"grid_price_u_kwh": 1, "feed_in_price_u_kwh": 1, **fields})


@pytest.mark.parametrize("name", ["import_wh", "export_wh", "produced_wh"])
@pytest.mark.parametrize("found", [-1, 10**9 + 1])
def test_a_meter_out_of_bounds_is_refused(name: str, found: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {found}, expected 0 to 1000000000"):
        Metered(**{"account": ANNA, "import_wh": 0, "export_wh": 0, name: found})


def test_an_empty_period_is_complete_and_final() -> None:
    settlement = settle(period())
    assert (settlement.lines, settlement.postings) == ((), ())
    assert (settlement.completeness_ppm, settlement.provisional) == (PPM, False)


def test_a_better_quality_is_the_higher_one() -> None:
    assert Quality.MEASURED > Quality.CORRECTED > Quality.ESTIMATED


@EXAMPLES
@given(
    st.lists(st.tuples(st.integers(0, 40), meters(ANNA)), unique_by=lambda entry: entry[0]),
    st.randoms(use_true_random=False),
)
def test_an_estimate_lies_within_what_was_real(history, random) -> None:
    found = estimate(ANNA, 30, history, periods_per_day=3, days=4)
    shuffled = list(history)
    random.shuffle(shuffled)
    assert estimate(ANNA, 30, shuffled, periods_per_day=3, days=4) == found
    real = [
        metered
        for past, metered in sorted(history, reverse=True, key=lambda entry: entry[0])
        if past < 30 and past % 3 == 0 and metered.quality is not Quality.ESTIMATED
    ][:4]
    assert found.quality is Quality.ESTIMATED
    assert completeness_ppm([found]) == 0
    if real:
        assert min(m.import_wh for m in real) <= found.import_wh <= max(m.import_wh for m in real)
        assert min(m.export_wh for m in real) <= found.export_wh <= max(m.export_wh for m in real)
    else:
        assert (found.import_wh, found.export_wh, found.produced_wh) == (0, 0, None)


def test_an_estimate_needs_sane_arguments() -> None:
    with pytest.raises(ValueError, match="0 periods per day and 8 days"):
        estimate(ANNA, 30, [], periods_per_day=0)
    with pytest.raises(ValueError, match="96 periods per day and 0 days"):
        estimate(ANNA, 30, [], periods_per_day=96, days=0)
    twice = [(27, Metered(ANNA, 1, 0)), (27, Metered(ANNA, 2, 0))]
    with pytest.raises(ValueError, match="period 27 twice in the history"):
        estimate(ANNA, 30, twice, periods_per_day=3)


def test_fund_ids_differ_by_name() -> None:
    assert len(fund_account("community fund")) == 16
    assert fund_account("community fund") == fund_account("community fund")
    assert fund_account("community fund") != fund_account("Community fund")


@pytest.mark.parametrize(
    "change",
    [
        {"amount_u": 55_999},
        {"energy_wh": 699},
        {"price_u_kwh": 79_999},
        {"debit": ACCOUNTS[1]},
        {"reason": Reason.SHARED},
        None,
    ],
)
def test_the_check_finds_surplus_that_is_passed_on_wrongly(change: dict[str, object] | None) -> None:
    """2000 Wh by .5/.3/.2 for 600/900/100: the roof passes on what 700 Wh are worth."""
    anna, bela, carla, roof = ACCOUNTS[:4]
    tariff = Tariff(
        grid_price_u_kwh=300_000,
        feed_in_price_u_kwh=80_000,
        sharing="es-static",
        weights=((anna, 500_000), (bela, 300_000), (carla, 200_000)),
    )
    used = ((anna, 600, 0), (bela, 900, 0), (carla, 100, 0), (roof, 0, 2_000))
    inputs = PeriodInputs(7, ASSET, tuple(Metered(*one) for one in used), (), tariff)
    right = settle(inputs)
    check_settlement(inputs, right)
    number = next(n for n, one in enumerate(right.postings) if one.reason is Reason.SURPLUS)
    wrong = list(right.postings)
    wrong[number : number + 1] = [] if change is None else [msgspec.structs.replace(wrong[number], **change)]
    with pytest.raises(SettlementBroken):
        check_settlement(inputs, msgspec.structs.replace(right, postings=tuple(wrong)))
