"""Station: bela's charging station on paper, with a session of anna's, for whoever tests what drives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshnode.actuator import SimulatedCharger
from meshnode.controller import Controller
from meshnode.keys import SigningKey
from meshnode.ledger.verdicts import SENTENCES
from meshnode.machine import Machine
from meshnode.web.backend import Outcome, Refused
from protocols.block import SignedRecord, read_record
from tests.ledger import delivering as say
from tests.ledger import tokens
from tests.ledger.chain import Chain, meter_key
from tests.protocols.keys import seed_of
from tests.web.hand_made import SetClock

POWER_W = 36_000  # 10 Wh a second
CAP_WH = 2_000


class Paper:
    """The node that a controller asks: a ledger on paper; `deaf` questions from now on get no answer.

    A record that was handed in stands on the ledger all the same, as when a node is full between block and answer.
    """

    def __init__(self, chain: Chain, clock: SetClock) -> None:
        self.chain = chain
        self.deaf = 0
        self.clock = clock
        self.chain_id = chain.chain_id

    @property
    def machine(self) -> Machine:
        if self.deaf:
            self.deaf -= 1
            raise Refused("this node is full", lasting=False)
        return self.chain.machine

    async def outcome(self, record_id: bytes, _wait_s: float, _valid_until_s: int | None = None) -> Outcome:
        verdict = self.chain.verdicts()[0]
        return Outcome("final", record_id.hex(), self.chain.machine.height, verdict.name, SENTENCES[verdict], b"")

    async def submit_envelope(self, envelope: bytes) -> bytes:
        signed: SignedRecord = read_record(envelope, self.chain.chain_id)
        self.chain.block(signed, time_s=max(self.chain.now_s + 1, self.clock.now_s()))
        if self.deaf:
            self.deaf -= 1
            raise Refused("this node is full", lasting=False)
        return signed.record_id


class Station:
    """Bela's charging station, with a session of Anna's that is reserved."""

    def __init__(self, place: Path) -> None:
        self.chain = Chain()
        self.chain.block(tokens.money(self.chain))
        paid = tokens.pay_in(self.chain, "anna", 7_000_000, "bank 1")
        self.chain.block(paid, say.station(self.chain, "bela"))
        self.reserved = say.reserve(self.chain, "anna", "bela", CAP_WH)
        self.chain.block(self.reserved)
        self.clock = SetClock(self.chain.now_s + 10)
        self.paper = Paper(self.chain, self.clock)
        self.told: list[str] = []
        self.place = place
        self.ending = False

    @property
    def row(self) -> Any:
        """The session on the ledger."""
        return say.found(self.chain, self.reserved)

    def charger(self) -> SimulatedCharger:
        return SimulatedCharger(self.place / "charger.json", lambda: float(self.clock._now_s), POWER_W)

    def controller(self) -> Controller:
        key, reserved = SigningKey(meter_seed()), self.reserved.record_id
        paper: Any = self.paper
        return Controller(paper, reserved, key, self.charger(), self.told.append, lambda: self.ending)

    async def step(self) -> bool:
        """One step of a controller that has just been started."""
        return await self.controller()._step()

    async def until_over(self) -> None:
        for _ in range(200):
            if await self.step():
                return
            self.clock._now_s += 7
        raise AssertionError(f"it goes on for ever: {self.told}")


def meter_seed() -> bytes:
    """The seed of bela's meter key."""
    seed = seed_of("bela meter")
    assert SigningKey(seed).public == meter_key("bela").public
    return seed
