"""Parameters: prices, levies, grid fees and caps that are set ahead, never backwards, as stories that add up."""

from __future__ import annotations

import msgspec

from meshnode.execution.auctions import AuctionClosed
from meshnode.execution.floor import OrderGone
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Leaving
from meshnode.settlement import GRID_ACCOUNT, Posting, Reason, fund_account, parameters
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from protocols.records import LEVY_CONSUMED, LEVY_GRID, LEVY_NEIGHBOURS, CapSet, GridFeesSet, LocationSet, SolidaritySet
from tests.ledger import credit as say
from tests.ledger import order_stories
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.credit import settling
from tests.ledger.tokens import has

ACCEPTED = Verdict.ACCEPTED
HOMES = ("anna", "bela", "carla", "dora")
GRID_U, FEED_IN_U = 300_000, 80_000


class Village:
    """A chain whose meters report what the story says, one quarter of an hour after the other."""

    def __init__(self, homes: tuple[str, ...] = HOMES) -> None:
        self.chain = Chain(len(homes))
        self.homes = homes
        self.registers = dict.fromkeys(homes, (0, 0))
        self.chain.block(*(self.chain.reading(home, -1, 0) for home in homes))
        self.period = 0

    def quarter(self, silent: str | None = None, **energies: tuple[int, int]) -> PeriodClosed:
        """(imported, exported) Wh of who is named, 0 of the others; gives how the period was settled."""
        chain, period = self.chain, self.period
        for home, (drawn, given) in energies.items():
            before = self.registers[home]
            self.registers[home] = before[0] + drawn, before[1] + given
        readings = [chain.reading(home, period, *self.registers[home]) for home in self.homes if home != silent]
        end_s = period_s(period + 1)
        chain.block(*readings, time_s=max(end_s, chain.now_s) + 1)
        if silent is not None:
            chain.block(time_s=end_s + 130)
        self.period += 1
        (closed,) = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodClosed)]
        return closed


def lines(postings: tuple[Posting, ...], *reasons: Reason) -> list[tuple[str, str, int, int, int]]:
    """(who pays, whom, Wh, u/kWh, u) of the postings for these reasons."""
    names = {account(home): home for home in HOMES} | {GRID_ACCOUNT: "grid"}
    return [
        (
            names.get(one.debit, "pool"),
            names.get(one.credit, "pool" if one.credit.startswith(b"pool") else "fund"),
            one.energy_wh,
            one.price_u_kwh,
            one.amount_u,
        )
        for one in postings
        if one.reason in reasons
    ]


def money(closed: PeriodClosed, home: str) -> int:
    """What a home received less what it paid."""
    return next(line.in_u - line.out_u for line in closed.settlement.lines if line.account == account(home))


# --- prices


def test_a_price_takes_effect_in_the_next_period() -> None:
    """Anna sells at 0.15, bela buys at 0.20: they say so in period 0, and trade at 0.15 from period 1 on.

    Nobody orders anything: in period 0 bela's 400 Wh are shared at the mid-market rate of 0.19, with a fee of 0.01.
    Then anna's own price holds, as of her 500 Wh some are left over.
    """
    village = Village()
    chain = village.chain
    said = chain.say(say.price(chain, "anna", sell=150_000), say.price(chain, "bela", buy=200_000))
    assert said == [ACCEPTED, ACCEPTED]
    before = village.quarter(anna=(0, 500), bela=(400, 0))
    assert lines(before.settlement.postings, Reason.PRICED) == []
    assert (money(before, "anna"), money(before, "bela")) == (400 * 190 + 100 * 80, -400 * (190 + 10))
    after = village.quarter(anna=(0, 500), bela=(400, 0))
    assert lines(after.settlement.postings, Reason.PRICED) == [("bela", "anna", 400, 150_000, 60_000)]
    assert (money(after, "anna"), money(after, "bela")) == (400 * 150 + 100 * 80, -400 * (150 + 10))
    assert lines(after.settlement.postings, Reason.FEED_IN) == [("grid", "anna", 100, FEED_IN_U, 8_000)]
    (bela,) = [line for line in after.settlement.lines if line.account == account("bela")]
    assert (bela.neighbours_wh, bela.grid_wh) == (400, 0)


