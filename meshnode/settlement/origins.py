"""Origins: where the energy of a period of the ledger came from; entered when no correction can change it any more.

Until a period is final its origin is worked out from the ledger as it stands, so a correction changes it as
if the right reading had been there from the start. When it is final, the storages' lots go on from there,
and what left the community is certified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from meshnode.amounts import split
from meshnode.ledger import certificates, installations, readings
from meshnode.ledger.certificates import CertificatesMoved
from meshnode.ledger.origin_rows import Installation, LotRow
from meshnode.ledger.state import State
from meshnode.origin import (
    CARBON_UNKNOWN,
    Battery,
    Carrier,
    Home,
    Kind,
    Lot,
    Move,
    Plant,
    Source,
    Traced,
    trace,
)
from meshnode.settlement.metered import Metered, Quality
from meshnode.settlement.period import Settlement
from meshnode.settlement.posting import POOL_ACCOUNT, Posting, Reason

# Ten days of charging in every quarter of an hour. A storage that is never emptied loses its oldest lots
# beyond that; if it gives them back after all, they count as energy from the grid.
MAX_STORED_LOTS = 1024

Storages = Mapping[bytes, tuple[Lot, ...]]
"""The lots in each storage, by device."""


class Inputs(msgspec.Struct, frozen=True):
    """What the origin of a period is worked out from, besides its settlement. Equal inputs give equal origins."""

    start_s: int
    electricity: tuple[Home, ...]
    heat: tuple[Home, ...]
    carbon_g_kwh: tuple[int, int]


class Origins(msgspec.Struct, frozen=True):
    """The origin of a period, for good. traced: electricity, then heat. moved: certificates that came of it."""

    traced: tuple[Traced, ...]
    moved: tuple[CertificatesMoved, ...]


def inputs(
    state: State, start_s: int, length_s: int, metered: Sequence[Metered], stored: Storages | None = None
) -> Inputs:
    """What the ledger knows of a closed period.

    Args:
        metered: what it is settled with.
        stored: lots in the storages at its beginning; default those that the ledger has, which are those
            at the beginning of the oldest period that is not final.
    """
    installed = installations.counting(state, start_s)
    lots = storages(state) if stored is None else stored
    electricity = tuple(_home(state, entry, installed, lots, start_s, length_s) for entry in metered)
    # Most communities share no heat: no meter has registers for it.
    heated = metered if len(state.more_registers) else ()
    heat = tuple(_heat(state, entry, installed, lots, start_s, length_s) for entry in heated)
    carbon = (
        installations.grid_carbon(state, Carrier.ELECTRICITY, start_s, CARBON_UNKNOWN),
        installations.grid_carbon(state, Carrier.HEAT, start_s, CARBON_UNKNOWN),
    )
    return Inputs(start_s, electricity, tuple(home for home in heat if home is not None), carbon)


def follow(found: Inputs, settlement: Settlement) -> tuple[Traced, ...]:
    """Trace a period: electricity by what its settlement delivered, heat shared by what was given and drawn.

    Raises:
        OriginError: the settlement delivers more than was exported or imported; our bug.
    """
    moves = [
        Move(*_ends(posting), posting.energy_wh)
        for posting in settlement.postings
        if posting.reason in (Reason.TRADE, Reason.PRICED)
    ]
    given, taken = _shared(settlement.postings)
    traced = trace(found.start_s, found.electricity, moves, given, taken, found.carbon_g_kwh[0])
    if not found.heat:
        return (traced,)
    given, taken = _shared_heat(found.heat)
    return traced, trace(found.start_s, found.heat, (), given, taken, found.carbon_g_kwh[1], Carrier.HEAT)


def finish(state: State, start_s: int, length_s: int, settlement: Settlement, metered: Sequence[Metered]) -> Origins:
    """Enter the origin of a period that has just become final."""
    traced = follow(inputs(state, start_s, length_s, metered), settlement)
    moved: list[CertificatesMoved] = []
    for one in traced:
        for storage in one.stored:
            _keep(state, storage.device, storage.removed, storage.left, storage.added)
        for account in sorted({owner for owner, _ in one.fed_in}):
            lots = [lot for owner, lot in one.fed_in if owner == account and _is_certified(lot)]
            moved += certificates.issue(state, account, one.carrier, lots)
    return Origins(traced, tuple(moved))


def storages(state: State) -> dict[bytes, tuple[Lot, ...]]:
    """The lots in every storage at the beginning of the oldest period that is not final."""
    found: dict[bytes, list[Lot]] = {}
    for (device, _), row in state.stored_lots.items():
        found.setdefault(device, []).append(Lot(*msgspec.structs.astuple(row)))
    return {device: tuple(lots) for device, lots in found.items()}


def after(before: Storages, traced: Sequence[Traced]) -> dict[bytes, tuple[Lot, ...]]:
    """The lots in every storage after a period."""
    changed = {one.device: one.lots[-MAX_STORED_LOTS:] for each in traced for one in each.stored}
    return {device: lots for device, lots in {**before, **changed}.items() if lots}


def has_storages(state: State) -> bool:
    """Whether one period's origin depends on the one before it."""
    return any(row.kind == Kind.STORAGE for _, row in state.installations.items())


