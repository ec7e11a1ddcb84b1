"""Watching: what feeders, the grid, batteries and charging points bring about beside energy and money - alarms."""

from __future__ import annotations

from typing import Any

from meshnode.amounts import PPM
from meshnode.effects import Facts
from meshnode.execution.call import Call, Ledger
from meshnode.execution.floor import Moment
from meshnode.ledger import alarms, readings
from meshnode.ledger.energy_rows import POINT, STORED
from meshnode.ledger.knowledge import facts_of
from meshnode.ledger.state import State
from meshnode.rules import Rules
from meshnode.settlement import period_effects
from meshnode.settlement.metered import Metered, Quality
from protocols.records import Stored, Tick
from zencode.catalogue import ids


def begin(ledger: Ledger, before_s: int, moment: Moment) -> None:
    """Time passes: a value of the grid feed that was agreed ahead may say from now on that the grid is gone.

    Args:
        before_s: time of the block before.
    """
    agreed = ledger.rules().period.agreed
    if agreed.feed and not period_effects.is_lost(ledger.state, agreed, before_s):
        _look_at_grid(ledger, moment.height, moment.time_s)


def reported(call: Call, was_lost: bool) -> None:
    """A feeder has reported a value: it may be the one by which the grid is known to be gone."""
    if not was_lost:
        _look_at_grid(call.ledger, call.height, call.time_s)


def is_lost(ledger: Ledger, time_s: int) -> bool:
    """Whether the grid is known to be gone."""
    return period_effects.is_lost(ledger.state, ledger.rules().period.agreed, time_s)


def period_closed(ledger: Ledger, start_s: int, rules: Rules, metered: tuple[Metered, ...], moment: Moment) -> None:
    """Feeders that lost more than the binding lets pass in a period, as far as everything on them was measured."""
    state, agreed = ledger.state, rules.period.agreed
    for event in rules.blocks.events(ids.FEEDER_LOSES):
        slots: Any = event.slots
        feeder, most_ppm = slots
        meter = agreed.feeders.get(feeder, b"")
        if meter not in state.meters:
            continue
        head = readings.energy(state, meter, start_s, rules.period.length_s)
        names = agreed.connected.get(feeder)
        homes = [one for one in metered if names is None or state.accounts[one.account].name in names]
        known = [Quality(head.quality)] if head is not None else []
        if head is None or Quality.ESTIMATED in (*known, *(one.quality for one in homes)):
            continue
        through_wh = head.import_wh - head.export_wh
        lost_wh = abs(through_wh - sum(one.import_wh - one.export_wh for one in homes))
        if lost_wh * PPM > most_ppm * abs(through_wh):
            outcome = rules.blocks.at(ids.FEEDER_LOSES, Facts(time_s=start_s), *slots)
            event_id, height, time_s = ids.FEEDER_LOSES, moment.height, moment.time_s
            alarms.raise_alarm(state, outcome, event_id, height=height, time_s=time_s, meter=meter)


def stored(call: Call, record: Stored) -> None:
    """A battery has stored or delivered energy of members."""
    name = _name(call.state, STORED, record.asset.encode())
    for account, charged_wh, discharged_wh in record.parts if name is not None else ():
        for event, energy_wh in ((ids.BATTERY_STORES, charged_wh), (ids.BATTERY_DELIVERS, discharged_wh)):
            if energy_wh:
                _alarm(call, event, str(name), account)


def ticked(call: Call, record: Tick) -> None:
    """A car has begun to charge."""
    row, name = call.state.deliveries.get(record.delivery), _name(call.state, POINT, call.key.meter)
    if name is not None and row is not None:
        _alarm(call, ids.CAR_CHARGES, name, row.payer)


def _alarm(call: Call, event: int, name: str, account: bytes) -> None:
    rules = call.ledger.rules(call.time_s)
    start_s = call.time_s - call.time_s % rules.period.length_s
    charge = period_effects.charges(call.state, rules.period.agreed)
    outcome = rules.blocks.at(event, facts_of(call.state, account, start_s, charge_ppm=charge), name)
    meter, height, time_s = call.key.meter, call.height, call.time_s
    alarms.raise_alarm(call.state, outcome, event, height=height, time_s=time_s, account=account, meter=meter)


def _look_at_grid(ledger: Ledger, height: int, time_s: int) -> None:
    state, rules = ledger.state, ledger.rules()
    if is_lost(ledger, time_s):
        charge = period_effects.charges(state, rules.period.agreed)
        outcome = rules.blocks.at(ids.GRID_LOST, Facts(charge_ppm=charge))
        alarms.raise_alarm(state, outcome, ids.GRID_LOST, height=height, time_s=time_s)


def _name(state: State, what: int, subject: bytes) -> str | None:
    """The name that the binding has for a device."""
    return next(
        (name for (kind, name), row in state.introduced.items() if (kind, row.subject) == (what, subject)), None
    )
