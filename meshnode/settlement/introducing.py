"""Introducing: plants, batteries and charging points that exist because the binding says so.

A device is there from the block on by which its owner is a member and its meter is known, and nobody's record is
needed; a record that sets the same thing overrides the sentence from then on. What a sentence says under conditions
is asked at every block for the settlement period that runs, so the rows always show what holds now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from meshnode.amounts import PPM
from meshnode.effects import Facts, Outcome
from meshnode.ledger import assets, delivery_rows, energy_rows, installations, minting, rows
from meshnode.ledger.energy_rows import BATTERY, PLANT, POINT, STORED, Introduced
from meshnode.ledger.origin_rows import Installation
from meshnode.ledger.state import State
from meshnode.origin import CARBON_UNKNOWN, Carrier, Kind, Source
from meshnode.settlement import driven, parameters, period_effects
from meshnode.settlement.agreed import Agreed, Battery, Station
from meshnode.settlement.levies import CONSUMED, GRID, NEIGHBOURS, SOLAR
from meshnode.settlement.period import Tariff
from meshnode.settlement.posting import COMMUNITY_FUND, CONSUMERS, PRODUCERS, fund_account
from meshnode.settlement.storage import most_stored_wh
from protocols import cbor
from protocols.records import INSTALLATION_CONFIRMED, INSTALLATION_REMOVED, POLICY_ISSUER
from zencode.catalogue import ids

_ENERGY_ASSET: Final = 1
_BATTERY_OWNER: Final = "battery owner"
# How long a session's meter may be silent where no sentence says: a quarter of an hour, as a settlement period.
USUAL_SILENCE_S: Final = 900


def introduce(state: State, agreed: Agreed, fixed: Tariff, start_s: int, boundary_s: int, time_s: int) -> list[str]:
    """Whatever has become possible is introduced, and what holds at times is written for the period that runs.

    Args:
        fixed: the binding's tariff.
        start_s: of the settlement period that runs; boundary_s: of the next one.
        time_s: of the block.
    Returns:
        The assets that have become stored energy, or of which a member may have another amount now.
    """
    if not agreed.has_devices and not len(state.introduced):
        return []
    prices = driven.tariff(state, start_s, parameters.tariff(state, start_s, fixed))
    facts = Facts(
        time_s=start_s,
        grid_price_u_kwh=prices.grid_price_u_kwh,
        charge_ppm=period_effects.charges(state, agreed),
    )
    settling = minting.settling(state, time_s) or ""
    stored: list[str] = []
    there = set()
    for what, name, subject, said in _devices(state, agreed):
        there.add((what, name))
        known = state.introduced.get((what, name))
        digest = hashlib.sha256(cbor.encode([what, name, subject, *said])).digest()
        fresh = known is None or known.digest != digest
        if known is not None and known.overridden and not fresh:
            continue
        before = state.storages.get(subject.decode()) if what == STORED else None
        if not _put(state, agreed, what, name, subject, facts, settling, boundary_s, fresh):
            continue
        if fresh:
            state.introduced.put((what, name), Introduced(subject, digest))
        if what == STORED:
            code = subject.decode()
            if before is None or before.most_wh != state.storages[code].most_wh:
                stored.append(code)
    for (what, name), row in state.introduced.items():
        if (what, name) not in there:
            _withdraw(state, what, row.subject, boundary_s)
            state.introduced.delete((what, name))
    return stored


def override(state: State, what: int, subject: bytes) -> None:
    """Somebody's record has set a device: the binding says nothing of it any more, until it says something else."""
    for (kind, name), row in state.introduced.items():
        if (kind, row.subject) == (what, subject):
            state.introduced.put((kind, name), msgspec.structs.replace(row, overridden=1))


def missing(state: State, agreed: Agreed) -> list[str]:
    """The devices that the binding names and that are not there: no such member, or no such meter."""
    named = [*agreed.plants, *agreed.batteries, *agreed.stations]
    there = {name for (_, name), _ in state.introduced.items()}
    return [name for name in named if name not in there]


def note_cover(state: State, start_s: int, lines: Any) -> None:
    """A period is closed: how much of their use the owners of points covered without the grid."""
    owners = {point.owner for _, point in state.points.items()}
    for line in lines:
        if line.account in owners and line.consumption_wh:
            ppm = PPM * (line.own_wh + line.neighbours_wh) // line.consumption_wh
            state.cover.put(line.account, energy_rows.Cover(start_s, ppm))


def device_id(what: int, name: str) -> bytes:
    """The id of an installation that the binding introduces."""
    return hashlib.sha256(b"meshnode introduced\x00" + cbor.encode([what, name])).digest()


