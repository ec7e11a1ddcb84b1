"""Preferences: whom a member's orders serve first, said once for all orders that come after.

An order that names a partner itself keeps to what it names. What an order was given with stays with it: a preference
that is set, changed or ended later is for later orders.
"""

from __future__ import annotations

from meshnode.ledger.assets import fault_of_receiver
from meshnode.ledger.order_rows import Preference
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import PartnerFirst, PartnerNobody

# As many assets as a household trades, on both sides.
MAX_PREFERENCES_PER_ACCOUNT = 32
# In place of an asset: energy of settlement periods.
PERIODS = ""
# Sides are 1 and 2.
_AFTER_ALL = 3

Key = tuple[bytes, int, str, str]


def key_of(account: bytes, step: PartnerFirst | PartnerNobody) -> Key:
    """Which of a member's preferences a step is about."""
    return account, step.side, step.asset or PERIODS, step.paid_with or PERIODS


def prefer(state: State, step: PartnerFirst, account: bytes) -> Verdict:
    """A partner goes first from now on. The caller has checked the price and the assets."""
    if fault := fault_of_receiver(state, step.partner, account):
        return fault
    key = key_of(account, step)
    if key not in state.preferences and len(_keys(state, account)) >= MAX_PREFERENCES_PER_ACCOUNT:
        return Verdict.TOO_MANY_PREFERENCES
    state.preferences.put(key, Preference(step.partner, step.price_u_kwh))
    return Verdict.ACCEPTED


def prefer_nobody(state: State, step: PartnerNobody, account: bytes) -> Verdict:
    """Nobody goes first any more."""
    key = key_of(account, step)
    if key not in state.preferences:
        return Verdict.NO_PREFERENCE
    state.preferences.delete(key)
    return Verdict.ACCEPTED


def find(state: State, account: bytes, side: int, asset: str = PERIODS, paid_with: str = PERIODS) -> Preference | None:
    """Whom an order of an account serves first; None: nobody, or somebody who has left."""
    row = state.preferences.get((account, side, asset, paid_with))
    return None if row is None or fault_of_receiver(state, row.partner, account) else row


def leave(state: State, account: bytes) -> None:
    """A member has left, and prefers nobody any more."""
    for key in _keys(state, account):
        state.preferences.delete(key)


def _keys(state: State, account: bytes) -> list[Key]:
    return [key for key, _ in state.preferences.range((account, 0, "", ""), (account, _AFTER_ALL, "", ""))]
