"""Controller and simulated charger: whoever dies and whenever, the meter tells what was delivered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshnode.actuator import SimulatedCharger
from meshnode.client import ClientError
from meshnode.controller import Controller
from meshnode.keys import SigningKey
from meshnode.ledger.verdicts import SENTENCES
from protocols.block import SignedRecord, read_record
from protocols.records import TICK_BEGIN, TICK_END, Tick
from tests.ledger import delivering as say
from tests.ledger import tokens
from tests.ledger.chain import Chain, meter_key
from tests.protocols.keys import seed_of
from tests.web.hand_made import SetClock

POWER_W = 36_000  # 10 Wh a second
CAP_WH = 2_000


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


class Paper:
    """The node that a controller asks: a ledger on paper; `deaf` requests from now on get no answer.

    In doubt, the record is on the ledger all the same, as when a node dies between block and answer.
    """

    def __init__(self, chain: Chain, clock: SetClock) -> None:
        self.chain = chain
        self.deaf = 0
        self._clock = clock

    async def get(self, path: str, **_params: object) -> Any:
        self._answer()
        name = path.rpartition("/")[2]
        if "records" in path:
            verdict = self.chain.verdicts()[0]
            fields = {"status": "final", "record_id": name, "verdict": verdict.name, "sentence": SENTENCES[verdict]}
            return fields | {"height": self.chain.machine.height}
        row = self.chain.machine.state.deliveries[bytes.fromhex(name)]
        shown = ("begin_wh", "counter_wh", "purchased_wh", "ticked_s", "heard_s", "paid", "fee")
        phase = ("reserved", "running", "ended", "cancelled")[row.phase]
        return {"phase": phase, **{field: getattr(row, field) for field in shown}}

    async def post(self, _path: str, envelope: bytes) -> Any:
        signed: SignedRecord = read_record(envelope, self.chain.chain_id)
        self.chain.block(signed, time_s=max(self.chain.now_s + 1, self._clock.now_s()))
        self._answer()
        return {"record_id": signed.record_id.hex()}

    def _answer(self) -> None:
        if self.deaf:
            self.deaf -= 1
            raise ClientError("no answer")


@pytest.mark.parametrize("deaths", [(), (0,), (1,), (2,), (3,), (0, 1, 2, 3, 4, 5)], ids=str)
async def test_a_controller_that_dies_at_any_step_goes_on_by_the_meter(
    tmp_path: Path, autojump_clock: object, deaths: tuple[int, ...]
) -> None:
    """After each of its requests it may be gone, and another one starts with nothing but the ledger and the meter."""
    chain = Chain()
    chain.block(tokens.money(chain))
    chain.block(tokens.pay_in(chain, "anna", 7_000_000, "bank 1"), say.station(chain, "bela"))
    reserved = say.reserve(chain, "anna", "bela", CAP_WH)
    chain.block(reserved)
    clock = SetClock(chain.now_s + 10)
    paper, told = Paper(chain, clock), list[str]()
    charger = SimulatedCharger(tmp_path / "charger.json", lambda: float(clock._now_s), POWER_W)
    key = SigningKey(meter_seed())

    async def step() -> Any:
        controller = Controller(paper, chain.chain_id, key, charger, clock, told.append, 1800)  # type: ignore[arg-type]
        return await controller._step(reserved.record_id.hex())

    found = None
    for number in range(200):
        if number in deaths:
            paper.deaf = 1
            with pytest.raises(ClientError):
                await step()
            continue
        found = await step()
        clock._now_s += 7
        if found:
            break
    assert found is not None and found["phase"] == "ended"
    row = say.found(chain, reserved)
    assert row.counter_wh - row.begin_wh == charger.counter_wh() == CAP_WH
    assert (row.paid, row.fee) == (500_000, 560_000) and tokens.has(chain, "anna", "EURO") == (7_000_000 - 1_060_000, 0)
    signs = [
        record.record.sign for block in chain.blocks for record in block.records if isinstance(record.record, Tick)
    ]
    assert signs[0] == TICK_BEGIN and signs[-1] == TICK_END and len(signs) < 10


def meter_seed() -> bytes:
    """The seed of bela's meter key."""
    seed = seed_of("bela meter")
    assert SigningKey(seed).public == meter_key("bela").public
    return seed
