"""Proofs: what is charged on energy, and who receives it."""

from __future__ import annotations

from meshnode.settlement import Quality, Reason, fund_account
from protocols.block import SignedRecord
from protocols.records import LevySet, OpenCounters, Reading
from tests.effects.proof import Proof
from tests.effects.village import (
    ANNA,
    BELA,
    CARLA,
    FUND,
    GRID,
    clock,
    closed,
    closes,
    contract,
    founded,
    line,
    paid,
    period,
    settled,
)
from tests.ledger import credit
from tests.ledger.chain import Chain, meter_id, meter_key, period_s

# Carla makes 1000 Wh and sells 900 of it; Anna takes 300 of that, Bela 600 and 400 from the grid.
DAY = {"anna": (300, 0), "bela": (1000, 0), "carla": (0, 900, 1000)}
SHARE = "share production by rank"
ANNA_FIRST = ("'anna' has rank 1 in sharing", "'bela' has rank 2 in sharing")


def fees(*actions: str, given: tuple[str, ...] = ()) -> dict[tuple[bytes, bytes], int]:
    return paid(settled(SHARE, *actions, given=(*ANNA_FIRST, *given), **DAY)[1], Reason.FEE)


def a_fee_on_every_sort() -> None:
    """Each sort of energy has its payers: who takes from neighbours, draws from the grid, uses, injects, stores."""
    expected = {
        "traded energy": {(ANNA, FUND): 3_000, (BELA, FUND): 6_000},
        "solar energy": {(ANNA, FUND): 3_000, (BELA, FUND): 6_000},
        "grid energy": {(BELA, FUND): 4_000},
        "consumed energy": {(ANNA, FUND): 3_000, (BELA, FUND): 10_000, (CARLA, FUND): 1_000},
        "injected energy": {(CARLA, FUND): 9_000},
        "stored energy": {},
    }
    for sort, postings in expected.items():
        assert fees(f"charge a fee of 0.01 EUR/kWh on '{sort}'") == postings, sort
    assert fees() == {}


def a_fee_on_stored_energy() -> None:
    """Bela's battery gave her 500 Wh, as its meter says; a reading that says 800 corrects the fee."""
    chain = founded(contract(closes(SHARE, "charge a fee of 0.01 EUR/kWh on 'stored energy'"), given=ANNA_FIRST))
    others = [home for home in chain.village.homes if home != "bela"]
    for number, discharged_wh, time_s in ((-1, 0, None), (0, 500, period_s(1) + 3)):
        readings = [chain.reading(home, number, 0) for home in others]
        chain.block(*readings, _with_battery(chain, number, discharged_wh, 0), time_s=time_s)
    assert paid(closed(chain), Reason.FEE) == {(BELA, FUND): 5_000}
    chain.block(_with_battery(chain, 0, 800, 1))
    assert paid(closed(chain), Reason.FEE) == {(BELA, FUND): 8_000}
    assert chain.claims() == {BELA: -8_000, FUND: 8_000}


def _with_battery(chain: Chain, number: int, discharged_wh: int, version: int) -> SignedRecord:
    """Bela's reading, with what her battery gave."""
    values = OpenCounters(import_wh=0, export_wh=0, charged_wh=9_000, discharged_wh=discharged_wh)
    reading = Reading(meter=meter_id("bela"), period_start_s=period_s(number), values=values, version=version)
    return chain.sign(reading, meter_key("bela"))


def a_fee_for_some() -> None:
    """Only who has the role pays; and only in the evening."""
    given = ("there is a role 'guest'", f"the band 'now' runs from {clock(0)} to {clock(1)}", *ANNA_FIRST)
    fee = "charge a fee of 0.01 EUR/kWh on 'traded energy'"
    text = contract(
        closes(SHARE), closes("if the member has the role 'guest'", "if the time is in band 'now'", fee), given=given
    )
    chain = founded(text, roles={"bela": ("guest",)})
    assert paid(period(chain, 0, **DAY), Reason.FEE) == {(BELA, FUND): 6_000}
    assert paid(period(chain, 1, **DAY), Reason.FEE) == {}


def a_fee_for_the_poor_stays_theirs() -> None:
    """Bela owed nothing when the period closed; a correction asks for what was then, not for what she owes since."""
    fee = "charge a fee of 0.01 EUR/kWh on 'traded energy'"
    text = contract(closes(SHARE), closes("if the balance of the member is below 0 EUR", fee), given=ANNA_FIRST)
    chain = founded(text)
    assert paid(period(chain, 0, **DAY), Reason.FEE) == {}
    assert chain.claims()[BELA] < 0
    chain.block(chain.reading("anna", 0, 10_290, 10_000, version=1))
    assert paid(closed(chain), Reason.FEE) == {}
    # By the second period she owes for the first; Anna takes 10 Wh of it before her.
    assert paid(period(chain, 1, bela=(100, 0), carla=(0, 100)), Reason.FEE) == {(BELA, FUND): 900}


