"""Billing: four homes in a village whose binding bills every hour, with national rules that an administrator sets."""

from __future__ import annotations

from typing import Any

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement import GRID_ACCOUNT, fund_account
from protocols.block import SignedRecord
from protocols.records import CompensationSet, IncentiveSet, LocationSet
from tests.ledger import credit as say
from tests.ledger.chain import Chain, account, period_s
from zencode.presets import preset

HOMES = ("anna", "bela", "carla", "dora")
SHARES = {"anna": 50, "bela": 30, "carla": 20}
SHARE = "share production at the mid-market rate"
FUND = "energy poverty"
# Spain: .5/.3/.2 of 2000 Wh from the roof.
GOLDEN = {"anna": (600, 0), "bela": (900, 0), "carla": (100, 0), "dora": (0, 2_000)}


def binding(how: str = "share production by fixed allocation shares", bills: str = "60 minutes") -> str:
    """The mid-market village, which shares so and bills every hour; the grid takes 0.30 and pays 0.08."""
    text = preset("mid_market_village").replace("bills are issued every 1 month", f"bills are issued every {bills}")
    given = [f"And '{name}' has an allocation share of {share} %" for name, share in SHARES.items()]
    if "fixed" in how:
        text = text.replace("And there is a role 'admin'", "\n".join([*given, "And there is a role 'admin'"]))
    return text.replace(SHARE, how)


class Village:
    """Four homes that report every quarter of an hour what the story says: (taken, given) in Wh."""

    def __init__(self, text: str, **changes: Any) -> None:
        self.chain = Chain(4, binding=text, **changes)
        self.registers = dict.fromkeys(HOMES, (0, 0))
        self.chain.block(*(self.chain.reading(home, -1, 0) for home in HOMES))
        self.period = 0

    def quarter(self, silent: str | None = None, **energies: tuple[int, int]) -> list[Event]:
        """A period passes and is closed; what happened."""
        for home, (taken, given) in energies.items():
            before = self.registers[home]
            self.registers[home] = before[0] + taken, before[1] + given
        found = [self.reading(home) for home in HOMES if home != silent]
        end_s = period_s(self.period + 1)
        self.chain.block(*found, time_s=max(end_s, self.chain.now_s) + 1)
        events = list(self.chain.events[self.chain.machine.height])
        if silent is not None:
            self.chain.block(time_s=end_s + 130)
            events += self.chain.events[self.chain.machine.height]
        self.period += 1
        return events

    def reading(self, home: str, period: int | None = None, **changes: Any) -> SignedRecord:
        return self.chain.reading(home, self.period if period is None else period, *self.registers[home], **changes)

    def late(self, home: str, period: int, registers: tuple[int, int], version: int = 0) -> list[Event]:
        """A reading of a period that is closed."""
        assert self.chain.say(self.chain.reading(home, period, *registers, version=version)) == Verdict.ACCEPTED
        return list(self.chain.events[self.chain.machine.height])

    def claims(self) -> dict[str, int]:
        names = {account(home): home for home in HOMES} | {GRID_ACCOUNT: "grid", fund_account(FUND): "fund"}
        return {names[one]: amount for one, amount in self.chain.claims().items()}


def spanish(**changes: Any) -> Village:
    """From the next period on surplus is compensated; the first quarter passes without anything."""
    village = Village(binding(**changes))
    assert village.chain.say(say.parameter(village.chain, CompensationSet(applies=1))) == Verdict.ACCEPTED
    village.quarter()
    return village


def italian(**changes: Any) -> Village:
    """Anna, bela and dora hang on one substation, carla on another; 0.11 a kWh, of which a tenth is for the fund."""
    village = Village(binding("share production in proportion to use"), **changes)
    places = {"anna": "AC1", "bela": "AC1", "carla": "AC2", "dora": "AC1"}
    step = IncentiveSet(incentive_u_kwh=110_000, producers_ppm=450_000, consumers_ppm=450_000, fund=FUND)
    said = village.chain.say(
        say.parameter(village.chain, step),
        *(
            say.parameter(village.chain, LocationSet(account=account(home), levels=(at,)))
            for home, at in places.items()
        ),
    )
    assert said == [Verdict.ACCEPTED] * 5
    for _ in range(4):
        village.quarter()
    return village
