"""Proofs of what is said of money that is due: fees, tax, and the bills themselves."""

from __future__ import annotations

from meshnode.ledger.member_rows import Bill
from meshnode.settlement import fund_account
from tests.effects.ledgers import EUR, claim_u, ledger, read_on
from tests.effects.proof import Proof
from tests.ledger.chain import Chain, account, period_s
from zencode.catalogue import ids

HOURLY = "bills are issued every 1 hour"
# The clock of proofs begins at eight o'clock; four quarters make the hour.
HOUR = 4


def an_hour(chain: Chain, first: int = 0, bela_wh: int = 1000) -> Bill | None:
    """Bela draws a kWh from the grid in the first quarter of an hour, nobody anything else; her newest bill."""
    if not first:
        chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    for period in range(first, first + HOUR):
        read_on(chain, period, bela=bela_wh)
    return chain.machine.state.bills.get(account("bela"))


def billed(*blocks: str, givens: tuple[str, ...] = (), rules: tuple[str, ...] = ()) -> Bill:
    found = an_hour(ledger(*blocks, givens=(HOURLY, *givens), rules=rules))
    assert found is not None
    return found


DUE = "When a bill is due\n"


def billing() -> None:
    """Where bills come every hour bela has one after an hour; where they come every day she has none yet."""
    bill = billed()
    assert (bill.until_s - bill.from_s, bill.charges_u, bill.pay_u) == (3600, 300_000, 300_000)
    assert an_hour(ledger(givens=("bills are issued every 1 day",))) is None
    assert an_hour(ledger()) is None, "a month, where nothing is said"


def bill_due() -> None:
    """What is said of bills holds when one is issued, and not before."""
    chain = ledger(f"{DUE}Then charge 2.50 EUR every 1 hour", givens=(HOURLY,))
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    for period in range(HOUR - 1):
        read_on(chain, period)
        assert claim_u(chain, "bela") == 0
    read_on(chain, HOUR - 1)
    assert claim_u(chain, "bela") == -2_500_000


def fee_per_cycle() -> None:
    """Every member pays the fee for every hour that is over; who receives it is said by the split, or is the fund."""
    for cycle, hours, paid_u in (("1 hour", 1, 2_500_000), ("2 hours", 1, 0), ("2 hours", 2, 2_500_000)):
        chain = ledger(f"{DUE}Then charge 2.50 EUR every {cycle}", givens=(HOURLY,))
        for hour in range(hours):
            an_hour(chain, hour * HOUR, 0)
        assert [claim_u(chain, home) for home in ("anna", "bela", "carla")] == [-paid_u] * 3, cycle
        assert chain.claims().get(fund_account("community fund"), 0) == 3 * paid_u
    split = f"{DUE}Then charge 2.50 EUR every 1 hour\nAnd split the 'membership fee' 100 % to 'social fund'"
    chain = ledger(split, givens=(HOURLY,))
    an_hour(chain, 0, 0)
    assert chain.claims()[fund_account("social fund")] == 7_500_000


def fee_per_period() -> None:
    """A tenth of a cent in every quarter of an hour; nothing where nothing is said."""
    charged = ledger("When a settlement period closes\nThen charge 0.001 EUR in every settlement period")
    an_hour(charged, 0, 0)
    assert [claim_u(charged, home) for home in ("anna", "bela")] == [-4_000, -4_000]
    free = ledger()
    an_hour(free, 0, 0)
    assert claim_u(free, "bela") == 0


def sun_and_lamp(*blocks: str) -> Bill:
    """Bela feeds a kWh into the grid and draws one later: two amounts, 0.30 EUR and 0.10 EUR."""
    chain = ledger(*blocks, givens=(HOURLY,))
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    for period, (drawn, fed) in enumerate([(0, 1000), (1000, 1000), (1000, 1000), (1000, 1000)]):
        others = [chain.reading(home, period, 0) for home in ("anna", "carla")]
        chain.block(chain.reading("bela", period, drawn, fed), *others, time_s=period_s(period + 1))
    return chain.machine.state.bills[account("bela")]


def net() -> None:
    """What bela owes and is owed are set off where the binding nets, and both stand on the bill where it does not."""
    netted, apart = sun_and_lamp(f"{DUE}Then net all debts before payment"), sun_and_lamp()
    assert (netted.pay_u, netted.receive_u) == (200_000, 0)
    assert (apart.pay_u, apart.receive_u) == (300_000, 100_000)


