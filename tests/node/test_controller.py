"""Controller and simulated charger: whoever dies and whenever, the meter tells what was delivered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from meshnode import controller
from meshnode.actuator import SimulatedCharger
from meshnode.controller import GivenUp
from meshnode.market.delivery import Phase
from meshnode.web.backend import Refused
from protocols.records import TICK_BEGIN, TICK_END, Tick
from tests.ledger import tokens
from tests.node.station import CAP_WH, POWER_W, Station


class Hand:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def __call__(self) -> float:
        return self.time_s


def test_a_charger_stops_by_itself(tmp_path: Path) -> None:
    """At its limit, and when nobody renews it; and it goes on counting while nobody looks."""
    now = Hand()
    charger = SimulatedCharger(tmp_path / "charger.json", now, POWER_W)
    assert charger.counter_wh() == 0
    charger.release(500, 1030)
    now.time_s = 1020.0
    # Another process looks at the same charger.
    assert SimulatedCharger(tmp_path / "charger.json", now, 1).counter_wh() == 200
    now.time_s = 2000.0
    assert charger.counter_wh() == 300
    charger.release(500, 9999)
    now.time_s = 3000.0
    assert charger.counter_wh() == 500
    charger.stop()
    now.time_s = 4000.0
    assert charger.counter_wh() == 500
    # A limit that is below the counter lets nothing flow, and never turns it back.
    charger.release(400, 9999)
    now.time_s = 4100.0
    assert charger.counter_wh() == 500


def test_a_simulated_charger_says_so(tmp_path: Path) -> None:
    charger = SimulatedCharger(tmp_path / "charger.json", Hand())
    charger.stop()
    assert "simulated" in charger.name and "simulated" in json.loads((tmp_path / "charger.json").read_text())["what"]


@pytest.mark.parametrize("deaths", [(), (0,), (1,), (2,), (3,), (0, 1, 2, 3, 4, 5)], ids=str)
async def test_a_controller_that_dies_at_any_step_goes_on_by_the_meter(tmp_path: Path, deaths: tuple[int, ...]) -> None:
    """After each of its questions it may be gone, and another one starts with nothing but the ledger and the meter."""
    station = Station(tmp_path)
    for number in range(max(deaths, default=-1) + 1):
        if number in deaths:
            dying = station.controller()
            station.paper.deaf = 1
            with pytest.raises(Refused):
                await dying._step()
        else:
            await station.step()
            station.clock._now_s += 7
    await station.until_over()
    row = station.row
    assert row.counter_wh - row.begin_wh == station.charger().counter_wh() == CAP_WH
    assert (row.paid, row.fee) == (500_000, 560_000)
    assert tokens.has(station.chain, "anna", "EURO") == (7_000_000 - 1_060_000, 0)
    blocks = station.chain.blocks
    signs = [one.record.sign for block in blocks for one in block.records if isinstance(one.record, Tick)]
    assert signs[0] == TICK_BEGIN and signs[-1] == TICK_END and len(signs) < 10


async def test_a_delivery_that_is_stopped_ends_with_what_the_meter_shows(tmp_path: Path) -> None:
    station = Station(tmp_path)
    for _ in range(3):
        assert not await station.step()
        station.clock._now_s += 7
    station.ending = True
    await station.until_over()
    row = station.row
    assert row.phase == Phase.ENDED and 0 < row.counter_wh - row.begin_wh < CAP_WH
    assert row.counter_wh == station.charger().counter_wh()


async def test_what_has_not_begun_is_left_to_who_pays(tmp_path: Path) -> None:
    station = Station(tmp_path)
    station.ending = True
    assert await station.step()
    assert station.row.phase == Phase.RESERVED and not station.told


async def test_nothing_flows_that_nobody_would_pay_for(tmp_path: Path) -> None:
    """While no tick becomes final the escrow ends at the deadline, and so does the energy."""
    station = Station(tmp_path)
    assert not await station.step()
    row = station.row
    for _ in range(100):
        # The ticks are on their way, and no block takes them.
        station.paper.submit_envelope = unheard  # type: ignore[method-assign]
        assert not await station.step()
        station.clock._now_s += 7
        if station.clock.now_s() > row.deadline_s + 60:
            break
    before_wh = station.charger().counter_wh()
    most_s = row.deadline_s - row.heard_s
    assert 0 < before_wh - row.begin_wh <= most_s * POWER_W // 3600


async def unheard(_envelope: bytes) -> bytes:
    return bytes(32)


async def test_a_tick_that_no_node_takes_ends_the_flow(tmp_path: Path) -> None:
    station = Station(tmp_path)
    assert not await station.step()
    station.clock._now_s += 70

    async def refuse(_envelope: bytes) -> bytes:
        raise Refused("the key was replaced")

    station.paper.submit_envelope = refuse  # type: ignore[method-assign]
    with pytest.raises(GivenUp, match="the key was replaced"):
        await station.controller().run()
    counted_wh = station.charger().counter_wh()
    station.clock._now_s += 70
    assert station.charger().counter_wh() == counted_wh


async def test_a_device_that_fails_at_the_end_takes_nothing_else_down(tmp_path: Path) -> None:
    """Its lease runs out; what was delivered is settled by the silence."""
    station = Station(tmp_path)
    assert not await station.step()

    async def refuse(_envelope: bytes) -> bytes:
        (tmp_path / "charger.new").mkdir()
        raise Refused("the key was replaced")

    station.paper.submit_envelope = refuse  # type: ignore[method-assign]
    station.clock._now_s += 70
    with pytest.raises(GivenUp, match="the key was replaced"):
        await station.controller().run()
    assert "it stops by itself" in station.told[-1]


async def test_a_device_that_fails_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A charger whose file is damaged stops nothing else, and says what to do."""
    # The device is asked in a thread, which no virtual clock waits for.
    monkeypatch.setattr(controller, "AGAIN_S", 0.01)
    station = Station(tmp_path)
    (tmp_path / "charger.json").write_text("no JSON")
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(station.controller().run)
            while len(station.told) < 3:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert "charger.json" in station.told[0] and "trying again" in station.told[0]
