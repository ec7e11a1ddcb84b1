"""Proofs: plants and batteries that are there by the binding's word, and what storing costs."""

from __future__ import annotations

from collections.abc import Sequence

from meshnode.ledger.balances import balance
from meshnode.ledger.verdicts import Verdict
from meshnode.origin import Kind
from meshnode.settlement import fund_account
from protocols.block import SignedRecord
from protocols.records import OpenCounters, Reading
from tests.effects.proof import Proof
from tests.effects.village import ANNA, BELA, CARLA, FUND, clock, contract, founded, period
from tests.ledger import delivering
from tests.ledger.chain import Chain, meter_id, meter_key, period_s

BATTERY = "the battery 'Bay Battery' stores 10 kWh at 5 kW and belongs to 'anna'"
STORED = "the asset 'KEPT' is energy stored in the battery 'Bay Battery'"
GIVEN = (BATTERY, "the asset 'KEPT' is 'energy' and at most 1000000 of it exist", STORED)
STORES = "the battery 'Bay Battery' stores energy"
DELIVERS = "the battery 'Bay Battery' delivers energy"


def village(*blocks: str, given: Sequence[str] = GIVEN, **changes: Sequence[str]) -> Chain:
    """A village whose binding gives a battery; its meter is Anna's, and has said where its registers stand."""
    chain = founded(contract(*blocks, given=given), roles=changes)
    chain.block(delivering.stored(chain, 0, 0))
    return chain


def charged(chain: Chain, wh: int, home: str = "bela", before_wh: int = 0) -> Verdict:
    """A home's energy goes into the battery."""
    verdict = chain.say(delivering.stored(chain, before_wh + wh, 0, (home, wh, 0)))
    assert isinstance(verdict, Verdict)
    return verdict


def kept(chain: Chain, account: bytes = BELA) -> int:
    return balance(chain.machine.state, account, "KEPT").free


def a_plant() -> None:
    """The register has the plant with its power and its owner, and nobody announced it."""
    given = ("the plant 'School Roof' has 120 kW and belongs to 'carla'",)
    (row,) = [row for _, row in founded(contract(given=given)).machine.state.installations.items()]
    assert (row.name, row.capacity_w, row.account, row.meter) == ("School Roof", 120_000, CARLA, meter_id("carla"))
    # What it made is told by its own name, once the period is final.
    assert row.kind == Kind.PRODUCTION and row.from_s == period_s(0)
    assert not len(founded(contract()).machine.state.installations)
    unknown = ("the plant 'School Roof' has 120 kW and belongs to 'nobody'",)
    assert not len(founded(contract(given=unknown)).machine.state.installations)


def a_battery() -> None:
    """It stores 10 kWh and no more; where it stores 100 kWh there is room for more."""
    chain = village()
    assert charged(chain, 9_000) is Verdict.ACCEPTED
    assert charged(chain, 2_000, "carla", 9_000) is Verdict.OVER_CAP
    larger = village(given=(BATTERY.replace("10 kWh", "100 kWh"), *GIVEN[1:]))
    assert charged(larger, 9_000) is Verdict.ACCEPTED
    assert charged(larger, 2_000, "carla", 9_000) is Verdict.ACCEPTED


def a_meter() -> None:
    """The battery of Anna, who has two meters, is counted by the one that the binding names; else by neither."""
    second = f"'Bay Battery' is measured by the meter '{meter_id('anna', 1).hex()}'"
    for given, meter in (((*GIVEN, second), meter_id("anna", 1)), (GIVEN, None)):
        state = Chain(3, contract(given=given), meters=2).machine.state
        row = state.storages.get("KEPT")
        assert (row.meter if row else None) == meter


def stored_energy() -> None:
    """A Wh that is charged for Bela is a unit of hers; without the sentence nothing counts it."""
    chain = village()
    assert charged(chain, 1_000) is Verdict.ACCEPTED
    assert kept(chain) == 1_000
    assert charged(village(given=(BATTERY,)), 1_000) is Verdict.NOT_STORED


