"""Storekeeper: what a battery moved is reported whole and once, whenever its node dies; and whose it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshnode import moved, storekeeper
from meshnode.actuator import ActuatorError, write_whole
from meshnode.battery import SimulatedBattery
from meshnode.config import ConfigError
from meshnode.keys import SigningKey
from meshnode.ledger.balances import balance
from meshnode.storekeeper import Storekeeper, simulated_batteries
from meshnode.web.backend import NotHere, Refused
from protocols.records import AssetIssue, OpenCounters, Point, StorageSet, Transfer
from tests.protocols.keys import seed_of
from tests.web.hand_made import HandMade, SetClock
from tests.web.street import MIDNIGHT_S, PERIOD_S, Counted, Street

HALF_PPM = 500_000
# More than a period's worth; what a member may have is the narrower bound.
CAPACITY_WH, POWER_W = 10_000, 40_000
MOST_WH = 2_000
SUN = {"anna": Counted(0, 1_000, 1_000), "bela": Counted(0, 0, 0), "carla": Counted(0, 600, 600)}
DARK = {"anna": Counted(400, 0, 0), "bela": Counted(300, 0, 0), "carla": Counted(200, 0, 0)}


class Dead(Exception):
    """The node is gone, between two steps."""


class Cellar:
    """Anna's node, whose meter is that of a common battery: half of what is charged comes out again."""

    def __init__(self, place: Path) -> None:
        self.place = place / "cellar"
        self.place.mkdir()
        self.street = Street(place / "street", administrators=("anna",))
        self.street.begin()
        self.clock = SetClock(MIDNIGHT_S + 60)
        self.node = HandMade(self.street, "anna", self.clock)
        self.meter = self.street.meter("anna")
        self.start_s = MIDNIGHT_S
        kept = self.street.say("anna", AssetIssue, asset="KEPT", asset_kind=1, cap=10**6, amount=0)
        rules = {"efficiency_ppm": HALF_PPM, "most_cost_u": 300, "storage_u_kwh": 200}
        storage = StorageSet(asset="KEPT", meter=self.meter, **rules)
        self.node.final(self.clock.now_s(), kept, self.street.say("anna", Point, step=storage))
        assert self.row.most_wh == MOST_WH

    @property
    def row(self) -> Any:
        return self.street.machine.state.storages["KEPT"]

    @property
    def supply(self) -> int:
        return self.street.machine.state.assets["KEPT"].supply

    def has(self, home: str) -> int:
        return balance(self.street.machine.state, self.street.account(home), "KEPT").free

    def registers(self) -> tuple[int, int]:
        """What the battery itself has counted."""
        (path,) = self.place.glob("battery-*.json")
        found = json.loads(path.read_text())
        return found["charged_wh"], found["discharged_wh"]

    def keeper(self) -> Storekeeper:
        """One that has just been started."""
        keys = {self.meter: SigningKey(seed_of("anna meter"))}
        keeper = Storekeeper(self.node, self.place / "stores.json", keys, simulated_batteries(self.place))
        keeper._stores = storekeeper._read(self.place / "stores.json")
        return keeper

    async def kept(self) -> Cellar:
        await self.keeper().start("KEPT", CAPACITY_WH, POWER_W)
        await self.rounds(1)
        return self

    async def rounds(self, number: int = 3) -> None:
        """So many looks of keepers that remember nothing but their file."""
        for _ in range(number):
            await self.keeper()._look_after("KEPT")

    def period(self, counted: dict[str, Counted]) -> None:
        """A settlement period goes by."""
        self.street.settle(self.start_s, counted)
        self.start_s += PERIOD_S
        self.clock._now_s = self.start_s + 1

    def check(self) -> None:
        """The ledger has what the battery has counted, and there are as many units as that comes to."""
        row = self.row
        assert (row.charged_wh, row.discharged_wh) == self.registers()
        self.street.machine.check_invariants()
        store = storekeeper._read(self.place / "stores.json")["KEPT"]
        assert (store.due, store.fixes, store.mended) == ({}, {}, None)

    def correct(self, home: str, less: Counted) -> None:
        """The last reading of a home was too high by so much."""
        counters = Counted(*(a - b for a, b in zip(self.street.counters[home], less, strict=True)))
        self.street.counters[home] = counters
        self._version = getattr(self, "_version", 0) + 1
        values = OpenCounters(**counters._asdict())
        start_s = self.start_s - PERIOD_S
        reading = self.street.village.reading(home, period_start_s=start_s, values=values, version=self._version)
        self.node.final(self.clock.now_s(), reading)
        assert self.street.machine.state.periods[start_s].corrections

    def keep(self, home: str) -> Any:
        return self.street.machine.state.keeps[("KEPT", self.street.account(home))]

    def give(self, home: str, to: str, amount: int) -> None:
        gift = self.street.say(home, Transfer, asset="KEPT", amount=amount, to=self.street.account(to))
        self.node.final(self.clock.now_s(), gift)


