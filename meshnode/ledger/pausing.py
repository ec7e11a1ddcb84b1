"""Pausing: the emergency stop of the market. No orders meet while it is on; everything else goes on."""

from __future__ import annotations

from meshnode.ledger.governance_rows import Pause
from meshnode.ledger.members import is_administrator
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import PauseBegin

# A week: time enough to propose another binding, or to mend what is broken; nobody forgets it for longer.
MAX_PAUSE_S = 7 * 86_400

# Who pauses where the binding does so by itself.
BINDING = b""

_ONE = 0


def is_paused(state: State) -> bool:
    """Whether orders do not meet now."""
    return bool(len(state.pauses))


def pause(state: State) -> Pause | None:
    """What is known of the pause; None while orders meet."""
    return state.pauses.get(_ONE)


def begin(state: State, step: PauseBegin, account: bytes, roles: tuple[tuple[str, int], ...], time_s: int) -> Verdict:
    """An administrator stops the matching, or whoever the binding lets do so.

    Args:
        roles: (role, for how many seconds at most) of the binding in force.
    """
    most_s = longest(state, account, roles)
    if not most_s:
        return Verdict.NOT_ADMINISTRATOR
    if is_paused(state):
        return Verdict.PAUSED_ALREADY
    if not time_s < step.until_s <= time_s + most_s:
        return Verdict.END_NOT_AHEAD
    state.pauses.put(_ONE, Pause(account, time_s, step.until_s, step.reason))
    return Verdict.ACCEPTED


def longest(state: State, account: bytes, roles: tuple[tuple[str, int], ...]) -> int:
    """For how many seconds an account may pause the matching; 0 if it may not."""
    row = state.accounts.get(account)
    mine = frozenset() if row is None or row.left_s else frozenset(row.roles)
    allowed = [most_s for role, most_s in roles if role in mine]
    return max((*allowed, MAX_PAUSE_S if is_administrator(state, account) else 0))


def begin_by_binding(state: State, for_s: int, time_s: int, reason: str) -> bool:
    """Something has happened at which the binding stops the matching; whether that was not so before.

    What is paused already is paused for as long as either says.
    """
    row = pause(state)
    if row is None:
        state.pauses.put(_ONE, Pause(BINDING, time_s, time_s + for_s, reason))
    elif row.until_s < time_s + for_s:
        state.pauses.put(_ONE, Pause(row.account, row.since_s, time_s + for_s, row.reason))
    return row is None


def finish(state: State, account: bytes) -> Verdict:
    """An administrator lets orders meet again, or whoever has stopped them."""
    row = pause(state)
    if not is_administrator(state, account) and (row is None or row.account != account):
        return Verdict.NOT_ADMINISTRATOR
    if row is None:
        return Verdict.NOT_PAUSED
    state.pauses.delete(_ONE)
    return Verdict.ACCEPTED


def lapse(state: State, time_s: int) -> bool:
    """End a pause whose time is over; whether that was so."""
    row = pause(state)
    if row is None or row.until_s > time_s:
        return False
    state.pauses.delete(_ONE)
    return True