def test_a_price_is_never_set_backwards() -> None:
    """Neither for a period that is over, nor for the one that runs; nor off the grid of periods, nor a year ahead."""
    chain = Chain()
    chain.block(time_s=period_s(2) + 60)
    assert chain.say(say.price(chain, "anna", sell=100_000, from_s=period_s(1))) == Verdict.BACKWARDS
    assert chain.say(say.price(chain, "anna", sell=100_000, from_s=period_s(2))) == Verdict.BACKWARDS
    assert chain.say(say.price(chain, "anna", sell=100_000, from_s=period_s(3) + 1)) == Verdict.PERIOD_OFF_GRID
    assert chain.say(say.price(chain, "anna", sell=100_000, from_s=period_s(40_000))) == Verdict.PERIOD_TOO_FAR
    assert len(chain.machine.state.prices) == 0
    assert chain.say(say.price(chain, "anna", sell=100_000, from_s=period_s(3))) == ACCEPTED
    assert chain.say(say.price(chain, "anna", sell=120_000)) == ACCEPTED, "until then it may be said otherwise"
    assert [
        (from_s, row.sell_u_kwh) for from_s, row in parameters.changes_of(chain.machine.state, account("anna"))
    ] == [(period_s(3), 120_000)]


def test_a_record_at_the_very_second_a_period_begins_is_for_the_one_after_it() -> None:
    chain = Chain()
    chain.block(say.price(chain, "anna", sell=100_000), time_s=period_s(3))
    assert [from_s for from_s, _ in parameters.changes_of(chain.machine.state, account("anna"))] == [period_s(4)]


def test_what_was_ordered_comes_first_and_nobody_is_left_short_by_a_price() -> None:
    """Anna has sold 300 of her 500 Wh to carla; bela gets the rest, at the 0.20 at which it would have taken more."""
    village = Village()
    chain = village.chain
    chain.block(say.price(chain, "anna", sell=100_000), say.price(chain, "bela", buy=200_000))
    village.quarter()
    chain.block(chain.offer("anna", 1, 300, 120_000), chain.bid("carla", 1, 300, 180_000))
    closed = village.quarter(anna=(0, 500), bela=(900, 0), carla=(300, 0))
    assert lines(closed.settlement.postings, Reason.TRADE) == [("carla", "anna", 300, 150_000, 45_000)]
    assert lines(closed.settlement.postings, Reason.PRICED) == [("bela", "anna", 200, 200_000, 40_000)]
    assert lines(closed.settlement.postings, Reason.SELLER_SHORT, Reason.BUYER_SHORT) == []


def test_prices_that_do_not_meet_trade_nothing_and_a_price_may_be_taken_back() -> None:
    village = Village()
    chain = village.chain
    chain.block(say.price(chain, "anna", sell=210_000), say.price(chain, "bela", buy=200_000))
    village.quarter()
    assert lines(village.quarter(anna=(0, 500), bela=(400, 0)).settlement.postings, Reason.PRICED) == []
    chain.block(say.price(chain, "anna", sell=190_000))
    assert lines(village.quarter(anna=(0, 500), bela=(400, 0)).settlement.postings, Reason.PRICED) == []
    assert lines(village.quarter(anna=(0, 500), bela=(400, 0)).settlement.postings, Reason.PRICED) == [
        ("bela", "anna", 400, 190_000, 76_000)
    ]
    chain.block(say.price(chain, "anna"))
    village.quarter()
    assert lines(village.quarter(anna=(0, 500), bela=(400, 0)).settlement.postings, Reason.PRICED) == []


