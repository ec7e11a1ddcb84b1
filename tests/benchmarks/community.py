"""Community: homes that report every quarter of an hour, and the blocks that their readings stand in.

Homes are simulated from seeds, or recorded ones of a table of hourly series; what they report is really signed, and
every block is made and executed as by the leader of the community. Nothing is checked on the way: it
is the benchmarks' part to execute the blocks again, and to come to the same state.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from drivers.home import HomeSeries
from drivers.households import home_names, read_home, read_table
from drivers.simulated import SimulatedHome
from meshnode.keys import SigningKey
from meshnode.settlement.closing import PeriodClosed
from protocols.block import Block, Parent, SignedRecord, sign_record
from protocols.records import DEFAULT_LIMITS, OpenCounters, Reading
from protocols.records.genesis import MAX_BLOCK_BYTES, MAX_MEMBERS
from tests.ledger.chain import PERIOD_S, Chain, member, meter_id, period_s
from tests.protocols.keys import seed_of
from tests.protocols.village import START_S
from zencode.presets import preset

FOUNDERS = ("anna", "bela", "carla")
DAY_S = 86_400
PERIODS_A_DAY = DAY_S // PERIOD_S
# Every third roof has panels.
PV_PEAK_W = (6000, 0, 0)
# Recorded homes that are used again begin five weeks later, so that no two live the same day.
HOURS_APART = 5 * 7 * 24
# A block has a reading of each of as many homes as a genesis can have.
LIMITS = msgspec.structs.replace(DEFAULT_LIMITS, max_block_records=MAX_MEMBERS, max_block_bytes=MAX_BLOCK_BYTES)
# What presets say of corrections, and what `corrections` makes of it.
PRESET_CORRECTIONS = "corrections are accepted for 2 days"


class Home(msgspec.Struct, frozen=True):
    """A home: its meter's key and id, and what it counts."""

    key: SigningKey
    meter: bytes
    series: HomeSeries

    def reading(self, period: int, chain_id: bytes) -> SignedRecord:
        """What its meter signs at the end of a period."""
        at = self.series.registers(period_s(period + 1))
        values = OpenCounters(import_wh=at.import_wh, export_wh=at.export_wh)
        record = Reading(meter=self.meter, period_start_s=period_s(period), values=values)
        return sign_record(record, chain_id, self.key.public, self.key.sign)


def found(homes: int, name: str, corrections: int | None = None) -> Chain:
    """The community at its genesis; the first three vote.

    Args:
        name: of a preset.
        corrections: for how many days they are accepted, if not as the preset says; as long the state
            keeps everything about a period.
    """
    entries = [
        member(home, ("administrator", "prosumer") if home == "anna" else ("prosumer",)) for home in _names(homes)
    ]
    text = preset(name)
    if corrections is not None:
        assert PRESET_CORRECTIONS in text, f"the preset {name} says nothing of {PRESET_CORRECTIONS!r}"
        text = text.replace(PRESET_CORRECTIONS, f"corrections are accepted for {corrections} days")
    return Chain(min(len(FOUNDERS), homes), binding=text, members=tuple(entries), limits=LIMITS)


def village(homes: int, table: Path | None = None) -> list[Home]:
    """The homes, with what their meters count: simulated, or of a table."""
    return [
        Home(SigningKey(seed_of(f"{name} meter")), meter_id(name), counted)
        for name, counted in zip(_names(homes), _series(homes, table), strict=True)
    ]


def made(chain: Chain, homes: list[Home], periods: int) -> Iterator[Block]:
    """A block with the baseline of every home, and one for each period with its readings; each closes its period.

    `chain.machine` executes them; it is at the last one's height when it is given out.
    """
    machine, parent = chain.machine, chain.head
    for period in range(-1, periods):
        state_hash = machine.state_hash()
        assert state_hash is not None
        head = {"time_s": period_s(period + 1) + 3, "state_height": machine.height, "state_hash": state_hash}
        records = [home.reading(period, chain.chain_id) for home in homes]
        block = chain.village.block(parent, chain.leader, chain.term, records, head=head)
        closed = [event for event in machine.apply(block) if isinstance(event, PeriodClosed)]
        assert len(closed) == (period >= 0), f"period {period}: {len(closed)} have closed"
        parent = Parent.of(block)
        yield block


def _names(homes: int) -> list[str]:
    return [*FOUNDERS, *(f"home {number}" for number in range(4, homes + 1))][:homes]


def _series(homes: int, table: Path | None) -> list[HomeSeries]:
    # Registers begin with a day, as simulated homes do; the first period has a baseline before it.
    start_s = START_S - START_S % DAY_S - DAY_S
    if table is None:
        return [
            SimulatedHome(number + 1, 2_500_000 + 40_000 * number, PV_PEAK_W[number % len(PV_PEAK_W)], start_s)
            for number in range(homes)
        ]
    text = read_table(table)
    recorded = home_names(text)
    return [
        read_home(table, text, recorded[number % len(recorded)], start_s, number // len(recorded) * HOURS_APART)
        for number in range(homes)
    ]