@pytest.fixture
def cellar(tmp_path: Path) -> Any:
    found = Cellar(tmp_path)
    yield found
    found.street.views.close()


async def test_what_is_left_over_is_stored_and_what_lacks_is_given(cellar: Cellar) -> None:
    """Anna's 1000 and Carla's 600 Wh go in, half of it is theirs; what they lack afterwards comes out of it."""
    await cellar.kept()
    assert (cellar.row.charged_wh, cellar.row.discharged_wh) == (0, 0), "the registers at the beginning are nobody's"
    cellar.period(SUN)
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("bela"), cellar.has("carla")) == (500, 0, 300)
    cellar.check()
    cellar.period(DARK)
    await cellar.rounds()
    # Bela has nothing stored and is supplied by the grid; the others have what they stored.
    assert (cellar.has("anna"), cellar.has("bela"), cellar.has("carla")) == (100, 0, 100)
    assert cellar.registers() == (1_600, 600)
    cellar.check()


async def test_nobody_stores_beyond_its_bound_and_the_battery_not_beyond_its_own(cellar: Cellar) -> None:
    await cellar.kept()
    for _ in range(6):
        cellar.period(SUN)
        await cellar.rounds()
        cellar.check()
    # Anna is full at 2000 units; of 10 kWh the battery has room for 20 kWh of charge at half.
    assert cellar.has("anna") == MOST_WH and cellar.has("carla") == 1_800


async def test_power_bounds_a_period(cellar: Cellar) -> None:
    """At 1600 W a quarter of an hour moves 400 Wh, divided as it was planned."""
    await cellar.keeper().start("KEPT", CAPACITY_WH, 1_600)
    await cellar.rounds(1)
    cellar.period(SUN)
    await cellar.rounds()
    assert cellar.registers() == (400, 0) and (cellar.has("anna"), cellar.has("carla")) == (125, 75)
    cellar.check()


async def test_what_finds_no_room_waits_for_it(cellar: Cellar) -> None:
    """Between the charging and its report Anna has been given units: the rest is reported when she has room again."""
    await cellar.kept()
    for _ in range(4):
        cellar.period(SUN)
        await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla")) == (2_000, 1_200)
    keeper = cellar.keeper()
    cellar.period(DARK)
    await cellar.rounds()
    cellar.period(SUN)
    await keeper_moves_only(cellar)
    gift = cellar.street.say("carla", Transfer, asset="KEPT", amount=350, to=cellar.street.account("anna"))
    cellar.node.final(cellar.clock.now_s(), gift)
    await cellar.rounds()
    kept = cellar.keeper().kept("KEPT")
    assert kept is not None and (kept.charged_wh, kept.discharged_wh) == (700, 0)
    assert cellar.row.charged_wh == cellar.registers()[0] - 700
    back = cellar.street.say("anna", Transfer, asset="KEPT", amount=1_000, to=cellar.street.account("bela"))
    cellar.node.final(cellar.clock.now_s(), back)
    await cellar.rounds()
    cellar.check()
    assert keeper.kept("KEPT") is not None


async def keeper_moves_only(cellar: Cellar) -> None:
    """The battery has moved, and the node dies before it signs anything."""

    async def dies(*_args: object) -> None:
        raise Dead

    keeper = cellar.keeper()
    keeper._report = dies  # type: ignore[method-assign]
    with pytest.raises(Dead):
        await keeper._look_after("KEPT")


