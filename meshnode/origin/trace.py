"""Trace: one period's lots, from plants, storages and the grid to those who used, stored or exported them.

Inside a home its own energy goes, oldest first, to what the home uses, then into its storages, and the
rest out of the meter; what the home imports covers the rest of its use first, neighbours' before the
grid's. So a storage is charged with what is left over, and never called green where that was grid energy.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from meshnode.origin.lots import CARBON_UNKNOWN, Lot, Queue, discharge, from_grid, issuance_id, size_wh
from meshnode.origin.sources import Carrier, Source


class OriginError(RuntimeError):
    """Flows that do not add up: our bug. Names the period, the member and the numbers."""


class Way(enum.IntEnum):
    """How energy reached who used it. Codes are stored."""

    OWN = 1
    """From the member's own plants and storages, behind the meter."""
    NEIGHBOURS = 2
    """From other members, traded or shared."""
    GRID = 3
    """From outside the community."""


class Plant(msgspec.Struct, frozen=True):
    """What one plant made in the period; see `Lot` for the fields."""

    device: bytes
    source: int
    carbon_g_kwh: int
    produced_wh: int


class Battery(msgspec.Struct, frozen=True):
    """One storage in the period. stored: its lots at the beginning, oldest first."""

    device: bytes
    efficiency_ppm: int
    charged_wh: int
    discharged_wh: int
    stored: tuple[Lot, ...] = ()


class Home(msgspec.Struct, frozen=True):
    """One member in the period. import_wh, export_wh: at the connection point."""

    account: bytes
    import_wh: int
    export_wh: int
    plants: tuple[Plant, ...] = ()
    batteries: tuple[Battery, ...] = ()


class Move(msgspec.Struct, frozen=True):
    """Energy that one member delivered to another by a trade."""

    giver: bytes
    taker: bytes
    wh: int


class Share(msgspec.Struct, frozen=True):
    """A part of what a member used."""

    account: bytes
    way: int
    lot: Lot


class Stored(msgspec.Struct, frozen=True):
    """A storage after the period. removed: lots that are gone; left: what remains of the others; added: new ones."""

    device: bytes
    removed: int
    left: tuple[Lot, ...]
    added: tuple[Lot, ...]

    @property
    def lots(self) -> tuple[Lot, ...]:
        """All of it, oldest first."""
        return (*self.left, *self.added)


class Traced(msgspec.Struct, frozen=True):
    """What became of every Wh.

    Fields:
        shares: what was used, by account; within one: own, neighbours, grid.
        fed_in: (account, lot) that left the community.
        stored: each storage, by device.
        cancelled: (storage, lot) that was lost in it.
    """

    period_s: int
    carrier: int
    shares: tuple[Share, ...]
    fed_in: tuple[tuple[bytes, Lot], ...]
    stored: tuple[Stored, ...]
    cancelled: tuple[tuple[bytes, Lot], ...]


def trace(
    period_s: int,
    homes: Sequence[Home],
    moves: Sequence[Move] = (),
    given_wh: Mapping[bytes, int] | None = None,
    taken_wh: Mapping[bytes, int] | None = None,
    grid_carbon_g_kwh: int = CARBON_UNKNOWN,
    carrier: Carrier = Carrier.ELECTRICITY,
) -> Traced:
    """Follow every Wh of one period.

    Args:
        homes: every member that is metered, once; any order.
        moves: what trades delivered, in fill order.
        given_wh, taken_wh: by account, what was shared without naming a partner; both sum to the same.
        grid_carbon_g_kwh: of a kWh from the grid.
    Raises:
        OriginError: more is given or taken than was exported or imported.
    """
    flows = {home.account: _Flow(home, period_s, carrier, grid_carbon_g_kwh) for home in homes}
    ordered = [flows[account] for account in sorted(flows)]
    for move in moves:
        flows[move.taker].imported += flows[move.giver].give(move.wh)
    for giver, taker, wh in matched(dict(given_wh or {}), dict(taken_wh or {})):
        flows[taker].imported += flows[giver].give(wh)
    for flow in ordered:
        flow.finish()
    traced = Traced(
        period_s,
        int(carrier),
        tuple(share for flow in ordered for share in flow.shares),
        tuple((flow.home.account, lot) for flow in ordered for lot in flow.exported.rest()),
        tuple(sorted((one for flow in ordered for one in flow.stored), key=lambda one: one.device)),
        tuple(lost for flow in ordered for lost in flow.cancelled),
    )
    _check(traced, ordered)
    return traced


