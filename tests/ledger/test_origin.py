"""Origin on the ledger: from readings and records to shares and certificates, as stories of a village."""

from __future__ import annotations

from collections.abc import Sequence

from meshnode.ledger.certificates import Change
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.origin import Carrier, Source, Traced, carbon_mg, size_wh
from meshnode.settlement import origins
from protocols.block import SignedRecord
from protocols.records import INSTALLATION_REMOVED, INSTALLATION_STOPPED
from tests.ledger import origin
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.origin import certified, final, used

ACCEPTED = Verdict.ACCEPTED
HOMES = ("anna", "bela", "carla")


class Street:
    """Anna has a confirmed roof and battery; whoever moves a register is named, the others stand still."""

    def __init__(self, *, confirmed: bool = True) -> None:
        self.chain = chain = Chain()
        self.roof, self.battery = origin.announce(chain, "anna"), origin.announce_battery(chain, "anna")
        assert chain.say(self.roof, self.battery) == [ACCEPTED] * 2
        if confirmed:
            assert chain.say(*(origin.state(chain, one) for one in (self.roof, self.battery))) == [ACCEPTED] * 2
        self.registers = dict.fromkeys(HOMES, (0, 0))
        self.made = self.charged = self.discharged = 0
        self.period = -1
        # Nothing that was announced just now counts in the period that runs.
        self.quarter()
        self.quarter()

    def quarter(
        self, *, made: int = 0, charged: int = 0, discharged: int = 0, silent: Sequence[str] = (), **nets: int
    ) -> int:
        """A quarter of an hour: what homes drew (below zero: gave); the number of the period."""
        self.period += 1
        self.made, self.charged = self.made + made, self.charged + charged
        self.discharged += discharged
        records = []
        for home in HOMES:
            net = nets.get(home, 0)
            drawn, given = self.registers[home]
            self.registers[home] = drawn + max(net, 0), given + max(-net, 0)
            if home not in silent:
                records.append(self.reading(home))
        self.chain.block(*records, time_s=period_s(self.period + 1) + 5)
        return self.period

    def reading(self, home: str, version: int = 0) -> SignedRecord:
        """The registers of a home as they stand, for the newest period."""
        more = (
            {"produced_wh": self.made, "charged_wh": self.charged, "discharged_wh": self.discharged}
            if home == "anna"
            else {}
        )
        return origin.reading(self.chain, home, self.period, *self.registers[home], version=version, **more)

    def wait_until_final(self) -> None:
        chain = self.chain
        chain.block(time_s=period_s(self.period + 1) + chain.machine.rules().period.correction_s + 5)
        while chain.machine.state.meta[0].next_final_s <= period_s(self.period):
            chain.block()


def test_a_day_with_a_battery_names_the_source_of_every_wh() -> None:
    """The golden storage through readings: charge PV 1000, grid 500, PV 300; deliver 900 at 90 %: PV 900."""
    street = Street()
    street.quarter(made=1000, charged=1000)
    street.quarter(anna=500, charged=500)
    street.quarter(made=300, charged=300)
    evening = street.quarter(discharged=900)
    shared = street.quarter(made=700, anna=-400, bela=250, carla=300)
    street.wait_until_final()
    (traced,) = final(street.chain, evening)
    assert used(traced, "anna") == [("own", "solar", 900)]
    assert traced.shares[0].lot.device == street.roof.record_id
    assert traced.shares[0].lot.storage == street.battery.record_id
    stored = origins.storages(street.chain.machine.state)[street.battery.record_id]
    assert [(Source(lot.source).name, lot.wh) for lot in stored] == [("GRID", 500), ("SOLAR", 300)]
    (traced,) = final(street.chain, shared)
    assert used(traced, "anna") == [("own", "solar", 300)]
    near = [share for share in traced.shares if share.way == 2]
    assert size_wh(share.lot for share in near) == 400 and {share.lot.producer for share in near} == {account("anna")}
    assert size_wh(share.lot for share in traced.shares) == 300 + 250 + 300