async def dies_once(cellar: Cellar, monkeypatch: pytest.MonkeyPatch, step: int, *, after: bool) -> None:
    """Three looks of a keeper that dies before or after so many writes, moves and records."""
    left = step

    def mortal(what: Any) -> Any:
        def maybe(*args: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1 and not after:
                raise Dead
            found = what(*args)
            if left == -1:
                raise Dead
            return found

        return maybe

    async def submit(envelope: bytes) -> bytes:
        nonlocal left
        left -= 1
        if left == -1 and not after:
            raise Dead
        found = await HandMade.submit_envelope(cellar.node, envelope)
        if left == -1:
            raise Dead
        return found

    with monkeypatch.context() as dying:
        dying.setattr(storekeeper, "write_whole", mortal(write_whole))
        dying.setattr(moved, "write_whole", mortal(write_whole))
        dying.setattr(SimulatedBattery, "move", mortal(SimulatedBattery.move))
        dying.setattr(cellar.node, "submit_envelope", submit)
        try:
            await cellar.rounds()
        except Dead:
            pass
        else:
            assert left >= 0, "it died and went on"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(9))
async def test_a_node_that_dies_at_any_step_reports_once(
    cellar: Cellar, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    """Before or after each write, each move and each record that is handed in; a new one goes on from the files."""
    await cellar.kept()
    cellar.period(SUN)
    await dies_once(cellar, monkeypatch, step, after=after)
    await cellar.rounds()
    assert cellar.registers() == (1_600, 0) and cellar.supply == 800
    cellar.check()
    cellar.period(DARK)
    await cellar.rounds()
    assert cellar.registers() == (1_600, 600)
    cellar.check()


# --- corrected readings


async def test_a_corrected_reading_corrects_whose_energy_was_stored(cellar: Cellar) -> None:
    """Carla gave 100 Wh and not 600: of what went in, 500 are nobody's, and so the keeper's. Nothing moves again."""
    await cellar.kept()
    cellar.period(SUN)
    await cellar.rounds()
    cellar.correct("carla", Counted(0, 500, 500))
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("bela"), cellar.has("carla")) == (750, 0, 50)
    assert cellar.registers() == (1_600, 0) and cellar.supply == 800
    cellar.check()
    assert cellar.keeper().kept("KEPT") is not None
    # Right at once, it comes to the same.
    cellar.correct("carla", Counted(0, -500, -500))
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla")) == (500, 300)
    cellar.check()


async def test_what_was_passed_on_before_the_correction_is_owed(cellar: Cellar) -> None:
    """Carla has given Bela 280 of 300 that turn out to be 50: she owes 230, and what she stores next pays that."""
    await cellar.kept()
    cellar.period(SUN)
    await cellar.rounds()
    cellar.give("carla", "bela", 280)
    cellar.correct("carla", Counted(0, 500, 500))
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("bela"), cellar.has("carla")) == (520, 280, 0)
    assert (cellar.keep("carla").owed_wh, cellar.keep("anna").due_wh) == (230, 230)
    cellar.check()
    cellar.period(SUN)
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla")) == (520 + 500 + 230, 300 - 230)
    assert (cellar.keep("carla").owed_wh, cellar.keep("anna").due_wh) == (0, 0)
    assert cellar.supply == 1_600
    cellar.check()


async def test_a_corrected_reading_corrects_what_was_drawn(cellar: Cellar) -> None:
    """Carla lacked 50 Wh and not 200: 150 come back to her; they left the battery for its keeper, who had 100."""
    await cellar.kept()
    cellar.period(SUN)
    await cellar.rounds()
    cellar.period(DARK)
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla")) == (100, 100)
    cellar.correct("carla", Counted(150, 0, 0))
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla")) == (0, 250)
    assert (cellar.keep("anna").short_wh, cellar.keep("carla").burned_wh) == (50, 50)
    cellar.check()
    # After all she lacked 200: what was grid energy of the keeper's is none, and all is as it was.
    cellar.correct("carla", Counted(-150, 0, 0))
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla")) == (100, 100)
    assert (cellar.keep("anna").short_wh, cellar.keep("carla").burned_wh) == (0, 200)
    cellar.check()


async def test_what_is_not_reported_yet_is_just_reported_otherwise(cellar: Cellar) -> None:
    await cellar.kept()
    cellar.period(SUN)
    await keeper_moves_only(cellar)
    cellar.correct("carla", Counted(0, 500, 500))
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla")) == (750, 50)
    assert cellar.keep("carla").charged_wh == 100
    cellar.check()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(6))