def _devices(state: State, agreed: Agreed) -> Iterator[tuple[int, str, bytes, tuple[Any, ...]]]:
    """(what, name, key of its row, what the binding says of it) of every device that can be there now."""
    for name, plant in agreed.plants.items():
        place = _place(state, agreed, name, plant.owner)
        if place is not None:
            yield PLANT, name, device_id(PLANT, name), (*place, plant.power_w)
    for name, battery in agreed.batteries.items():
        place = _place(state, agreed, name, battery.owner)
        if place is None:
            continue
        said = (battery.capacity_wh, battery.power_w, battery.efficiency_ppm)
        yield BATTERY, name, device_id(BATTERY, name), (*place, *said)
        if battery.asset:
            contributed = [[owner, amount_u] for owner, amount_u in battery.contributions]
            limits = [battery.cost_u, battery.storage_u_kwh, battery.access]
            yield STORED, name, battery.asset.encode(), (*place, *said, contributed, limits)
    for name, station in agreed.stations.items():
        place = _place(state, agreed, name, station.owner)
        if place is not None:
            yield POINT, name, place[1], (*place, station.power_w)


def _place(state: State, agreed: Agreed, name: str, owner: str) -> tuple[bytes, bytes] | None:
    """(owner, meter) of a device: the meter that the binding says, else the only one that the owner has."""
    row = state.names.get(owner)
    if row is None or state.accounts[row.account].left_s:
        return None
    own = [meter_id for meter_id, meter in state.meters.of_account(row.account) if not meter.until_s]
    if name in agreed.meters:
        meter = agreed.meters[name]
        return (row.account, meter) if meter in own else None
    return (row.account, own[0]) if len(own) == 1 else None


def _put(
    state: State,
    agreed: Agreed,
    what: int,
    name: str,
    subject: bytes,
    facts: Facts,
    settling: str,
    boundary_s: int,
    fresh: bool,
) -> bool:
    """Write a device's row; False if something else is in its place."""
    if what == PLANT:
        plant = agreed.plants[name]
        given = (Kind.PRODUCTION, plant.power_w, 0)
        return not fresh or _install(state, agreed, name, plant.owner, subject, given, boundary_s)
    battery = agreed.batteries.get(name)
    if what == BATTERY and battery is not None:
        given = (Kind.STORAGE, battery.power_w, battery.efficiency_ppm)
        return not fresh or _install(state, agreed, name, battery.owner, subject, given, boundary_s)
    if what == STORED and battery is not None:
        return _store(state, agreed, name, battery, facts, settling)
    return _open(state, agreed, name, agreed.stations[name], subject, facts, settling, fresh)


def _install(
    state: State,
    agreed: Agreed,
    name: str,
    owner: str,
    device: bytes,
    given: tuple[Kind, int, int],
    boundary_s: int,
) -> bool:
    """Enter an installation: its kind, W, and the share that a storage gives back."""
    kind, power_w, efficiency_ppm = given
    place = _place(state, agreed, name, owner)
    assert place is not None, f"{name} has no place"
    account, meter = place
    same = (meter, int(kind), int(Carrier.ELECTRICITY))
    for key, row in installations.of(state, account):
        if key != device and (row.meter, row.kind, row.carrier) == same and row.status != INSTALLATION_REMOVED:
            return False
    state.installations.put(
        device,
        Installation(
            account=account,
            meter=meter,
            kind=int(kind),
            carrier=int(Carrier.ELECTRICITY),
            # No sentence says what a plant makes energy from, so nobody's certificate comes of it.
            source=int(Source.GRID if kind is Kind.STORAGE else Source.UNVERIFIED),
            name=name,
            capacity_w=power_w,
            operational_s=0,
            technology="",
            location="",
            carbon_g_kwh=CARBON_UNKNOWN,
            efficiency_ppm=efficiency_ppm,
            supported=0,
            status=INSTALLATION_CONFIRMED,
            from_s=boundary_s,
        ),
    )
    return True


def _store(state: State, agreed: Agreed, name: str, battery: Battery, facts: Facts, settling: str) -> bool:
    """An asset is energy in a battery. One that has been minted by hand stays what it is."""
    place = _place(state, agreed, name, battery.owner)
    assert place is not None, f"{name} has no place"
    account, meter = place
    known = state.storages.get(battery.asset)
    if known is None:
        asset = state.assets.get(battery.asset)
        rule = assets.rules(state, battery.asset)
        if asset is None:
            if len(state.assets) >= assets.MAX_ASSETS:
                return False
            state.assets.put(battery.asset, rows.Asset(account, _ENERGY_ASSET, battery.capacity_wh, 0))
        elif asset.kind != _ENERGY_ASSET or asset.supply or rule.policy != POLICY_ISSUER or rule.cashier:
            return False
        elif asset.cap > battery.capacity_wh:
            # No more of it can exist than the battery holds.
            state.assets.put(battery.asset, msgspec.structs.replace(asset, cap=battery.capacity_wh))
    elif known.meter != meter:
        return False
    start_s = facts.time_s or 0
    outcome = agreed.battery(name, facts)
    fee: Any = outcome.last(ids.STORAGE_FEE)
    shares = agreed.split("storage fee", outcome)
    owners_ppm = sum(ppm for to, ppm in shares if to == _BATTERY_OWNER)
    others = period_effects.resolved(state, start_s, agreed, tuple(one for one in shares if one[0] != _BATTERY_OWNER))
    row = delivery_rows.Storage(
        meter=meter,
        efficiency_ppm=battery.efficiency_ppm,
        most_wh=_most_wh(battery, outcome),
        access=battery.access,
        fee_asset=known.fee_asset if known is not None and known.fee_asset else settling,
        fee_u_kwh=0 if fee is None else fee[0],
        owners_ppm=owners_ppm,
        owners=_owners(state, start_s, battery),
        divided=_without_groups(others),
    )
    if known is not None:
        kept = {field: getattr(known, field) for field in ("charged_wh", "discharged_wh", "minted")}
        row = msgspec.structs.replace(row, **kept)
    if row != known:
        state.storages.put(battery.asset, row)
    return True