def test_after_a_correction_everything_is_as_if_the_reading_had_been_right_from_the_start() -> None:
    """I9, with prices, levies, grid fees and a solidarity share: bela's meter reports a day late."""

    def play(silent: str | None) -> dict[bytes, int]:
        village = Village()
        chain = village.chain
        chain.block(
            say.price(chain, "anna", sell=100_000),
            say.price(chain, "bela", buy=200_000),
            say.levy(chain, "street light", LEVY_CONSUMED, 10_000),
            say.parameter(chain, SolidaritySet(share_ppm=50_000, helped=((account("dora"), 1),))),
            say.parameter(chain, GridFeesSet(fees_u_kwh=(40_000, 10_000))),
        )
        assert set(chain.verdicts()) == {ACCEPTED}
        village.quarter()
        village.quarter(silent=silent, anna=(0, 500), bela=(400, 0), carla=(100, 0))
        # What is set later never changes what was.
        chain.block(say.price(chain, "anna", sell=190_000), say.levy(chain, "street light", LEVY_CONSUMED, 90_000))
        if silent is not None:
            chain.block(chain.reading("bela", 1, *village.registers["bela"]))
            assert any(isinstance(event, PeriodCorrected) for event in chain.events[chain.machine.height])
        return chain.claims()

    assert play(None) == play("bela")


def test_the_prices_of_the_grid_are_set_by_an_administrator_for_the_next_period() -> None:
    village = Village()
    chain = village.chain
    assert chain.say(say.outside(chain, grid=400_000, by="bela")) == Verdict.NOT_ADMINISTRATOR
    assert chain.say(say.outside(chain, grid=400_000, from_s=period_s(0))) == Verdict.BACKWARDS
    assert chain.say(say.outside(chain, grid=400_000)) == ACCEPTED
    assert money(village.quarter(bela=(1_000, 0)), "bela") == -GRID_U
    assert money(village.quarter(bela=(1_000, 0)), "bela") == -400_000
    shared = village.quarter(bela=(1_000, 0), anna=(0, 1_000))
    assert money(shared, "bela") == -(240_000 + 10_000), "the mid-market rate and its fee follow"
    chain.block(say.outside(chain))
    village.quarter()
    assert money(village.quarter(bela=(1_000, 0)), "bela") == -GRID_U, "what the binding says holds again"


# --- levies and solidarity


def test_levies_are_paid_on_what_they_are_on() -> None:
    """Bela uses 1000 Wh, 400 of them from anna: 10 a kWh on all of it, 20 on anna's 400, 30 on the grid's 600."""
    village = Village()
    chain = village.chain
    levies = (("all", LEVY_CONSUMED, 10_000), ("neighbours", LEVY_NEIGHBOURS, 20_000), ("grid", LEVY_GRID, 30_000))
    said = chain.say(*(say.levy(chain, *one) for one in levies))
    assert said == [ACCEPTED] * 3
    village.quarter()
    chain.block(chain.offer("anna", 1, 400, 150_000), chain.bid("bela", 1, 400, 150_000))
    closed = village.quarter(anna=(0, 400), bela=(1_000, 0))
    assert lines(closed.settlement.postings, Reason.LEVY) == [
        ("bela", "fund", 1_000, 10_000, 10_000),
        ("bela", "fund", 600, 30_000, 18_000),
        ("bela", "fund", 400, 20_000, 8_000),
    ]
    claims = chain.claims()
    assert [claims[fund_account(name)] for name, _, _ in levies] == [10_000, 8_000, 18_000]
    chain.block(say.levy(chain, "all", LEVY_CONSUMED, 0))
    village.quarter()
    village.quarter(bela=(1_000, 0))
    assert chain.claims()[fund_account("all")] == 10_000, "a levy of nothing has ended"