def efficiency() -> None:
    """Of 1000 Wh that go in, 900 can come out."""
    chain = village(given=(*GIVEN, "the battery 'Bay Battery' gives back 90 % of what it takes in"))
    charged(chain, 1_000)
    assert kept(chain) == 900
    lossless = village()
    charged(lossless, 1_000)
    assert kept(lossless) == 1_000


def price_of_storage() -> None:
    """At 200 a kWh and 300 a member nobody has more than 2 kWh; without a price the battery is the limit."""
    price = "storage in the battery 'Bay Battery' costs 200 EUR/kWh and a member at most 300 EUR"
    chain = village(given=(*GIVEN, price))
    assert charged(chain, 2_001) is Verdict.NO_ROOM
    assert charged(chain, 2_000) is Verdict.ACCEPTED
    assert charged(village(), 2_001) is Verdict.ACCEPTED


DOOR = ("the asset 'DOOR' is 'access' and at most 1000 of it exist", "'anna' issues the asset 'DOOR'")


def access() -> None:
    """Who has no unit of the asset stores nothing."""
    chain = village(given=(*GIVEN, *DOOR, "storing in the battery 'Bay Battery' needs the asset 'DOOR'"))
    chain.block(chain.issue("anna", "DOOR", 10))
    assert charged(chain, 1_000) is Verdict.NO_ACCESS
    chain.block(chain.transfer("anna", "bela", 1, "DOOR"))
    assert charged(chain, 1_000) is Verdict.ACCEPTED


STORAGE_FEE = "charge 0.10 EUR/kWh in every settlement period for what is stored"
OWNERS = "split the 'storage fee' 80 % to 'battery owner' and 20 % to 'community fund'"


def contribution() -> None:
    """Anna and Carla own the battery 3 to 1, and so they divide their part of its fee; unsaid, all of it is Anna's."""
    parts = (
        "'anna' contributed 300 EUR to the battery 'Bay Battery'",
        "'carla' contributed 100 EUR to the battery 'Bay Battery'",
    )
    for more, anna_u, carla_u in ((parts, 60_000, 20_000), ((), 80_000, None)):
        chain = village(f"{STORES}; {STORAGE_FEE}; {OWNERS}", given=(*GIVEN, *more))
        charged(chain, 1_000)
        period(chain)
        assert (chain.claims().get(ANNA), chain.claims().get(CARLA)) == (anna_u, carla_u)


def storage_fee() -> None:
    """0.10 for the kWh that Bela has at the end of a period; with 0.20 twice as much."""
    for price, due_u in (("0.10", 100_000), ("0.20", 200_000)):
        chain = village(f"{STORES}; {STORAGE_FEE.replace('0.10', price)}")
        charged(chain, 1_000)
        period(chain)
        assert chain.claims() == {BELA: -due_u, FUND: due_u}


def what_cannot_be_paid() -> None:
    """Where an asset pays for debts the fee is paid with it, and what Bela lacks is owed until she has it."""
    chain = village(f"{STORES}; {STORAGE_FEE}; {OWNERS}")
    chain.block(chain.issue("anna", "EURO", 100_000, 10**9, asset_kind=0, settles=1))
    chain.block(chain.transfer("anna", "bela", 30_000, "EURO"))
    charged(chain, 1_000)
    period(chain)
    assert balance(chain.machine.state, BELA, "EURO").free == 0
    assert chain.machine.state.keeps["KEPT", BELA].arrears_u == 70_000
    assert balance(chain.machine.state, fund_account("community fund"), "EURO").free == 6_000
    chain.block(chain.transfer("anna", "bela", 70_000, "EURO"))
    chain.block()
    assert chain.machine.state.keeps["KEPT", BELA].arrears_u == 0