def _most_wh(battery: Battery, outcome: Outcome) -> int:
    """What a member may have: what the price of storage allows, and what a sentence allows now."""
    limits = [battery.capacity_wh]
    if battery.storage_u_kwh:
        limits.append(most_stored_wh(battery.cost_u, battery.storage_u_kwh))
    most: Any = outcome.last(ids.MAX_STORED)
    return min((*limits, most[0]) if most is not None else limits)


def _owners(state: State, start_s: int, battery: Battery) -> tuple[tuple[bytes, int], ...]:
    found: dict[bytes, int] = {}
    for name, amount_u in battery.contributions:
        account = period_effects.recipient(state, start_s, name)
        found[account] = found.get(account, 0) + amount_u
    return tuple(sorted(found.items()))


def _without_groups(shares: tuple[tuple[bytes, int], ...]) -> tuple[tuple[bytes, int], ...]:
    """Of stored energy and sessions nobody is a consumer or producer of a period: their part is the fund's."""
    found: dict[bytes, int] = {}
    for to, ppm in shares:
        account = fund_account(COMMUNITY_FUND) if to in (CONSUMERS, PRODUCERS) else to
        found[account] = found.get(account, 0) + ppm
    return tuple(sorted(found.items()))


def _open(
    state: State, agreed: Agreed, name: str, station: Station, meter: bytes, facts: Facts, asset: str, fresh: bool
) -> bool:
    """A charging point sells on the terms that hold now; what is reserved keeps the terms it has."""
    known = state.points.get(meter)
    start_s = facts.time_s or 0
    if not asset or (known is not None and (POINT, name) not in state.introduced):
        return False
    owner = state.names[station.owner].account
    outcome = agreed.charging(name, facts)
    cover = state.cover.get(owner) or energy_rows.Cover(0, 0)
    limits = [station.power_w, *(slots[0] for slots in _slots(outcome, ids.LIMIT_CHARGING))]
    if period_effects.is_lost(state, agreed, start_s):
        lost = agreed.blocks.at(ids.GRID_LOST, facts)
        limits += [slots[0] for slots in _slots(lost, ids.LIMIT_CHARGING)]
    price, flat = outcome.last(ids.SESSION_PRICE), outcome.last(ids.SESSION_FEE)
    most, silence = outcome.last(ids.SESSION_ENERGY), outcome.last(ids.SESSION_SILENCE)
    shares = period_effects.resolved(state, start_s, agreed, agreed.split("charging fee", outcome))
    row = delivery_rows.Point(
        owner=owner,
        kind=delivery_rows.POINT_STATION,
        asset=asset,
        silence_s=silence[0] if silence else USUAL_SILENCE_S,
        price_u_kwh=price[0] if price else 0,
        fee_u_kwh=_fee(agreed.fees(outcome), cover.cover_ppm),
        flat_u=flat[0] if flat else 0,
        energy_to=owner,
        busy=known.busy if known is not None else b"",
        closed=0 if known is None or fresh else known.closed,
        most_wh=most[0] if most else 0,
        power_w=min(limits),
        first=tuple(str(slots[0]) for slots in _slots(outcome, ids.SERVE_FIRST)),
        fee_split=_without_groups(shares),
    )
    if row != known:
        state.points.put(meter, row)
    return True


def _fee(fees: dict[int, int], cover_ppm: int) -> int:
    """A session's fee per kWh: of what it takes so much counts as solar, the rest as the grid's, as its owner's use
    in the period that was closed last. Every kWh is traded and consumed."""
    whole = fees.get(NEIGHBOURS, 0) + fees.get(CONSUMED, 0)
    return whole + (fees.get(SOLAR, 0) * cover_ppm + fees.get(GRID, 0) * (PPM - cover_ppm)) // PPM


def _slots(outcome: Outcome, wanted: int) -> list[Any]:
    return [action.slots for action in outcome.of(wanted)]


def _withdraw(state: State, what: int, subject: bytes, boundary_s: int) -> None:
    """The binding in force says nothing of a device any more. What is stored can still be taken out."""
    if what in (PLANT, BATTERY) and subject in state.installations:
        row = state.installations[subject]
        state.installations.put(subject, msgspec.structs.replace(row, status=INSTALLATION_REMOVED, until_s=boundary_s))
    elif what == POINT and subject in state.points:
        state.points.put(subject, msgspec.structs.replace(state.points[subject], closed=1))