def test_a_part_of_what_is_earned_goes_to_those_whom_the_community_helps() -> None:
    """Anna earns 60 from bela and 8 from the grid; 5 % of 68 are 3.4, of which dora gets two parts and carla one."""
    village = Village()
    chain = village.chain
    helped = tuple(sorted(((account("carla"), 1), (account("dora"), 2))))
    assert chain.say(say.parameter(chain, SolidaritySet(share_ppm=50_000, helped=helped))) == ACCEPTED
    village.quarter()
    chain.block(chain.offer("anna", 1, 400, 150_000), chain.bid("bela", 1, 400, 150_000))
    closed = village.quarter(anna=(0, 500), bela=(400, 0))
    assert money(closed, "anna") == 60_000 + 8_000 - 3_400
    given = lines(closed.settlement.postings, Reason.SOLIDARITY)
    assert given[0] == ("anna", "pool", 0, 0, 3_400)
    assert {one[1]: one[4] for one in given[1:]} == {"dora": 2_267, "carla": 1_133}


# --- grid fees


def test_neighbours_pay_the_grid_by_the_level_that_lies_between_them() -> None:
    """Below one feeder 0.005, in one substation 0.02, across them 0.05 for a kWh; the buyer pays, beside the price."""
    village = Village()
    chain = village.chain
    places = {"anna": ("north", "f1"), "bela": ("north", "f1"), "carla": ("north", "f2"), "dora": ("south", "f1")}
    said = chain.say(
        say.parameter(chain, GridFeesSet(fees_u_kwh=(50_000, 20_000, 5_000))),
        *(say.parameter(chain, LocationSet(account=account(home), levels=at)) for home, at in places.items()),
    )
    assert said == [ACCEPTED] * 5
    village.quarter()
    chain.block(chain.offer("anna", 1, 900, 150_000), *(chain.bid(home, 1, 300, 150_000) for home in HOMES[1:]))
    closed = village.quarter(anna=(0, 900), bela=(300, 0), carla=(300, 0), dora=(300, 0))
    assert sorted(lines(closed.settlement.postings, Reason.GRID_FEE)) == [
        ("bela", "grid", 300, 5_000, 1_500),
        ("carla", "grid", 300, 20_000, 6_000),
        ("dora", "grid", 300, 50_000, 15_000),
    ]
    assert money(closed, "anna") == 900 * 150


def test_a_location_is_known_from_the_period_on_in_which_it_is_set() -> None:
    village = Village(HOMES[:3])
    chain = village.chain
    chain.block(say.parameter(chain, GridFeesSet(fees_u_kwh=(50_000, 20_000))))
    village.quarter()
    chain.block(
        *(say.parameter(chain, LocationSet(account=account(home), levels=("north",))) for home in ("anna", "bela")),
        *(
            one
            for period in (1, 2)
            for one in (chain.offer("anna", period, 300, 150_000), chain.bid("bela", period, 300, 150_000))
        ),
    )
    assert set(chain.verdicts()) == {ACCEPTED}
    fees = [
        lines(village.quarter(anna=(0, 300), bela=(300, 0)).settlement.postings, Reason.GRID_FEE)[0][3] for _ in (1, 2)
    ]
    assert fees == [50_000, 20_000]


# --- price caps


def test_when_a_cap_comes_into_force_orders_outside_leave_with_what_they_held() -> None:
    """Bela bids 200 a unit: allowed until the cap of 150 holds, and then its 1000 are free again."""
    chain = settling()
    chain.block(chain.issue("anna", "ENERGY", 100, 10**9, asset_kind=1))
    dear, fair = order_stories.buy(chain, "bela", 5, 200), order_stories.buy(chain, "carla", 2, 150)
    assert chain.say(dear, fair) == [ACCEPTED] * 2
    assert chain.say(say.parameter(chain, CapSet(cap_u_kwh=150_000))) == ACCEPTED
    assert has(chain, "bela", "EURO") == (0, 1_000), "not yet"
    chain.block(time_s=period_s(1))
    gone = [event for event in chain.events[chain.machine.height] if isinstance(event, OrderGone)]
    assert [(one.order_id, one.why, one.open_wh) for one in gone] == [(dear.record_id, Leaving.OUT_OF_BAND, 5)]
    assert (has(chain, "bela", "EURO"), has(chain, "carla", "EURO")) == ((1_000, 0), (700, 300))
    assert chain.say(order_stories.buy(chain, "bela", 1, 151)) == Verdict.PRICE_ABOVE_CAP
    assert chain.say(order_stories.amend(chain, "carla", fair, 2, 151)) == Verdict.PRICE_ABOVE_CAP


