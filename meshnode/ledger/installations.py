"""Installations: the register of plants and storages, with their owners and states.

A member announces what stands behind one of its meters; from the period after an administrator has
confirmed it, what it makes is named by it. What nobody confirmed is traced as unverified, and never green.
"""

from __future__ import annotations

import msgspec

from meshnode.ledger import members, origin_rows
from meshnode.ledger.origin_rows import Installation
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.origin import CARRIERS, SOURCES, Kind, Source
from protocols.records import (
    INSTALLATION_ANNOUNCED,
    INSTALLATION_CONFIRMED,
    INSTALLATION_REMOVED,
    INSTALLATION_STOPPED,
    InstallationRegister,
    InstallationState,
)

# A plant and a storage for each of the sixteen meters that a member may bring, of either carrier.
MAX_INSTALLATIONS_PER_ACCOUNT = 64
# A storage makes nothing; members' plants are made of something that has a name.
_MADE_FROM = frozenset(SOURCES.values()) - {Source.GRID, Source.UNVERIFIED}
# From which states one gets into another.
_FROM = {
    INSTALLATION_CONFIRMED: (INSTALLATION_ANNOUNCED, INSTALLATION_STOPPED),
    INSTALLATION_STOPPED: (INSTALLATION_CONFIRMED,),
    INSTALLATION_REMOVED: (INSTALLATION_ANNOUNCED, INSTALLATION_CONFIRMED, INSTALLATION_STOPPED),
}


def announce(state: State, step: InstallationRegister, device: bytes, account: bytes) -> Verdict:
    """A member announces an installation behind one of its meters."""
    meter = state.meters.get(step.meter)
    if meter is None or meter.account != account:
        return Verdict.UNKNOWN_METER
    if step.carrier not in CARRIERS.values() or step.installation not in (Kind.PRODUCTION, Kind.STORAGE):
        return Verdict.UNKNOWN_CODE
    stores = step.installation == Kind.STORAGE
    if stores != (step.efficiency_ppm is not None) or (step.source != Source.GRID) == stores:
        return Verdict.NOT_AS_METERED
    if not stores and step.source not in _MADE_FROM:
        return Verdict.UNKNOWN_CODE
    introduced = {row.subject for _, row in state.introduced.items()}
    # What only the binding says gives way to what its owner says.
    own = [row for device, row in of(state, account) if device not in introduced]
    if len(own) >= MAX_INSTALLATIONS_PER_ACCOUNT:
        return Verdict.TOO_MANY_INSTALLATIONS
    place = (step.meter, step.installation, step.carrier)
    if any((row.meter, row.kind, row.carrier) == place and row.status != INSTALLATION_REMOVED for row in own):
        return Verdict.INSTALLED_ALREADY
    state.installations.put(
        device,
        Installation(
            account=account,
            meter=step.meter,
            kind=step.installation,
            carrier=step.carrier,
            source=step.source,
            name=step.name,
            capacity_w=step.capacity_w,
            operational_s=step.operational_s,
            technology=step.technology or "",
            location=step.location or "",
            carbon_g_kwh=step.carbon_g_kwh,
            efficiency_ppm=step.efficiency_ppm or 0,
            supported=step.supported,
            status=INSTALLATION_ANNOUNCED,
        ),
    )
    return Verdict.ACCEPTED


def change(state: State, step: InstallationState, account: bytes, boundary_s: int) -> Verdict:
    """An administrator confirms it, or its owner stops or removes it; from a period boundary on.

    What was stopped is confirmed again when nothing before the stop can be corrected any more.
    """
    row = state.installations.get(step.installation)
    if row is None:
        return Verdict.UNKNOWN_INSTALLATION
    if step.state == INSTALLATION_CONFIRMED and not members.is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    if step.state != INSTALLATION_CONFIRMED and account != row.account:
        return Verdict.NOT_FOR_YOU
    again = row.status == INSTALLATION_STOPPED and step.state == INSTALLATION_CONFIRMED
    if row.status not in _FROM[step.state] or (again and row.until_s > state.meta[0].next_final_s):
        return Verdict.NOT_NOW
    changes: dict[str, int] = {"status": step.state}
    if step.state == INSTALLATION_CONFIRMED:
        changes |= {"from_s": boundary_s, "until_s": 0}
    elif row.status == INSTALLATION_CONFIRMED:
        changes |= {"until_s": boundary_s}
    if step.state == INSTALLATION_CONFIRMED:
        _replace_introduced(state, row, boundary_s)
    if row.status == INSTALLATION_ANNOUNCED and step.state == INSTALLATION_REMOVED:
        state.installations.delete(step.installation)
    else:
        state.installations.put(step.installation, msgspec.structs.replace(row, **changes))
    return Verdict.ACCEPTED