def test_what_nobody_has_confirmed_is_unverified_and_gets_no_certificate() -> None:
    street = Street(confirmed=False)
    period = street.quarter(made=1000, anna=-600)
    street.wait_until_final()
    (traced,) = final(street.chain, period)
    assert used(traced, "anna") == [("own", "unverified", 400)]
    assert [lot.wh for _, lot in traced.fed_in] == [600] and certified(street.chain, "anna") == []


def test_a_late_reading_changes_the_origin_as_if_it_had_come_in_time() -> None:
    """Anna's registers are misread in one of two streets and put right later; all else is the same in the end."""
    streets = [Street(), Street()]
    for street, wrong in zip(streets, (True, False), strict=True):
        right_wh = 800
        street.quarter(made=100 if wrong else right_wh, charged=400, anna=0 if wrong else -400)
        first = street.period
        if wrong:
            street.registers["anna"] = (0, 400)
            street.made = right_wh
            corrected = street.reading("anna", version=1)
        street.quarter(discharged=180, anna=-100)
        if wrong:
            assert street.chain.say(corrected) == ACCEPTED
        street.wait_until_final()
    for period in (first, first + 1):
        one, other = (final(street.chain, period)[0] for street in streets)
        assert _values(one) == _values(other), period
    assert certified(streets[0].chain, "anna") == certified(streets[1].chain, "anna") != []
    assert _stored(streets[0]) == _stored(streets[1]) != []


def _values(traced: Traced) -> tuple[list[tuple[bytes, int, int, int, int]], list[tuple[bytes, int, int, int]]]:
    """Everything but the ids of devices, which differ from street to street."""
    shares = [(share.account, share.way, share.lot.source, share.lot.first, share.lot.wh) for share in traced.shares]
    return shares, [(owner, lot.source, lot.first, lot.wh) for owner, lot in traced.fed_in]


def _stored(street: Street) -> list[tuple[int, int, int]]:
    lots = origins.storages(street.chain.machine.state).get(street.battery.record_id, ())
    return [(lot.source, lot.first, lot.wh) for lot in lots]


def test_certificates_are_passed_on_and_used_once_the_oldest_first() -> None:
    street = Street()
    chain = street.chain
    first = street.quarter(made=1000, anna=-1000)
    second = street.quarter(made=500, anna=-500)
    street.wait_until_final()
    assert certified(chain, "anna") == [(first, 0, 1000), (second, 0, 500)]
    assert chain.say(origin.give(chain, "anna", "bela", 1200, int(Source.SOLAR))) == ACCEPTED
    assert certified(chain, "bela") == [(first, 0, 1000), (second, 0, 200)]
    assert certified(chain, "anna") == [(second, 200, 300)]
    assert chain.say(origin.retire(chain, "bela", 1100, purpose="the school's report")) == ACCEPTED
    (used_up,) = origin.moved(chain.events[chain.machine.height])
    assert (used_up.change, used_up.wh, used_up.purpose) == (Change.RETIRED, 1100, "the school's report")
    assert certified(chain, "bela") == [(second, 100, 100)]
    assert chain.say(origin.retire(chain, "bela", 101)) == Verdict.NOT_CERTIFIED
    changes = [one.change for height in chain.events for one in origin.moved(chain.events[height])]
    assert changes == [Change.ISSUED, Change.ISSUED, Change.TRANSFERRED, Change.RETIRED]


def test_energy_that_neighbours_used_is_not_certified_again() -> None:
    street = Street()
    street.quarter(made=1000, anna=-1000, bela=600)
    street.wait_until_final()
    assert [wh for _, _, wh in certified(street.chain, "anna")] == [400]


def test_a_stopped_plant_is_unverified_from_the_next_period_on() -> None:
    street = Street()
    chain = street.chain
    before = street.quarter(made=100)
    assert chain.say(origin.state(chain, street.roof, "anna", INSTALLATION_STOPPED)) == ACCEPTED
    still, after = street.quarter(made=100), street.quarter(made=100)
    street.wait_until_final()
    sources = [used(final(chain, period)[0], "anna") for period in (before, still, after)]
    assert sources == [[("own", "solar", 100)]] * 2 + [[("own", "unverified", 100)]]


