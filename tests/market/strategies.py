"""Strategies: small communities, order books and periods for the property tests.

Few accounts, few prices and small energies, so that ties, empty sides and members on
both sides come up all the time.
"""

from hypothesis import settings
from hypothesis import strategies as st

from meshnode.amounts import PPM
from meshnode.market import Order, Side, Terms, Trade
from meshnode.market.grid_fees import GridFees
from meshnode.settlement import GRID_ACCOUNT, Metered, PeriodInputs, Quality, Tariff, fund_account
from meshnode.settlement.levies import CONSUMED, GRID, NEIGHBOURS, Levy, Solidarity

# The same examples every time: a failure in CI is a failure at home.
EXAMPLES = settings(derandomize=True, deadline=None, max_examples=300)

# For examples that are long stories themselves.
FEWER = settings(EXAMPLES, max_examples=100)

ACCOUNTS = [bytes([number]) * 16 for number in range(1, 6)]
ASSET = b"euro".ljust(16, b"\0")

# On each of the energies; the fund of one is a member, as may be.
LEVIES = tuple(
    Levy(fund, base, u_kwh)
    for fund, base, u_kwh in (
        (fund_account("light"), CONSUMED, 10_000),
        (ACCOUNTS[1], NEIGHBOURS, 12_345),
        (fund_account("light"), GRID, 33_333),
    )
)
HELPED = ((ACCOUNTS[2], 1), (ACCOUNTS[4], 2))

prices = st.one_of(st.integers(-3, 12).map(lambda tick: tick * 30_000), st.integers(-50_000, 400_000))
energies = st.one_of(st.integers(0, 4).map(lambda step: step * 500), st.integers(0, 3_000))
terms = st.builds(Terms, grid_price_u_kwh=prices, feed_in_price_u_kwh=prices)


@st.composite
def books(draw: st.DrawFn) -> list[Order]:
    """One period's orders, booked one after the other."""
    count = draw(st.integers(0, 12))
    return [
        Order(
            order_id=bytes([position]) * 32,
            account=draw(st.sampled_from(ACCOUNTS)),
            side=draw(st.sampled_from(Side)),
            period=7,
            energy_wh=max(1, draw(energies)),
            price_u_kwh=draw(prices),
            sequence=(1 + position // 3, position % 3),
        )
        for position in range(count)
    ]


@st.composite
def meters(draw: st.DrawFn, account: bytes) -> Metered:
    return Metered(
        account=account,
        import_wh=draw(energies),
        export_wh=draw(energies),
        produced_wh=draw(st.one_of(st.none(), energies)),
        quality=draw(st.sampled_from(Quality)),
    )


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    fee_u_kwh = draw(st.sampled_from([0, 10_000, 12_345]))
    sharing = draw(st.sampled_from([None, "mid-market-rate", "es-static"]))
    # A share of nobody who takes part, and of the grid for those who are not here, are there as well.
    cuts = sorted(draw(st.lists(st.integers(0, PPM), min_size=len(ACCOUNTS), max_size=len(ACCOUNTS))))
    shares = [high - low for low, high in zip([0, *cuts], [*cuts, PPM], strict=True)]
    funds = ((fund_account("coop"), 333_333), (ACCOUNTS[0], 333_333), (fund_account("network"), 333_334))
    return Tariff(
        grid_price_u_kwh=draw(prices),
        feed_in_price_u_kwh=draw(prices),
        sharing=sharing,
        weights=tuple(zip((*ACCOUNTS, GRID_ACCOUNT), shares, strict=True)) if sharing == "es-static" else (),
        fee_u_kwh=fee_u_kwh,
        fee_split=funds if fee_u_kwh else (),
        levies=tuple(draw(st.lists(st.sampled_from(LEVIES), max_size=3))),
        solidarity=draw(st.none() | st.builds(Solidarity, st.sampled_from((0, 50_000, 333_333)), st.just(HELPED))),
        grid_fees=draw(st.none() | st.sampled_from((GridFees((50_000, 20_000, 5_000)), GridFees((33_333, 0))))),
        locations=tuple(
            (account, draw(st.sampled_from(((), ("north",), ("north", "f1"), ("south", "f1"))))) for account in ACCOUNTS
        ),
    )


@st.composite
def periods(draw: st.DrawFn) -> PeriodInputs:
    """A period with any trades between its members, whether the meters bear them out or not."""
    members = draw(st.lists(st.sampled_from(ACCOUNTS), min_size=0, max_size=5, unique=True))
    trades = []
    if len(members) > 1:
        for number in range(draw(st.integers(0, 6))):
            buyer, seller = draw(st.permutations(members))[:2]
            trades.append(
                Trade(
                    buyer=buyer,
                    seller=seller,
                    buy_order=bytes([number]) * 32,
                    sell_order=bytes([100 + number]) * 32,
                    energy_wh=max(1, draw(energies)),
                    price_u_kwh=draw(prices),
                )
            )
    return PeriodInputs(
        period=7,
        asset=ASSET,
        metered=tuple(draw(meters(account)) for account in members),
        trades=tuple(trades),
        tariff=draw(tariffs()),
    )
