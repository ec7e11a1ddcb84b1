"""Happenings: events of the binding that no record is about alone - a meter falls silent, a period is over."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshnode.execution import joining
from meshnode.execution.call import Ledger
from meshnode.execution.floor import Moment
from meshnode.ledger import alarms, readings, rows
from meshnode.ledger.knowledge import facts_of
from meshnode.ledger.member_rows import Silence
from meshnode.rules import Rules
from meshnode.settlement import bills, dues
from meshnode.settlement.bills import BillIssued
from meshnode.settlement.dues import DuesPosted
from meshnode.settlement.posting import Posting, Reason, fund_account
from protocols.records import (
    Agent,
    Amend,
    Auction,
    Cash,
    Exchange,
    Order,
    OrderStep,
    PriceSet,
    Purchase,
    Record,
    Transfer,
)
from zencode.catalogue import ids

# Silence is counted in minutes by the binding's shortest; looking more often would only cost.
LOOK_S: Final = 60
_HOUR_S: Final = 3600

ACTS: Final[tuple[type[Record], ...]] = (
    Order,
    Amend,
    OrderStep,
    Auction,
    Transfer,
    Exchange,
    Cash,
    Purchase,
    Agent,
    PriceSet,
)
"""What a frozen account does not do."""


def begin(ledger: Ledger, before_s: int, moment: Moment) -> None:
    """What time brings about before the records of a block.

    Args:
        before_s: time of the block before.
    """
    joining.lapse(ledger, moment.time_s)
    if before_s // LOOK_S != moment.time_s // LOOK_S:
        _listen(ledger, moment)


def period_closed(ledger: Ledger, start_s: int, rules: Rules) -> list[DuesPosted | BillIssued]:
    """The fees and the bills that a period brings when it has closed."""
    state, currency = ledger.state, rules.period.currency
    found: list[DuesPosted | BillIssued] = [
        *dues.of_period(state, rules.blocks, start_s, currency, rules.members.fee_split)
    ]
    return found + bills.issue(state, rules.blocks, rules.members, currency, start_s, start_s + rules.period.length_s)


def _listen(ledger: Ledger, moment: Moment) -> None:
    """Meters that have been silent for as long as the binding says, and those that speak again."""
    state, rules = ledger.state, ledger.rules(moment.time_s)
    thresholds = rules.blocks.events(ids.METER_SILENT)
    for key, _ in state.silences.items():
        # The binding says another time now.
        if (key[1],) not in [event.slots for event in thresholds]:
            state.silences.delete(key)
    postings: list[Posting] = []
    for event in thresholds:
        [threshold_s] = event.slots
        assert isinstance(threshold_s, int)
        for meter_id, meter in state.meters.items():
            heard_s = _heard_s(meter, rules.period.length_s)
            key, known = (meter_id, threshold_s), state.silences.get((meter_id, threshold_s))
            counts = readings.counts(meter, moment.time_s)
            if known is not None and (not counts or heard_s != known.since_s):
                state.silences.delete(key)
                known = None
            if counts and moment.time_s - heard_s >= threshold_s:
                postings += _silent(ledger, moment, rules, key, meter, known or Silence(heard_s), known is None)
    moment.events.extend(dues.due(state, ledger.next_period_s, postings))


def _silent(
    ledger: Ledger,
    moment: Moment,
    rules: Rules,
    key: tuple[bytes, int],
    meter: rows.Meter,
    silence: Silence,
    begins: bool,
) -> list[Posting]:
    """A meter is silent: whoever is to know is warned once, and every full hour is paid back once."""
    state, account = ledger.state, meter.account
    outcome = rules.blocks.at(ids.METER_SILENT, facts_of(state, account, moment.time_s), key[1])
    if not outcome.of(ids.WARN, ids.FREEZE, ids.PAY_BACK):
        return []
    if begins:
        place = {"height": moment.height, "time_s": moment.time_s, "account": account, "meter": key[0]}
        alarms.raise_alarm(state, outcome, ids.METER_SILENT, **place)  # type: ignore[arg-type]
    hours = (moment.time_s - silence.since_s) // _HOUR_S
    state.silences.put(key, msgspec.structs.replace(silence, paid_hours=hours))
    back: Any = outcome.of(ids.PAY_BACK)
    amount_u = sum(action.slots[0] for action in back) * (hours - silence.paid_hours)
    fund = fund_account(dues.COMMUNITY_FUND)
    return [dues.one(fund, account, rules.period.currency, amount_u, Reason.PAID_BACK)] if amount_u else []


def _heard_s(meter: rows.Meter, length_s: int) -> int:
    """Until when a meter has reported; one that never did, from when on it counts."""
    return meter.from_s if meter.first_s < 0 else meter.last_s + length_s