def test_when_a_cap_comes_into_force_auctions_go_on_without_what_is_outside() -> None:
    """Bela's 200 a unit for anna's lot leave with what they held; carla gets it for the 150 that are allowed.

    A lot that nobody may buy any more, and a call that says more than may be paid, end and give everything back.
    """
    chain = settling()
    chain.block(chain.issue("anna", "ENERGY", 100, 10**9, asset_kind=1))
    late_s = period_s(2)
    lot, dear_lot = (order_stories.rising(chain, "anna", 5, least, 1, closes_s=late_s) for least in (100, 160))
    call, dear_call = (order_stories.falling(chain, "dora", 2, most, closes_s=late_s) for most in (150, 151))
    chain.block(lot, dear_lot, call, dear_call)
    dear, cheap = order_stories.bid(chain, "bela", lot, 5, 200), order_stories.bid(chain, "anna", dear_call, 2, 90)
    chain.block(dear, cheap, order_stories.bid(chain, "anna", call, 2, 120))
    chain.block(say.parameter(chain, CapSet(floor_u_kwh=100_000, cap_u_kwh=150_000)))
    assert (has(chain, "anna", "ENERGY"), has(chain, "bela", "EURO")) == ((86, 14), (0, 1_000)), "not yet"
    chain.block(time_s=period_s(1))
    done = chain.events[chain.machine.height]
    gone = {event.order_id: (event.why, event.open_wh) for event in done if isinstance(event, OrderGone)}
    assert gone == {dear.record_id: (Leaving.OUT_OF_BAND, 5), cheap.record_id: (Leaving.OUT_OF_BAND, 2)}
    ended = {event.auction_id: event.trades for event in done if isinstance(event, AuctionClosed)}
    assert ended == {dear_lot.record_id: 0, dear_call.record_id: 0}
    assert [has(chain, home, "EURO") for home in ("bela", "dora")] == [(1_000, 0), (700, 300)]
    assert has(chain, "anna", "ENERGY") == (93, 7), "one lot, and the ask of 120 in the call that goes on"
    assert chain.say(order_stories.bid(chain, "bela", lot, 5, 151)) == Verdict.PRICE_ABOVE_CAP
    assert chain.say(order_stories.bid(chain, "carla", lot, 5, 150)) == ACCEPTED
    chain.block(time_s=late_s)
    assert (has(chain, "carla", "EURO"), has(chain, "carla", "ENERGY")) == ((250, 0), (5, 0))
    assert (has(chain, "dora", "EURO"), has(chain, "dora", "ENERGY")) == ((760, 0), (2, 0))
    assert has(chain, "anna", "EURO") == (990, 0)


def test_orders_of_periods_beyond_a_cap_leave_at_once_and_those_before_it_stay() -> None:
    chain = Chain()
    before, after, fair = (
        chain.bid("bela", 1, 100, 200_000),
        chain.bid("bela", 3, 100, 200_000),
        chain.bid("bela", 3, 9, 150_000),
    )
    chain.block(before, after, fair)
    chain.block(say.parameter(chain, CapSet(cap_u_kwh=150_000, from_s=period_s(2))))
    gone = [event for event in chain.events[chain.machine.height] if isinstance(event, OrderGone)]
    assert [one.order_id for one in gone] == [after.record_id]
    assert {row.record_id for _, row in chain.machine.state.orders.items()} == {before.record_id, fair.record_id}
    assert chain.say(chain.bid("bela", 2, 100, 150_001), chain.bid("bela", 1, 100, 200_000)) == [
        Verdict.PRICE_ABOVE_CAP,
        ACCEPTED,
    ]


