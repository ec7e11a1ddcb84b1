"""Alarms: somebody ought to look, or an account is frozen - what events that nobody decides on bring about."""

from __future__ import annotations

from typing import Final

from meshnode.effects import Outcome
from meshnode.ledger.member_rows import Frozen, Warning
from meshnode.ledger.members import is_administrator
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from zencode.catalogue import ids

# Whoever does not look for a week was told in vain.
KEPT_S: Final = 7 * 86_400
# Every hour of that week; beyond it the oldest ones make room.
MAX_WARNINGS: Final = 168


def raise_alarm(
    state: State, outcome: Outcome, event: int, *, height: int, time_s: int, account: bytes = b"", meter: bytes = b""
) -> None:
    """Warn and freeze as the actions of an event say.

    Args:
        event: its id.
        account, meter: whom and what it is about.
    """
    roles = tuple(sorted({str(action.slots[0]) for action in outcome.of(ids.WARN)}))
    if roles:
        number = sum(1 for _ in state.warnings.range((height, 0), (height + 1, 0)))
        state.warnings.put((height, number), Warning(event, time_s, account, meter, roles))
        for key, warning in tuple(state.warnings.items()):
            if warning.time_s >= time_s - KEPT_S and len(state.warnings) <= MAX_WARNINGS:
                break
            state.warnings.delete(key)
    if account and outcome.of(ids.FREEZE) and account not in state.frozen:
        state.frozen.put(account, Frozen(event, time_s))


def lift(state: State, account: bytes, by: bytes) -> Verdict:
    """An administrator, though not about itself, lets an account act again."""
    if not is_administrator(state, by) or account == by:
        return Verdict.NOT_ADMINISTRATOR
    if account not in state.frozen:
        return Verdict.NOT_FROZEN
    state.frozen.delete(account)
    return Verdict.ACCEPTED