def matched(given_wh: dict[bytes, int], taken_wh: dict[bytes, int]) -> list[tuple[bytes, bytes, int]]:
    """Who got whose shared energy: (giver, taker, Wh), givers and takers by account id, nobody from himself.

    Whoever gives and takes must find others for both. An account is served at once when the others have
    no more left than it needs of them; until then it is first come first served.

    Raises:
        OriginError: the sums differ, or somebody would have to take from himself.
    """
    left = sum(given_wh.values())
    if left != sum(taken_wh.values()):
        raise OriginError(f"{left} Wh were given and {sum(taken_wh.values())} Wh taken")
    both = sorted(account for account in given_wh.keys() & taken_wh.keys() if given_wh[account] and taken_wh[account])
    givers, takers = sorted(given_wh), sorted(taken_wh)
    found = []
    while left:
        spare = {account: left - given_wh[account] - taken_wh[account] for account in both}
        urgent = [account for account, wh in spare.items() if wh <= 0 and given_wh[account] + taken_wh[account]]
        giver, taker = _pair(givers, takers, given_wh, taken_wh, urgent)
        wh = min(given_wh[giver], taken_wh[taker])
        # Whoever stands aside must still find others afterwards.
        wh = min([wh, *(room for account, room in spare.items() if account not in (giver, taker))])
        if wh < 1:
            raise OriginError(f"{left} Wh are left to share, and {giver.hex()} would take from himself")
        given_wh[giver] -= wh
        taken_wh[taker] -= wh
        left -= wh
        found.append((giver, taker, wh))
    return found


def _pair(
    givers: list[bytes], takers: list[bytes], given: dict[bytes, int], taken: dict[bytes, int], urgent: list[bytes]
) -> tuple[bytes, bytes]:
    """The next giver and taker: first of those who have something, the urgent before the others."""
    pairs = (
        (giver, taker)
        for giver in givers
        if given[giver]
        for taker in takers
        if taken[taker] and giver != taker and all(account in (giver, taker) for account in urgent)
    )
    found = next(pairs, None)
    if found is None:
        raise OriginError(f"nobody is left for {', '.join(account.hex() for account in urgent) or 'the rest'}")
    return found