def a_fee() -> None:
    """On every sort of energy, for everybody or for some, now or at times."""
    a_fee_on_every_sort()
    a_fee_on_stored_energy()
    a_fee_for_some()
    a_fee_for_the_poor_stays_theirs()


def a_split() -> None:
    """80 % for the members who took the energy, 20 % for Carla by her name; without the sentence all is the fund's."""
    fee = "charge a fee of 0.01 EUR/kWh on 'traded energy'"
    found = fees(fee, "split the 'network fee' 80 % to 'consumers' and 20 % to 'carla'")
    back = {receiver: amount for (_, receiver), amount in found.items()}
    assert (back[ANNA], back[BELA], found[ANNA, CARLA] + found[BELA, CARLA]) == (2_400, 4_800, 1_800)
    assert fees(fee) == {(ANNA, FUND): 3_000, (BELA, FUND): 6_000}
    # Who owns the battery receives by what it contributed.
    given = (
        "the battery 'Bay Battery' stores 10 kWh at 5 kW and belongs to 'anna'",
        "'anna' contributed 300 EUR to the battery 'Bay Battery'",
        "'carla' contributed 100 EUR to the battery 'Bay Battery'",
    )
    found = fees(fee, "split the 'network fee' 100 % to 'battery owner'", given=given)
    assert (found[BELA, ANNA], found[BELA, CARLA]) == (4_500, 1_500)


def an_incentive() -> None:
    """0.11 for each of 900 Wh that were shared come from outside; the fund has it, or whom a split names."""
    given = (*ANNA_FIRST, "every shared kWh receives 0.11 EUR/kWh of incentive")
    chain, found = settled(SHARE, given=given, **DAY)
    assert paid(found, Reason.INCENTIVE) == {(GRID, FUND): 99_000}
    assert chain.claims()[FUND] == 99_000
    split = "split the 'incentive' 60 % to 'consumers', 30 % to 'producers' and 10 % to 'social fund'"
    _, found = settled(SHARE, split, given=given, **DAY)
    assert paid(found, Reason.INCENTIVE) == {
        (GRID, ANNA): 19_800,
        (GRID, BELA): 39_600,
        (GRID, CARLA): 29_700,
        (GRID, fund_account("social fund")): 9_900,
    }
    assert FUND not in settled(SHARE, given=ANNA_FIRST, **DAY)[0].claims()


def a_levy() -> None:
    """Everybody pays 0.02 on what it uses; an administrator who sets another for the same fund overrides it."""
    sentence = "raise a levy of 0.02 EUR/kWh on 'consumed energy' for 'school fund'"
    school = fund_account("school fund")
    _, found = settled(SHARE, sentence, given=ANNA_FIRST, **DAY)
    assert paid(found, Reason.LEVY) == {(ANNA, school): 6_000, (BELA, school): 20_000, (CARLA, school): 2_000}
    assert paid(settled(SHARE, given=ANNA_FIRST, **DAY)[1], Reason.LEVY) == {}
    chain = founded(contract(closes(SHARE, sentence), given=ANNA_FIRST))
    period(chain, 0, **DAY)
    other = LevySet(from_s=None, name="school fund", base=2, levy_u_kwh=5_000)
    assert chain.say(credit.parameter(chain, other)).name == "ACCEPTED"
    period(chain, 1, **DAY)
    assert paid(period(chain, 2, **DAY), Reason.LEVY) == {(BELA, school): 2_000}


def solidarity() -> None:
    """A tenth of what Carla earns goes to Anna, who carries the role; without it Carla keeps everything."""
    given = ("there is a role 'helped'", "shared energy costs 0.20 EUR/kWh", *ANNA_FIRST)
    for actions, anna_u, carla_u in (
        (("give 10 % of earnings to members with the role 'helped'",), -60_000 + 18_000, 162_000),
        ((), -60_000, 180_000),
    ):
        chain = founded(contract(closes(SHARE, *actions), given=given), roles={"anna": ("helped",)})
        period(chain, **DAY)
        assert (chain.claims()[ANNA], chain.claims()[CARLA]) == (anna_u, carla_u)


def an_estimate() -> None:
    """Yesterday at this hour Anna used 700 Wh, a quarter of an hour ago 100: the sentence says to ask yesterday."""
    silent = "a meter is silent for 30 minutes; estimate the missing reading from the last 4 similar days"
    for blocks, used_wh in (((closes(SHARE), silent), 700), ((closes(SHARE),), 100)):
        chain = founded(contract(*blocks, given=ANNA_FIRST))
        period(chain, 0, anna=(700, 0))
        for number in range(1, 96):
            period(chain, number, anna=(100, 0))
        chain.block(time_s=period_s(97) + 130)
        found = line(closed(chain), "anna")
        assert (found.quality, found.consumption_wh) == (Quality.ESTIMATED, used_wh)


PROOFS: dict[int, Proof] = {
    113: an_incentive,
    530: a_fee,
    532: a_split,
    533: a_levy,
    534: solidarity,
    540: an_estimate,
}