def a_storage_fee() -> None:
    """What is stored costs its owner something, or its arrears grow."""
    storage_fee()
    what_cannot_be_paid()


def most_stored() -> None:
    """Nobody has more than 1500 Wh - in the band that runs, and not after it."""
    most = "let nobody store more than 1.5 kWh"
    given = (*GIVEN, f"the band 'now' runs from {clock(0)} to {clock(1)}")
    chain = village(f"{STORES}; if the time is in band 'now'; {most}", given=given)
    assert charged(chain, 1_501) is Verdict.NO_ROOM
    chain.block(time_s=period_s(1) + 5)
    assert charged(chain, 1_501) is Verdict.ACCEPTED


def when_it_stores() -> None:
    """A fee on stored energy that is charged when it goes in, and none when it comes out."""
    chain = village(f"{STORES}; charge a fee of 0.03 EUR/kWh on 'stored energy'")
    charged(chain, 1_000)
    assert chain.claims() == {BELA: -30_000, FUND: 30_000}
    chain.block(delivering.stored(chain, 1_000, 400, ("bela", 0, 400)))
    assert chain.claims() == {BELA: -30_000, FUND: 30_000}


def when_it_delivers() -> None:
    """The same fee when it comes out, and none when it goes in; who has the role pays less."""
    cheap = f"{DELIVERS}; if the member has the role 'member'; charge a fee of 0.01 EUR/kWh on 'stored energy'"
    given = (*GIVEN, "there is a role 'member'")
    chain = village(
        f"{DELIVERS}; charge a fee of 0.03 EUR/kWh on 'stored energy'", cheap, given=given, carla=("member",)
    )
    charged(chain, 1_000)
    charged(chain, 1_000, "carla", 1_000)
    assert chain.claims() == {}
    chain.block(delivering.stored(chain, 2_000, 800, ("bela", 0, 400), ("carla", 0, 400)))
    assert chain.claims() == {BELA: -12_000, CARLA: -4_000, FUND: 16_000}


def charge_says(chain: Chain, number: int, percent: int) -> SignedRecord:
    """Anna's meter, which counts the battery, tells how full it is."""
    values = OpenCounters(import_wh=10_000, export_wh=10_000, charge_ppm=percent * 10_000)
    return chain.sign(
        Reading(meter=meter_id("anna"), period_start_s=period_s(number), values=values), meter_key("anna")
    )


def fee_at(condition: str, percent: int) -> int:
    """What Bela pays for storing a kWh while the battery is so full."""
    chain = village(
        f"{STORES}; if {condition}; charge a fee of 0.03 EUR/kWh on 'stored energy'",
        given=(*GIVEN, f"'Bay Battery' is measured by the meter '{meter_id('anna').hex()}'"),
    )
    chain.block(charge_says(chain, -1, percent))
    charged(chain, 1_000)
    return -chain.claims().get(BELA, 0)


def charged_above() -> None:
    """Storing costs something only while the battery is nearly full; nobody pays while it says nothing."""
    condition = "the battery 'Bay Battery' is charged above 80 %"
    assert (fee_at(condition, 90), fee_at(condition, 80)) == (30_000, 0)
    silent = village(f"{STORES}; if {condition}; charge a fee of 0.03 EUR/kWh on 'stored energy'")
    charged(silent, 1_000)
    assert silent.claims() == {}


def charged_below() -> None:
    """Storing costs something only while the battery is nearly empty."""
    condition = "the battery 'Bay Battery' is charged below 20 %"
    assert (fee_at(condition, 10), fee_at(condition, 20)) == (30_000, 0)


PROOFS: dict[int, Proof] = {
    109: a_plant,
    110: a_battery,
    117: a_meter,
    138: stored_energy,
    139: efficiency,
    140: price_of_storage,
    141: access,
    142: contribution,
    307: when_it_delivers,
    308: when_it_stores,
    412: charged_above,
    413: charged_below,
    536: a_storage_fee,
    594: most_stored,
}