async def test_a_node_that_dies_while_it_corrects_does_it_once(
    cellar: Cellar, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    await cellar.kept()
    cellar.period(SUN)
    await cellar.rounds()
    cellar.correct("carla", Counted(0, 500, 500))
    await dies_once(cellar, monkeypatch, step, after=after)
    await cellar.rounds()
    assert (cellar.has("anna"), cellar.has("carla"), cellar.supply) == (750, 50, 800)
    assert cellar.registers() == (1_600, 0)
    cellar.check()


async def test_a_period_that_can_no_longer_be_corrected_is_forgotten(cellar: Cellar) -> None:
    await cellar.kept()
    cellar.period(SUN)
    await cellar.rounds()
    (folder,) = cellar.place.glob("moved-*")
    assert [path.name for path in folder.iterdir()] == [f"{MIDNIGHT_S}.json"]
    late_s = MIDNIGHT_S + PERIOD_S + cellar.street.machine.rules().period.correction_s + 1
    cellar.node.final(late_s)
    await cellar.rounds()
    assert f"{MIDNIGHT_S}.json" not in [path.name for path in folder.iterdir()]


async def test_a_full_node_is_asked_again(cellar: Cellar) -> None:
    """The signed report stays the same one until it is known what became of it."""
    await cellar.kept()
    cellar.period(SUN)

    async def full(_envelope: bytes) -> bytes:
        raise Refused("this node is full", lasting=False)

    whole, cellar.node.submit_envelope = cellar.node.submit_envelope, full  # type: ignore[method-assign]
    keeper = cellar.keeper()
    await keeper._look_after("KEPT")
    found = keeper.kept("KEPT")
    assert found is not None and found.said == "this node is full; trying again" and found.charged_wh == 1_600
    sent = storekeeper._read(cellar.place / "stores.json")["KEPT"].sent
    await cellar.rounds(2)
    assert storekeeper._read(cellar.place / "stores.json")["KEPT"].sent == sent
    cellar.node.submit_envelope = whole  # type: ignore[method-assign]
    await cellar.rounds()
    cellar.check()


async def test_stopped_nothing_flows(cellar: Cellar) -> None:
    await cellar.kept()
    cellar.period(SUN)
    await cellar.rounds()
    keeper = cellar.keeper()
    await keeper.stop("KEPT")
    found = keeper.kept("KEPT")
    assert found is not None and found.battery == "stopped"
    cellar.period(DARK)
    await cellar.rounds()
    assert cellar.registers() == (1_600, 0)
    cellar.check()


async def test_only_what_is_here_is_kept(cellar: Cellar) -> None:
    stranger = Storekeeper(cellar.node, cellar.place / "stores.json", {}, simulated_batteries(cellar.place))
    for keeper, code in ((stranger, "KEPT"), (cellar.keeper(), "SUN")):
        with pytest.raises(NotHere, match="in no storage of this node"):
            await keeper.start(code, CAPACITY_WH, POWER_W)
        assert keeper.kept(code) is None


async def test_damaged_files_are_named(cellar: Cellar) -> None:
    await cellar.kept()
    cellar.period(SUN)
    await cellar.rounds()
    (path,) = cellar.place.glob("battery-*.json")
    path.write_text("{")
    with pytest.raises(ActuatorError, match=path.name):
        SimulatedBattery(path, 1, HALF_PPM).move(1, 1, 0)
    (cellar.place / "stores.json").write_text('{"KEPT": 1}')
    with pytest.raises(ConfigError, match=r"stores\.json"):
        cellar.keeper()


def test_a_simulated_battery_says_so_and_moves_once_for_each_number(tmp_path: Path) -> None:
    path = tmp_path / "battery.json"
    battery = SimulatedBattery(path, 100, HALF_PPM)
    assert battery.move(1, 150, 0) == battery.move(1, 999, 999) == (150, 0)
    # 75 Wh are in it: 25 Wh of room are 50 Wh of charge, and then 100 Wh come out.
    assert SimulatedBattery(path, 100, HALF_PPM).move(2, 80, 120) == (50, 100)
    assert battery.move(3, 0, 1) == (0, 0)
    assert "simulated" in battery.name and json.loads(path.read_text())["what"] == battery.name