def test_the_narrower_of_binding_and_law_holds_and_set_prices_obey_it() -> None:
    """The binding allows 0.08 to 0.29; the law at most 0.15 from period 2 on: bela's 0.20 buys nothing any more."""
    village = Village()
    chain = village.chain
    assert chain.say(say.price(chain, "bela", buy=290_001)) == Verdict.PRICE_ABOVE_CAP
    assert chain.say(say.price(chain, "bela", sell=79_999)) == Verdict.PRICE_BELOW_FLOOR
    chain.block(say.price(chain, "anna", sell=100_000), say.price(chain, "bela", buy=200_000))
    chain.block(say.parameter(chain, CapSet(cap_u_kwh=150_000, from_s=period_s(2))))
    village.quarter()
    assert lines(village.quarter(anna=(0, 100), bela=(100, 0)).settlement.postings, Reason.PRICED)
    assert not lines(village.quarter(anna=(0, 100), bela=(100, 0)).settlement.postings, Reason.PRICED)
    chain.block(say.parameter(chain, CapSet(cap_u_kwh=10**9)))
    village.quarter()
    assert chain.say(chain.bid("bela", 6, 1, 290_001)) == Verdict.PRICE_ABOVE_CAP, "the binding's own cap holds"


# --- all of them


def test_only_what_may_still_matter_is_kept() -> None:
    """Of what was replaced and is final nothing is left; what holds now, and what is to come, stays."""
    chain = Chain()
    for price_u_kwh in (100_000, 110_000, 120_000):
        chain.block(say.price(chain, "anna", sell=price_u_kwh), say.levy(chain, "all", LEVY_CONSUMED, price_u_kwh))
        chain.block(time_s=chain.now_s + 900)
    assert (len(chain.machine.state.prices), len(chain.machine.state.parameters)) == (3, 3)
    late_s = chain.now_s + chain.machine.rules().period.correction_s + 3_600
    while chain.machine.state.meta.row.next_final_s < period_s(4):
        chain.block(time_s=max(late_s, chain.now_s + 900))
    assert [row.sell_u_kwh for _, row in chain.machine.state.prices.items()] == [120_000]
    assert [row.values for _, row in chain.machine.state.parameters.items()] == [(LEVY_CONSUMED, 120_000)]


def test_a_snapshot_carries_parameters() -> None:
    chain = Chain()
    chain.block(
        say.price(chain, "anna", sell=100_000),
        say.outside(chain, grid=1, feed_in=-1),
        say.levy(chain, "all", LEVY_GRID, 5),
        say.parameter(chain, SolidaritySet(share_ppm=5, helped=((account("anna"), 1),))),
        say.parameter(chain, GridFeesSet(fees_u_kwh=(2, 1))),
        say.parameter(chain, LocationSet(account=account("anna"), levels=("north", "f1"))),
        say.parameter(chain, CapSet(floor_u_kwh=1, cap_u_kwh=2)),
    )
    assert set(chain.verdicts()) == {ACCEPTED}
    state = chain.machine.state
    again = State.restore(state.dump())
    assert again.state_hash() == state.state_hash()
    rules = chain.machine.rules().period.tariff
    assert parameters.tariff(again, period_s(9), rules) == parameters.tariff(state, period_s(9), rules) != rules
    assert parameters.caps(again, period_s(9)) == (1, 2)
    assert msgspec.structs.asdict(parameters.tariff(state, period_s(0), rules)) == msgspec.structs.asdict(rules)
