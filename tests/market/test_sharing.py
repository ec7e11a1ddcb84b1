"""Sharing: every mode shares out exactly what there is, and never more than is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meshnode.amounts import PPM, AmountError, split
from meshnode.local_time import date_of, local_day, spelled
from meshnode.market.mid_market import share
from meshnode.settlement import (
    MODES,
    Metered,
    Mode,
    PeriodInputs,
    Reason,
    SettlementBroken,
    SettlementError,
    SharingError,
    Tariff,
    Weighing,
    check_settlement,
    settle,
)
from meshnode.settlement.compensation import Hour, Point, compensate, divide_incentive, shared_hours
from meshnode.settlement.credit import Standing, charge, close, exposure_u, receive, solidarity
from meshnode.settlement.sharing import Allocation, Key, Rule, allocate, allocate_by_source, fill
from meshnode.settlement.storage import StorageFee, charge_storage, most_stored_wh
from tests.market.strategies import ACCOUNTS, ASSET, EXAMPLES, energies, meters

ANNA, BELA, CORA = ACCOUNTS[:3]
ROOF = b"roof".ljust(16, b"\0")
# Several names mean one rule; the first of them stands for all.
ONE_POT = list({mode.rule: mode for mode in reversed(MODES.values()) if not mode.rule.by_source}.values())
by_name = pytest.mark.parametrize("mode", ONE_POT, ids=lambda mode: mode.name)
# Where the last round goes by use or by rank, nothing is left over while anybody needs it.
THOROUGH = [mode for mode in ONE_POT if mode.rule.rounds[-1] in (Key.PRO_RATA, Key.PRIORITY)]

members_wh = st.dictionaries(st.sampled_from(ACCOUNTS), energies, max_size=5)
sources_wh = st.dictionaries(st.sampled_from([*ACCOUNTS[:2], ROOF]), energies, max_size=3)


def weights_of(mode: Mode, draw, accounts) -> dict[bytes, int]:
    """Weights that fit the mode, for these accounts and somebody who is not among them."""
    if mode.rule.weighing is Weighing.SHARES:
        raw = [(one, draw(st.integers(0, 3))) for one in (*sorted(accounts), b"absent".ljust(16, b"\0"))]
        return split(PPM, raw) if any(weight for _, weight in raw) else {ROOF: PPM}
    if mode.rule.weighing is Weighing.RANKS:
        return {one: draw(st.integers(0, 2)) for one in accounts}
    return {}


def checked(found: Allocation, consumed, generated) -> Allocation:
    """The invariants of an allocation, from its definition alone."""
    shared_wh = sum(found.taken_wh.values())
    assert list(found.taken_wh) == sorted(consumed) and list(found.given_wh) == sorted(generated)
    assert all(0 <= wh <= consumed[one] for one, wh in found.taken_wh.items())
    assert all(0 <= wh <= generated[one] for one, wh in found.given_wh.items())
    assert sum(found.given_wh.values()) == shared_wh
    assert all(wh >= 0 for wh in found.surplus_wh.values())
    assert shared_wh + sum(found.surplus_wh.values()) == sum(generated.values())
    for one, wh in found.taken_wh.items():
        assert wh + found.given_wh.get(one, 0) <= shared_wh
    return found


@by_name
@EXAMPLES
@given(st.data(), members_wh, sources_wh)
def test_all_that_is_generated_is_shared_or_surplus(mode: Mode, data, consumed, generated) -> None:
    weights = weights_of(mode, data.draw, consumed)
    checked(allocate(mode.rule, consumed, generated, weights), consumed, generated)


@by_name
@EXAMPLES
@given(st.data(), members_wh, sources_wh, st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(mode: Mode, data, consumed, generated, random) -> None:
    weights = weights_of(mode, data.draw, consumed)
    found = allocate(mode.rule, consumed, generated, weights)

    def shuffled(energy):
        entries = list(energy.items())
        random.shuffle(entries)
        return dict(entries)

    again = allocate(mode.rule, shuffled(consumed), shuffled(generated), shuffled(weights))
    assert again == found
    assert [list(part) for part in (again.taken_wh, again.given_wh)] == [sorted(consumed), sorted(generated)]


@by_name
@EXAMPLES
@given(st.data(), members_wh, st.integers(0, 3_000), st.integers(0, 500))
def test_with_more_sun_nobody_gets_less(mode: Mode, data, consumed, generated_wh, more_wh) -> None:
    """But for the unit that a largest remainder moves: one for each round that divides."""
    weights = weights_of(mode, data.draw, consumed)
    before = allocate(mode.rule, consumed, {ROOF: generated_wh}, weights).taken_wh
    after = allocate(mode.rule, consumed, {ROOF: generated_wh + more_wh}, weights).taken_wh
    moved_wh = 0 if mode.rule.rounds == (Key.PRIORITY,) and len(set(weights.values())) == len(weights) else 1
    if len(mode.rule.rounds) == 1:
        assert all(after[one] >= wh - moved_wh for one, wh in before.items())
    if mode in THOROUGH:
        assert sum(after.values()) >= sum(before.values())


@pytest.mark.parametrize("mode", THOROUGH, ids=lambda mode: mode.name)
@EXAMPLES
@given(st.data(), members_wh, st.integers(0, 9_000))
def test_thorough_modes_share_as_much_as_there_is_to_share(mode: Mode, data, consumed, generated_wh) -> None:
    weights = weights_of(mode, data.draw, consumed)
    found = allocate(mode.rule, consumed, {ROOF: generated_wh}, weights)
    assert sum(found.taken_wh.values()) == min(generated_wh, sum(consumed.values()))


@EXAMPLES
@given(members_wh, sources_wh)
def test_in_proportion_is_the_division_of_the_mid_market_rate(wanted, offered) -> None:
    taken, handed = share({one: wh for one, wh in wanted.items() if wh}, {one: wh for one, wh in offered.items() if wh})
    found = allocate(MODES["mid-market-rate"].rule, wanted, offered)
    for ours, theirs in ((found.taken_wh, taken), (found.given_wh, handed)):
        assert {one: wh for one, wh in ours.items() if wh} == {one: wh for one, wh in theirs.items() if wh}


@EXAMPLES
@given(st.data(), members_wh, sources_wh)
def test_shares_of_each_source_add_up_too(data, consumed, generated) -> None:
    accounts = (*consumed, *generated) or (ROOF,)
    weights = {
        source: weights_of(MODES["static"], data.draw, set(accounts)) for source in sorted({*generated, *ACCOUNTS[:1]})
    }
    checked(allocate_by_source(consumed, generated, weights), consumed, generated)


@EXAMPLES
@given(st.integers(0, 5_000), st.dictionaries(st.sampled_from(ACCOUNTS), st.tuples(st.integers(0, 4), energies)))
def test_water_stands_level(pot_wh, vessels) -> None:
    """Whoever is not full stands, for its weight, as high as anybody: to within the unit of the splitter."""
    weights = {one: weight for one, (weight, _) in vessels.items()}
    limits = {one: limit for one, (_, limit) in vessels.items()}
    parts = fill(pot_wh, weights, limits)
    assert sum(parts.values()) == min(pot_wh, sum(limits[one] for one, weight in weights.items() if weight))
    for one, part_wh in parts.items():
        for other, other_wh in parts.items():
            if part_wh < limits[one]:
                assert (other_wh - 1) * weights[one] <= (part_wh + 1) * weights[other]


@by_name
@EXAMPLES
@given(st.data(), st.integers(-3, 12))
def test_every_mode_settles(mode: Mode, data, tick: int) -> None:
    members = data.draw(st.lists(st.sampled_from(ACCOUNTS), max_size=5, unique=True))
    tariff = Tariff(
        grid_price_u_kwh=320_000,
        feed_in_price_u_kwh=data.draw(st.integers(-50_000, 400_000)),
        sharing=mode.name,
        weights=tuple(weights_of(mode, data.draw, members).items()),
        shared_price_u_kwh=tick * 12_345,
    )
    metered = tuple(data.draw(meters(account)) for account in members)
    inputs = PeriodInputs(7, ASSET, metered, (), tariff)
    settlement = settle(inputs)
    check_settlement(inputs, settlement)
    found = allocate(
        mode.rule,
        {one.account: one.import_wh for one in metered},
        {one.account: one.export_wh for one in metered},
        dict(tariff.weights),
    )
    assert {line.account: line.neighbours_wh for line in settlement.lines} == found.taken_wh
    assert {line.account: line.sold_wh for line in settlement.lines} == found.given_wh


def test_all_mistakes_are_told_at_once() -> None:
    rule = MODES["static"].rule
    with pytest.raises(SharingError) as refused:
        allocate(rule, {ANNA: -1}, {ROOF: 10**9 + 1}, {ANNA: -5, BELA: PPM})
    assert len(refused.value.faults) == 4
    with pytest.raises(SharingError, match="this rule has shares of each source"):
        allocate(MODES["fr-full-dynamic"].rule, {ANNA: 1}, {ROOF: 1}, {ANNA: PPM})
    with pytest.raises(SharingError, match="add up to 0 ppm"):
        allocate_by_source({ANNA: 1}, {ROOF: 1}, {})
    # A source that makes nothing needs no shares.
    assert allocate_by_source({ANNA: 1}, {ROOF: 0}, {}).taken_wh == {ANNA: 0}


def test_the_names_are_unique_and_every_row_tells_its_source() -> None:
    assert len(ONE_POT) == 8
    assert list(MODES) == [mode.name for mode in MODES.values()] and len(MODES) == 29
    assert all(mode.meaning.endswith(".") and mode.source for mode in MODES.values())
    assert {mode.place for mode in MODES.values()} == {
        *("", "Spain", "Italy", "Austria", "Germany", "France", "Belgium", "Luxembourg"),
    }
    # A surplus of one's own and shares by source are defined for one round of fixed shares.
    special = [mode.rule for mode in MODES.values() if mode.rule.own_surplus or mode.rule.by_source]
    assert all(rule.rounds == (Key.STATIC,) and rule.weighing is Weighing.SHARES for rule in special)


def test_a_second_static_round_is_for_those_who_still_need_some() -> None:
    rule = Rule((Key.STATIC, Key.STATIC), Weighing.SHARES)
    weights = {ANNA: 500_000, BELA: 250_000, CORA: 250_000}
    found = allocate(rule, {ANNA: 100, BELA: 900, CORA: 200}, {ROOF: 1000}, weights)
    # First 100, 250, 200; the other 450 are all for Bela.
    assert found.taken_wh == {ANNA: 100, BELA: 700, CORA: 200}


# --- beyond one period ------------------------------------------------------------------------------

hours = st.builds(Hour, energies, energies, st.integers(-50_000, 400_000), st.integers(-50_000, 400_000))


@EXAMPLES
@given(st.lists(hours, max_size=8))
def test_compensation_never_exceeds_what_was_bought(month) -> None:
    found = compensate(month)
    assert found.compensated_u + found.lost_u == found.surplus_u
    assert found.compensated_u <= max(0, found.bought_u) and found.lost_u >= 0
    if found.bought_u >= 0:
        assert found.due_u >= 0


points = st.builds(
    Point,
    st.integers(0, 16).map(lambda q: q * 900),
    st.sampled_from(ACCOUNTS),
    st.sampled_from("AB"),
    energies,
    energies,
)


@EXAMPLES
@given(st.lists(points, max_size=12), st.randoms(use_true_random=False))
def test_what_is_shared_behind_a_substation_was_injected_and_withdrawn(metered, random) -> None:
    found = shared_hours(metered, 110_000)
    assert sum(hour.injected_wh for hour in found) == sum(one.injected_wh for one in metered)
    assert sum(hour.withdrawn_wh for hour in found) == sum(one.withdrawn_wh for one in metered)
    assert all(hour.shared_wh == min(hour.injected_wh, hour.withdrawn_wh) for hour in found)
    assert all(hour.incentive_u == hour.shared_wh * 110 for hour in found)
    random.shuffle(metered)
    assert shared_hours(metered, 110_000) == found


@EXAMPLES
@given(st.integers(0, 10_000), st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 9)))
def test_an_incentive_is_divided_to_the_last_micro_unit(incentive_u, weights) -> None:
    consumers, fund = b"consumers", b"fund"
    found = divide_incentive(incentive_u, {consumers: 900_000, fund: 100_000}, {consumers: weights})
    assert sum(found.values()) == incentive_u
    assert set(found) <= {fund, *weights}


standings = st.builds(Standing, st.integers(0, 900), st.integers(0, 900), st.integers(0, 900), st.integers(0, 900))


@EXAMPLES
@given(standings, st.lists(st.tuples(st.booleans(), st.integers(0, 900)), max_size=8))
def test_a_balance_stays_above_its_limit_and_no_debt_is_forgotten(standing, moves) -> None:
    worth_u = standing.balance_u - standing.arrears_u
    for charges, amount_u in moves:
        after, part_u = (charge if charges else receive)(standing, amount_u)
        worth_u += -amount_u if charges else amount_u
        assert after.balance_u - after.arrears_u == worth_u
        assert after.balance_u >= -after.limit_u and after.arrears_u >= 0 and 0 <= part_u <= amount_u
        assert after.spendable_u == 0 or not after.arrears_u
        standing = after
    end = close(standing)
    assert end.paid_u + end.refund_u == max(0, standing.balance_u) + standing.deposit_u
    assert end.paid_u + end.open_u == standing.arrears_u + max(0, -standing.balance_u)
    assert not (end.refund_u and end.open_u)
    assert exposure_u(standing) >= end.open_u


@EXAMPLES
@given(
    st.dictionaries(st.sampled_from(ACCOUNTS), st.tuples(energies, standings)),
    st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(1, 9), min_size=1),
)
def test_what_storage_brings_in_is_what_owners_and_funds_receive(stored, owners) -> None:
    fee = StorageFee(100_000, ((b"owners", 800_000), (b"network", 200_000)), b"owners")
    found = charge_storage(fee, [(one, wh, standing) for one, (wh, standing) in stored.items()], owners)
    assert sum(found.received_u.values()) == sum(one.paid_u for one in found.charged)
    assert all(one.paid_u + one.arrears_u == one.due_u == one.stored_wh * 100 for one in found.charged)
    assert all(one.after.balance_u == stored[one.account][1].balance_u - one.paid_u for one in found.charged)


def test_the_storage_fee_of_the_binding() -> None:
    """1001 u: 801 to the owners, 100 to each fund; 561, 160 and 80 to the owners."""
    fee = StorageFee(1_000, ((b"owners", 800_000), (b"education", 100_000), (b"network", 100_000)), b"owners")
    found = charge_storage(fee, [(ANNA, 1001_000, Standing(2_000_000))], {b"a": 7000, b"b": 2000, b"c": 1000})
    assert found.charged[0].due_u == found.charged[0].paid_u == 1_001_000
    small = charge_storage(StorageFee(1, fee.split, fee.owners), [(ANNA, 1_001_000, Standing(1001))],
                           {b"a": 7000, b"b": 2000, b"c": 1000})  # fmt: skip
    assert small.received_u == {b"a": 561, b"b": 160, b"c": 80, b"education": 100, b"network": 100}
    with pytest.raises(AmountError, match="charged twice"):
        charge_storage(fee, [(ANNA, 1, Standing(0)), (ANNA, 1, Standing(0))], {})
    with pytest.raises(AmountError, match="shares of 800000 ppm"):
        StorageFee(1, ((b"owners", 800_000),), b"owners")


def test_most_stored_by_hand() -> None:
    """2 x 300 EUR / (1.5 x 200 EUR/kWh) = 2 kWh."""
    assert most_stored_wh(300_000_000, 200_000_000) == 2000
    assert most_stored_wh(300_000_000, 200_000_000, oversize_ppm=PPM) == 3000


@EXAMPLES
@given(st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(-900, 900)), st.integers(0, PPM))
def test_solidarity_gives_what_it_takes(incomes, share_ppm) -> None:
    given_u, received_u = solidarity(incomes, share_ppm, {CORA: 1})
    assert sum(given_u.values()) == sum(received_u.values()) == received_u[CORA]
    assert CORA not in given_u and all(0 <= amount <= incomes[one] for one, amount in given_u.items())


@pytest.mark.parametrize("wrong", [lambda: charge(Standing(0), -1), lambda: receive(Standing(0), -1),
                                   lambda: Standing(0, -1), lambda: solidarity({}, PPM + 1, {})])  # fmt: skip
def test_amounts_below_zero_are_refused(wrong) -> None:
    with pytest.raises(AmountError, match="expected 0"):
        wrong()


@EXAMPLES
@given(st.integers(-(10**11), 10**11))
def test_dates_are_those_of_the_calendar(utc_s: int) -> None:
    import datetime

    day = local_day((), utc_s)
    found = datetime.date(1970, 1, 1) + datetime.timedelta(days=day) if abs(day) < 700_000 else None
    if found is not None:
        assert date_of(day) == (found.year, found.month, found.day)
        moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=utc_s)
        assert spelled(((0, -5400),), utc_s) == (
            moment.astimezone(datetime.timezone(datetime.timedelta(seconds=-5400))).isoformat(" ", "minutes")
        )


# --- the check after every settlement ---------------------------------------------------------------

FREE = Tariff(320_000, 80_000, "pro-rata")
STRICT = Tariff(320_000, 80_000, "static", weights=((ANNA, 100_000), (BELA, 900_000)))
HOMES = (Metered(ANNA, 400, 0), Metered(BELA, 0, 0), Metered(CORA, 0, 300))


@pytest.mark.parametrize(
    ("settled_by", "checked_by", "message"),
    [
        (FREE, STRICT, "300 Wh of a pot of 300 Wh, beyond its share of 100000 ppm"),
        (STRICT, FREE, "draws from the grid while .* feeds in"),
        (FREE, Tariff(320_000, 80_000), "price of shared energy|number of postings for sharing"),
        (FREE, Tariff(320_000, 80_000, "pro-rata", shared_price_u_kwh=1), "price of shared energy is 0, expected 1"),
        (FREE, Tariff(320_000, 80_000, "mid-market-rate"), "price of shared energy is 0, expected 200000"),
    ],
)
def test_the_check_finds_what_another_rule_would_have_shared(settled_by, checked_by, message: str) -> None:
    inputs = PeriodInputs(7, ASSET, HOMES, (), settled_by)
    settlement = settle(inputs)
    check_settlement(inputs, settlement)
    with pytest.raises(SettlementBroken, match=message):
        check_settlement(PeriodInputs(7, ASSET, HOMES, (), checked_by), settlement)


def test_the_check_finds_a_value_that_was_not_the_energys() -> None:
    """Payer and receiver agree on one micro-unit too much: only the price tells."""
    inputs = PeriodInputs(7, ASSET, HOMES, (), Tariff(320_000, 80_000, "mid-market-rate"))
    settlement = settle(inputs)
    postings = tuple(
        replace(one, amount_u=one.amount_u + 1) if one.reason is Reason.SHARED else one for one in settlement.postings
    )
    anna, bela, cora = settlement.lines
    lines = (replace(anna, out_u=anna.out_u + 1), bela, replace(cora, in_u=cora.in_u + 1))
    with pytest.raises(SettlementBroken, match="paid for shared energy is 60001, expected 60000"):
        check_settlement(inputs, replace(settlement, lines=lines, postings=postings))


def test_weights_that_do_not_fit_are_refused_when_the_period_is_settled() -> None:
    tariff = Tariff(320_000, 80_000, "static")
    with pytest.raises(SettlementError, match="period 7, sharing static: the shares add up to 0 ppm"):
        settle(PeriodInputs(7, ASSET, HOMES, (), tariff))