class _Flow:
    """One home while its period is traced."""

    def __init__(self, home: Home, period_s: int, carrier: Carrier, grid_carbon: int) -> None:
        self.home = home
        self.imported: tuple[Lot, ...] = ()
        self.stored: list[Stored] = []
        self.cancelled: list[tuple[bytes, Lot]] = []
        self.made_wh = self.missing_wh = self.grid_wh = 0
        self._numbers: dict[bytes, int] = {}
        self._carrier, self._period_s, self._grid_carbon = carrier, period_s, grid_carbon
        self._queues = {battery.device: Queue(battery.stored) for battery in home.batteries}
        own = Queue()
        for battery in home.batteries:
            own.add(self._discharged(battery))
        for plant in home.plants:
            own.add(self._made(plant))
        if own.wh < home.export_wh:
            # More went out than any meter saw being made.
            unseen = Plant(home.account, Source.UNVERIFIED, CARBON_UNKNOWN, home.export_wh - own.wh)
            own.add(self._made(unseen))
        kept_wh = own.wh - home.export_wh
        charged_wh = sum(battery.charged_wh for battery in home.batteries)
        self._charged_wh = min(charged_wh, kept_wh + home.import_wh)
        self._used_wh = kept_wh + home.import_wh - self._charged_wh
        self._own = own.take(min(self._used_wh, kept_wh))
        self._to_store = own.take(kept_wh - size_wh(self._own))
        self.exported = own
        self.shares: list[Share] = []

    def give(self, wh: int) -> tuple[Lot, ...]:
        """What a neighbour gets."""
        try:
            return self.exported.take(wh)
        except ValueError as error:
            raise OriginError(
                f"period {self._period_s}, {self.home.account.hex()}: {error} that it exported"
            ) from error

    def finish(self) -> None:
        """The rest of what was imported is the grid's; what the home did not use is in its storages."""
        account = self.home.account
        self.grid_wh = self.home.import_wh - size_wh(self.imported)
        if self.grid_wh < 0:
            over_wh = -self.grid_wh
            raise OriginError(f"period {self._period_s}, {account.hex()}: {over_wh} Wh more delivered than imported")
        imported = Queue(self.imported)
        imported.add(from_grid(self._period_s, self.grid_wh, self._grid_carbon))
        needed_wh = self._used_wh - size_wh(self._own)
        near_wh = min(needed_wh, size_wh(self.imported))
        near, far = imported.take(near_wh), imported.take(needed_wh - near_wh)
        sources = ((Way.OWN, self._own), (Way.NEIGHBOURS, near), (Way.GRID, far))
        self.shares += [Share(account, way, lot) for way, lots in sources for lot in lots]
        charge = Queue((*self._to_store, *imported.rest()))
        for battery in self.home.batteries:
            left = self._queues[battery.device].rest()
            added = charge.take(min(battery.charged_wh, charge.wh))
            self.stored.append(Stored(battery.device, len(battery.stored) - len(left), left, added))

    def _discharged(self, battery: Battery) -> tuple[Lot, ...]:
        out = discharge(self._queues[battery.device], battery.discharged_wh, battery.efficiency_ppm, battery.device)
        self.cancelled += [(battery.device, lot) for lot in out.cancelled]
        self.missing_wh += out.missing_wh
        missing = from_grid(self._period_s, out.missing_wh, self._grid_carbon, battery.device)
        return (*out.delivered, *missing)

    def _made(self, plant: Plant) -> tuple[Lot, ...]:
        if not plant.produced_wh:
            return ()
        self.made_wh += plant.produced_wh
        first = self._numbers.get(plant.device, 0)
        self._numbers[plant.device] = first + plant.produced_wh
        issuance = issuance_id(plant.device, self._carrier, self._period_s)
        facts = (self.home.account, int(plant.source), plant.carbon_g_kwh, self._period_s)
        return (Lot(issuance, plant.device, *facts, first, plant.produced_wh),)


def _check(traced: Traced, flows: Sequence[_Flow]) -> None:
    """Nothing was made or lost: what came in is what was used, stored, lost or fed in, and no name stands twice."""
    before_wh = sum(size_wh(battery.stored) for flow in flows for battery in flow.home.batteries)
    came_wh = before_wh + sum(flow.made_wh + flow.missing_wh + flow.grid_wh for flow in flows)
    after = [lot for one in traced.stored for lot in one.lots]
    used = [share.lot for share in traced.shares]
    lost, fed = [lot for _, lot in traced.cancelled], [lot for _, lot in traced.fed_in]
    went = (*used, *lost, *fed, *after)
    if size_wh(went) != came_wh:
        raise OriginError(f"period {traced.period_s}: {came_wh} Wh came in, {size_wh(went)} Wh are traced")
    twice = overlap(went)
    if twice is not None:
        raise OriginError(f"period {traced.period_s}: Wh {twice.first} of {twice.device.hex()} stands twice")


def overlap(lots: Sequence[Lot]) -> Lot | None:
    """A lot whose first Wh is in another one too; None if every Wh stands once."""
    named = sorted((lot for lot in lots if lot.issuance), key=lambda lot: (lot.issuance, lot.first))
    for before, after in pairwise(named):
        if before.issuance == after.issuance and before.first + before.wh > after.first:
            return after
    return None
