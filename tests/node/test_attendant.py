"""Attendant: what a node was told to deliver it delivers, whenever it is started again, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshnode import controller
from meshnode.actuator import Actuator
from meshnode.attendant import Attendant
from meshnode.config import ConfigError
from meshnode.keys import SigningKey
from meshnode.market.delivery import Phase
from meshnode.web.backend import NotHere, Refused
from tests.ledger import delivering as say
from tests.ledger.chain import meter_id
from tests.node.station import CAP_WH, POWER_W, Station, meter_seed

BELA = meter_id("bela")
# A step is some milliseconds of real time, for the device is asked in a thread.
STEP_S = 0.01
STEPS = 1_000


class House(Station):
    """Bela's node, whose attendant may be gone and be started again."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.opened: list[int] = []
        self.meters = {BELA: SigningKey(meter_seed())}

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[Attendant]:
        """An attendant that runs for a while, and is then gone without a word."""

        def open_(meter: bytes, power_w: int) -> Actuator:
            assert meter == BELA
            self.opened.append(power_w)
            return self.charger()

        paper: Any = self.paper
        attendant = Attendant(paper, self.place / "attended.json", self.meters, open_)
        async with trio.open_nursery() as nursery:
            await nursery.start(attendant.run)
            yield attendant
            nursery.cancel_scope.cancel()

    async def until(self, phase: Phase, wh: int = 0) -> None:
        """Time goes by until the ledger has the session there."""
        for _ in range(STEPS):
            row = self.row
            if row.phase == phase and row.counter_wh - row.begin_wh >= wh:
                return
            self.clock._now_s += 1
            await trio.sleep(STEP_S)
        raise AssertionError(f"{self.row}: expected {phase!r}, {wh} Wh; {self.told}")

    async def until_left(self, attendant: Attendant) -> None:
        """Nobody attends it any more."""
        with trio.fail_after(10):
            while (found := attendant.attended(self.reserved.record_id)) and found.state != "given_up":
                await trio.sleep(STEP_S)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(controller, "RENEW_S", STEP_S)
    monkeypatch.setattr(controller, "AGAIN_S", STEP_S)
    return House(tmp_path)


async def test_what_was_started_goes_on_through_every_start_until_it_is_over(house: House) -> None:
    session = house.reserved.record_id
    async with house.attended() as attendant:
        await attendant.start(session, POWER_W)
        # Gone before it could say anything.
    for wanted_wh in (1, 500):
        async with house.attended() as attendant:
            await house.until(Phase.RUNNING, wanted_wh)
            await trio.testing.wait_all_tasks_blocked()
            found = attendant.attended(session)
            assert found is not None and found.state == "running" and "simulated" in found.actuator
    async with house.attended() as attendant:
        await house.until(Phase.ENDED)
        await house.until_left(attendant)
    row = house.row
    assert row.counter_wh - row.begin_wh == CAP_WH and set(house.opened) == {POWER_W}
    opened = len(house.opened)
    async with house.attended() as attendant:
        # It is over: nobody attends it, and to say so once more changes nothing.
        assert attendant.attended(session) is None
        await attendant.start(session, POWER_W)
        await attendant.stop(session)
        assert attendant.attended(session) is None and len(house.opened) == opened


async def test_a_stop_is_not_forgotten_either(house: House) -> None:
    """The node is told to stop and dies: it ends the session when it comes back, and releases nothing more."""
    session = house.reserved.record_id
    async with house.attended() as attendant:
        await attendant.start(session, POWER_W)
        await house.until(Phase.RUNNING, 1)
        deaf, house.paper.submit_envelope = house.paper.submit_envelope, away  # type: ignore[method-assign]
        await attendant.stop(session)
        found = attendant.attended(session)
        assert found is not None and found.state == "ending"
        with trio.fail_after(10):
            while "trying again" not in "".join(found.said):
                await trio.sleep(STEP_S)
                found = attendant.attended(session)
                assert found is not None
    counted_wh = house.charger().counter_wh()
    house.clock._now_s += 60
    house.paper.submit_envelope = deaf  # type: ignore[method-assign]
    async with house.attended() as attendant:
        await house.until(Phase.ENDED)
        await house.until_left(attendant)
    row = house.row
    assert row.counter_wh == house.charger().counter_wh() == counted_wh and row.counter_wh < CAP_WH


async def test_a_session_that_nobody_started_may_be_stopped(house: House) -> None:
    session = house.reserved.record_id
    async with house.attended() as attendant:
        await attendant.stop(session)
        await house.until_left(attendant)
    assert house.row.phase == Phase.RESERVED


async def test_only_what_is_here_is_attended(house: House) -> None:
    session = house.reserved.record_id
    house.meters.clear()
    async with house.attended() as attendant:
        for refused in (session, bytes(32)):
            with pytest.raises(NotHere):
                await attendant.start(refused, POWER_W)
            with pytest.raises(NotHere):
                await attendant.stop(refused)
    assert house.row.phase == Phase.RESERVED and not (house.place / "attended.json").exists()


async def test_what_cannot_be_noted_is_not_begun(house: House) -> None:
    """A disk that refuses is said to who asked; nothing flows that a restart would forget."""
    (house.place / "attended.new").mkdir()
    async with house.attended() as attendant:
        with pytest.raises(Refused, match=r"attended\.json"):
            await attendant.start(house.reserved.record_id, POWER_W)
        assert attendant.attended(house.reserved.record_id) is None
    assert house.opened == []


async def test_what_is_given_up_is_said_and_left_to_the_silence(house: House) -> None:
    session = house.reserved.record_id
    async with house.attended() as attendant:
        house.paper.submit_envelope = replaced  # type: ignore[method-assign]
        await attendant.start(session, POWER_W)
        await house.until_left(attendant)
        found = attendant.attended(session)
        assert found is not None and found.state == "given_up" and "the key was replaced" in found.said[0]
    async with house.attended() as attendant:
        assert attendant.attended(session) is None


async def test_a_point_has_one_delivery_at_a_time(house: House) -> None:
    """The next session begins when the attendant has left the one before."""
    async with house.attended() as attendant:
        await attendant.start(house.reserved.record_id, POWER_W)
        await house.until(Phase.ENDED)
        second = say.reserve(house.chain, "anna", "bela", CAP_WH)
        house.chain.block(second)
        first, house.reserved = house.reserved, second
        await attendant.start(second.record_id, POWER_W)
        await house.until(Phase.ENDED)
        await house.until_left(attendant)
    for one in (first, second):
        row = say.found(house.chain, one)
        assert row.counter_wh - row.begin_wh == CAP_WH
    assert house.charger().counter_wh() == 2 * CAP_WH


async def test_a_damaged_file_is_named(house: House) -> None:
    (house.place / "attended.json").write_text("[1]")
    with pytest.RaisesGroup(ConfigError, flatten_subgroups=True):
        async with house.attended():
            raise AssertionError("it runs")


async def away(_envelope: bytes) -> bytes:
    raise Refused("this node is full", lasting=False)


async def replaced(_envelope: bytes) -> bytes:
    raise Refused("the key was replaced")