def _replace_introduced(state: State, row: Installation, boundary_s: int) -> None:
    """The binding's own entry of the same device ends where a confirmed one begins."""
    place = (row.account, row.meter, row.kind, row.carrier)
    for key, entry in state.introduced.items():
        found = state.installations.get(entry.subject)
        if found is not None and (found.account, found.meter, found.kind, found.carrier) == place:
            ended = msgspec.structs.replace(found, status=INSTALLATION_REMOVED, until_s=boundary_s)
            state.installations.put(entry.subject, ended)
            state.introduced.put(key, msgspec.structs.replace(entry, overridden=1))


def of(state: State, account: bytes) -> list[tuple[bytes, Installation]]:
    """A member's installations, in order of their ids."""
    return [(device, row) for device, row in state.installations.items() if row.account == account]


def counting(state: State, start_s: int) -> list[tuple[bytes, Installation]]:
    """What counts in a period that begins then, in order of the ids."""
    return [(device, row) for device, row in state.installations.items() if counts(row, start_s)]


def counts(row: Installation, start_s: int) -> bool:
    """Whether it was confirmed for a period that begins then, and not stopped before."""
    return bool(row.from_s) and row.from_s <= start_s and (not row.until_s or start_s < row.until_s)


def forget(state: State, final_s: int) -> None:
    """Drop what was removed before periods that may still be corrected, and the lots in it; the views keep them."""
    for device, row in state.installations.items():
        if row.status == INSTALLATION_REMOVED and row.until_s <= final_s:
            for key, _ in state.stored_lots.range((device, 0), (device + b"\0", 0)):
                state.stored_lots.delete(key)
            state.installations.delete(device)


def set_grid_carbon(state: State, carrier: int, from_s: int, carbon_g_kwh: int, account: bytes) -> Verdict:
    """An administrator says what a kWh from outside takes in CO2 from a period on."""
    if not members.is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    if carrier not in CARRIERS.values():
        return Verdict.UNKNOWN_CODE
    if from_s < state.meta[0].next_period_s:
        return Verdict.PERIOD_CLOSED
    state.grid_carbon.put((carrier, from_s), origin_rows.GridCarbon(carbon_g_kwh))
    _keep_carbon_small(state, carrier)
    return Verdict.ACCEPTED


# A factor for each quarter-hour of a week back, as long as corrections may take, and of a week ahead.
MAX_GRID_FACTORS = 14 * 96


def grid_carbon(state: State, carrier: int, start_s: int, unknown: int) -> int:
    """g CO2 per kWh from outside in a period; `unknown` as long as nobody has said."""
    found = unknown
    for _, row in state.grid_carbon.range((carrier, 0), (carrier, start_s + 1)):
        if not row.until_s or start_s < row.until_s:
            found = row.carbon_g_kwh
    return found


def feed_grid_carbon(state: State, carrier: int, from_s: int, carbon_g_kwh: int, until_s: int) -> None:
    """A feed's value holds from its time on until it is stale; never for periods that are closed."""
    from_s = max(from_s, state.meta[0].next_period_s)
    said = state.grid_carbon.get((carrier, from_s))
    if from_s < until_s and (said is None or said.until_s):
        state.grid_carbon.put((carrier, from_s), origin_rows.GridCarbon(carbon_g_kwh, until_s))
        _keep_carbon_small(state, carrier)


def _keep_carbon_small(state: State, carrier: int) -> None:
    """Forget factors that no open period needs, and the furthest ones beyond the limit."""
    final_s = state.meta[0].next_final_s
    rows = list(state.grid_carbon.range((carrier, 0), (carrier + 1, 0)))
    keys = [key for key, _ in rows]
    # Of those that have begun by then, an administrator's newest one still holds, and feeds' that are not stale.
    lasting = [key for key, row in rows if key[1] <= final_s and not row.until_s][-1:]
    old = [key for key, row in rows if key[1] <= final_s and key not in lasting and row.until_s <= final_s]
    for key in (*old, *[key for key in keys if key not in old][MAX_GRID_FACTORS:]):
        state.grid_carbon.delete(key)