def rounding() -> None:
    """0.3015 EUR are 0.30 EUR where bills are rounded half up; the rest is on the next bill: 0.6030 are then 0.60."""
    rule = "rounding is half up and the remainder goes to the largest share"
    chain = ledger(givens=(HOURLY,), rules=(rule,))
    first, second = an_hour(chain, 0, 1005), an_hour(chain, HOUR, 2010)
    assert first is not None and second is not None
    assert (first.charges_u, first.pay_u) == (301_500, 300_000)
    assert (second.charges_u, second.pay_u) == (303_000, 300_000)
    half = an_hour(ledger(givens=(HOURLY,), rules=(rule,)), 0, 1050)
    assert half is not None and (half.charges_u, half.pay_u) == (315_000, 320_000)
    exact = an_hour(ledger(givens=(HOURLY,)), 0, 1005)
    assert exact is not None and exact.pay_u == 301_500


def collect() -> None:
    """A company collects the bill, and by when it is paid is on it."""
    bill = billed(f"{DUE}Then collect through 'Village Cooperative' within 30 days")
    assert (bill.collector, bill.due_s - bill.until_s) == ("Village Cooperative", 30 * 86_400)
    assert (billed().collector, billed().due_s) == ("", 0)


def company() -> None:
    """Where the community has a collecting company it stands on every bill, also where nothing more is said."""
    assert billed(givens=("the collecting company is 'Village Cooperative'",)).collector == "Village Cooperative"
    assert billed().collector == ""


VAT = ("value added tax of category 'S' is 19 %", "'bela' has value added tax category 'S'")


def vat_category() -> None:
    """Bela's bill has tax, which the community owes on; carla, of whom no category is said, pays none."""
    chain = ledger(givens=(HOURLY, *VAT))
    bill = an_hour(chain)
    assert bill is not None and (bill.charges_u, bill.tax_u, bill.pay_u) == (300_000, 57_000, 357_000)
    assert chain.claims()[fund_account("value added tax")] == 57_000
    assert chain.machine.state.bills[account("carla")].tax_u == 0
    assert billed(givens=VAT[:1]).tax_u == 0


def vat_rate() -> None:
    """Another rate, another tax."""
    assert billed(givens=("value added tax of category 'S' is 22 %", VAT[1])).tax_u == 66_000
    assert billed(givens=VAT).tax_u == 57_000


def currency() -> None:
    """Whatever is posted is in the binding's currency."""
    for code in ("EUR", "CHF"):
        chain = ledger()
        if code == "CHF":
            chain = Chain(3, chain.genesis.binding_text.decode().replace("EUR", code))
        assert chain.machine.rules().period.currency == code
        chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
        read_on(chain, 0, bela=1000)
        [closed] = [event for event in chain.events[chain.machine.height] if hasattr(event, "settlement")]
        assert {posting.asset for posting in closed.settlement.postings} == {code.encode()}


FEE = (
    "When a settlement period closes\nIf the time is in band 'day'\nThen charge 1 EUR in every settlement period\nEndIf"
)


def charged(*givens: str, ahead_s: int = 0) -> int:
    """How many euros bela pays from eight to nine o'clock; ahead_s: of her clock, to UTC."""
    chain = ledger(FEE, givens=givens, zone_changes=((0, ahead_s),))
    an_hour(chain, 0, 0)
    return -claim_u(chain, "bela") // EUR


def in_band() -> None:
    """A fee that is due by day only: in the band every quarter of an hour costs, outside it none does."""
    assert charged("the band 'day' runs from 08:30 to 16:00") == 2
    # In Rome it is nine o'clock already.
    assert charged("the band 'day' runs from 08:30 to 16:00", ahead_s=3600) == 4


def band() -> None:
    """The same community, another band."""
    assert charged("the band 'day' runs from 08:00 to 16:00") == 4
    assert charged("the band 'day' runs from 09:00 to 16:00") == 0


def band_on() -> None:
    """15 January 2027 is a Friday: on that day a band of the weekend does not run."""
    assert charged("the band 'day' runs from 08:00 to 16:00 on 'Monday to Friday'") == 4
    assert charged("the band 'day' runs from 08:00 to 16:00 on 'Saturday and Sunday'") == 0


PROOFS: dict[int, Proof] = {
    ids.CURRENCY_IS: currency,
    ids.BILLING: billing,
    ids.BILL_DUE: bill_due,
    ids.FEE_PER_CYCLE: fee_per_cycle,
    ids.FEE_PER_PERIOD: fee_per_period,
    ids.NET: net,
    ids.ROUNDING: rounding,
    ids.COLLECT: collect,
    ids.COLLECTING: company,
    ids.VAT_CATEGORY: vat_category,
    ids.VAT_RATE: vat_rate,
    ids.IN_BAND: in_band,
    ids.BAND: band,
    ids.BAND_ON: band_on,
}