def test_a_removed_installation_leaves_the_state_with_its_lots() -> None:
    street = Street()
    chain = street.chain
    street.quarter(made=500, charged=500)
    removal = origin.state(chain, street.battery, "anna", INSTALLATION_REMOVED)
    assert chain.say(removal) == ACCEPTED
    street.quarter()
    street.quarter()
    street.wait_until_final()
    assert set(chain.machine.state.installations._rows) == {street.roof.record_id}
    assert origins.storages(chain.machine.state) == {}


def test_only_an_administrator_confirms_and_only_the_owner_stops() -> None:
    chain = Chain()
    roof = origin.announce(chain, "bela")
    assert chain.say(roof) == ACCEPTED
    assert chain.say(origin.state(chain, roof, "bela")) == Verdict.NOT_ADMINISTRATOR
    assert chain.say(origin.state(chain, roof, "anna")) == ACCEPTED
    assert chain.say(origin.state(chain, roof, "anna", INSTALLATION_STOPPED)) == Verdict.NOT_FOR_YOU
    assert chain.say(origin.grid_carbon(chain, 300, by="bela")) == Verdict.NOT_ADMINISTRATOR


def test_co2_of_the_grid_is_unknown_until_somebody_says_it() -> None:
    """Carla's 100 Wh before, and her 100 Wh after: 30 g of CO2 to the milligram."""
    street = Street()
    chain = street.chain
    before = street.quarter(carla=100)
    assert chain.say(origin.grid_carbon(chain, 300, street.period + 1)) == ACCEPTED
    after = street.quarter(carla=100)
    street.wait_until_final()
    found = [carbon_mg(share.lot for share in final(chain, period)[0].shares) for period in (before, after)]
    assert found == [(0, 100), (30_000, 0)]


def test_heat_is_metered_and_traced_like_electricity() -> None:
    """Anna's collector gives 900 Wh of heat, Bela and Carla draw 600 each: half of the rest is the network's."""
    chain = Chain()
    collector = origin.announce(chain, "anna", carrier=int(Carrier.HEAT), name="collector")
    chain.block(collector)
    chain.block(origin.state(chain, collector))
    for period in (0, 1, 2):
        heat = {"anna": (0, 900 * period), "bela": (600 * period, 0), "carla": (600 * period, 0)}
        records = [
            origin.reading(chain, home, period, 0, heat_import_wh=drawn, heat_export_wh=given)
            for home, (drawn, given) in heat.items()
        ]
        chain.block(*records, time_s=period_s(period + 1) + 5)
    chain.block(time_s=period_s(3) + chain.machine.rules().period.correction_s + 5)
    while chain.machine.state.meta[0].next_final_s < period_s(3):
        chain.block()
    electricity, heat_traced = final(chain, 2)
    assert electricity.shares == () and heat_traced.carrier == Carrier.HEAT
    for home in ("bela", "carla"):
        assert used(heat_traced, home) == [("neighbours", "solar", 450), ("grid", "grid", 150)]


def test_a_heat_or_storage_register_never_runs_backwards() -> None:
    chain = Chain()
    assert chain.say(origin.reading(chain, "anna", -1, 0, charged_wh=100, heat_import_wh=50)) == ACCEPTED
    later = period_s(1) + 5
    back = origin.reading(chain, "anna", 0, 0, charged_wh=99, heat_import_wh=50)
    assert chain.say(back, time_s=later) == Verdict.REGISTER_DECREASES
    assert chain.say(origin.reading(chain, "anna", 0, 0, charged_wh=100, heat_import_wh=50)) == ACCEPTED


def test_a_snapshot_carries_installations_lots_and_certificates() -> None:
    street = Street()
    street.quarter(made=1000, charged=500, anna=-500)
    street.wait_until_final()
    state = street.chain.machine.state
    assert len(state.stored_lots) and len(state.certificates) and len(state.installations) == 2
    assert State.restore(state.dump()).state_hash() == state.state_hash()