def _home(
    state: State,
    entry: Metered,
    installed: list[tuple[bytes, Installation]],
    lots: Storages,
    start_s: int,
    length_s: int,
) -> Home:
    own = [item for item in installed if item[1].account == entry.account and item[1].carrier == Carrier.ELECTRICITY]
    batteries = []
    for device, row in own:
        if row.kind == Kind.STORAGE:
            more = readings.more_energy(state, row.meter, start_s, length_s)
            flows = (more.charged_wh, more.discharged_wh) if more else (0, 0)
            batteries.append(Battery(device, row.efficiency_ppm, *flows, lots.get(device, ())))
    plants = _plants(state, entry, own, start_s, length_s)
    return Home(entry.account, entry.import_wh, entry.export_wh, plants, tuple(batteries))


def _plants(
    state: State, entry: Metered, own: list[tuple[bytes, Installation]], start_s: int, length_s: int
) -> tuple[Plant, ...]:
    """What each plant made; what was estimated, or nobody has confirmed, has no better name than its member's."""
    left_wh = entry.produced_wh or 0
    found = []
    if entry.quality != Quality.ESTIMATED:
        for device, row in own:
            part = readings.energy(state, row.meter, start_s, length_s) if row.kind == Kind.PRODUCTION else None
            if part is not None and 0 < part.produced_wh <= left_wh:
                found.append(Plant(device, row.source, row.carbon_g_kwh, part.produced_wh))
                left_wh -= part.produced_wh
    if left_wh:
        found.append(Plant(entry.account, Source.UNVERIFIED, CARBON_UNKNOWN, left_wh))
    return tuple(found)


def _heat(
    state: State,
    entry: Metered,
    installed: list[tuple[bytes, Installation]],
    lots: Storages,
    start_s: int,
    length_s: int,
) -> Home | None:
    """The heat of a member; None if it has no meter for it. What it gives and draws at once is its own."""
    own = {
        row.meter: (device, row)
        for device, row in installed
        if (row.account, row.carrier, row.kind) == (entry.account, Carrier.HEAT, Kind.PRODUCTION)
    }
    drawn_wh = given_wh = 0
    plants: list[Plant] = []
    unverified_wh = 0
    for meter, _ in state.meters.of_account(entry.account):
        more = readings.more_energy(state, meter, start_s, length_s)
        if more is None:
            continue
        drawn_wh += more.heat_import_wh
        given_wh += more.heat_export_wh
        if more.heat_export_wh and meter in own:
            device, row = own[meter]
            plants.append(Plant(device, row.source, row.carbon_g_kwh, more.heat_export_wh))
        else:
            unverified_wh += more.heat_export_wh
    if unverified_wh:
        plants.append(Plant(entry.account, Source.UNVERIFIED, CARBON_UNKNOWN, unverified_wh))
    both_wh = min(drawn_wh, given_wh)
    if not drawn_wh and not given_wh:
        return None
    return Home(entry.account, drawn_wh - both_wh, given_wh - both_wh, tuple(plants))


def _ends(posting: Posting) -> tuple[bytes, bytes]:
    """(giver, taker): a price below zero turns the legs of the money around."""
    legs = (posting.credit, posting.debit)
    return legs if posting.price_u_kwh >= 0 else legs[::-1]


def _shared(postings: Sequence[Posting]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """What was given to the pool and taken from it, by account."""
    given: dict[bytes, int] = {}
    taken: dict[bytes, int] = {}
    for posting in postings:
        if posting.reason is Reason.SHARED:
            giver, taker = _ends(posting)
            side, account = (taken, taker) if giver == POOL_ACCOUNT else (given, giver)
            side[account] = side.get(account, 0) + posting.energy_wh
    return given, taken


def _shared_heat(homes: Sequence[Home]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """A heat network is one pipe: what was given is everybody's who draws, in proportion."""
    given = {home.account: home.export_wh for home in homes}
    taken = {home.account: home.import_wh for home in homes}
    shared_wh = min(sum(given.values()), sum(taken.values()))
    return split(shared_wh, given.items()), split(shared_wh, taken.items())


def _is_certified(lot: Lot) -> bool:
    """Whether a confirmed plant made it and a meter measured it; it may have been in a storage since."""
    return bool(lot.issuance) and lot.source != Source.UNVERIFIED


def _keep(state: State, device: bytes, removed: int, left: Sequence[Lot], added: Sequence[Lot]) -> None:
    """Write what changed in a storage."""
    known = [key for key, _ in state.stored_lots.range((device, 0), (device + b"\0", 0))]
    for key in known[:removed]:
        state.stored_lots.delete(key)
    if left and LotRow(*msgspec.structs.astuple(left[0])) != state.stored_lots[known[removed]]:
        state.stored_lots.put(known[removed], LotRow(*msgspec.structs.astuple(left[0])))
    number = known[-1][1] + 1 if known else 0
    for offset, lot in enumerate(added):
        state.stored_lots.put((device, number + offset), LotRow(*msgspec.structs.astuple(lot)))
    held = [key for key, _ in state.stored_lots.range((device, 0), (device + b"\0", 0))]
    for key in held[: max(0, len(held) - MAX_STORED_LOTS)]:
        state.stored_lots.delete(key)
