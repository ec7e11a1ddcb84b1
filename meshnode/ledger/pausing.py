"""Pausing: the emergency stop of the market. No orders meet while it is on; everything else goes on."""

from __future__ import annotations

from meshnode.ledger.governance_rows import Pause
from meshnode.ledger.members import is_administrator
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import PauseBegin

# A week: time enough to propose another binding, or to mend what is broken; nobody forgets it for longer.
MAX_PAUSE_S = 7 * 86_400

_ONE = 0


def is_paused(state: State) -> bool:
    """Whether orders do not meet now."""
    return bool(len(state.pauses))


def pause(state: State) -> Pause | None:
    """What is known of the pause; None while orders meet."""
    return state.pauses.get(_ONE)


def begin(state: State, step: PauseBegin, account: bytes, time_s: int) -> Verdict:
    """An administrator stops the matching."""
    if not is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    if is_paused(state):
        return Verdict.PAUSED_ALREADY
    if not time_s < step.until_s <= time_s + MAX_PAUSE_S:
        return Verdict.END_NOT_AHEAD
    state.pauses.put(_ONE, Pause(account, time_s, step.until_s, step.reason))
    return Verdict.ACCEPTED


def finish(state: State, account: bytes) -> Verdict:
    """An administrator lets orders meet again."""
    if not is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    if not is_paused(state):
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
