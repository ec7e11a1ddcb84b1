"""Alarms: somebody ought to look, or an account is frozen - what events that nobody decides on bring about."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from meshnode.effects import Outcome
from meshnode.ledger.member_rows import Frozen, Warning
from meshnode.ledger.members import is_administrator
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from zencode.catalogue import ids

# Whoever does not look for a week was told in vain.
KEPT_S: Final = 7 * 86_400
# The same again within the hour says nothing new.
REPEATED_S: Final = 3600
# Every hour of that week; beyond it the oldest ones make room.
MAX_WARNINGS: Final = 168


def raise_alarm(
    state: State,
    outcome: Outcome,
    event: int,
    *,
    height: int,
    time_s: int,
    account: bytes = b"",
    meter: bytes = b"",
    always: Collection[str] = (),
) -> None:
    """Warn and freeze as the actions of an event say.

    Args:
        event: its id.
        account, meter: whom and what it is about.
        always: roles that are warned whatever the actions say.
    """
    roles = tuple(sorted({*always, *(str(action.slots[0]) for action in outcome.of(ids.WARN))}))
    if roles and not _told(state, event, account, meter, time_s):
        number = sum(1 for _ in state.warnings.range((height, 0), (height + 1, 0)))
        state.warnings.put((height, number), Warning(event, time_s, account, meter, roles))
        for key, warning in tuple(state.warnings.items()):
            if warning.time_s >= time_s - KEPT_S and len(state.warnings) <= MAX_WARNINGS:
                break
            state.warnings.delete(key)
    if account and outcome.of(ids.FREEZE) and account not in state.frozen:
        state.frozen.put(account, Frozen(event, time_s))


def _told(state: State, event: int, account: bytes, meter: bytes, time_s: int) -> bool:
    """Whether somebody was warned of the same a short while ago: whoever repeats it would drive other warnings out."""
    what = (event, account, meter)
    return any(
        (row.event, row.account, row.meter) == what and row.time_s > time_s - REPEATED_S
        for _, row in state.warnings.items()
    )


def lift(state: State, account: bytes, by: bytes) -> Verdict:
    """An administrator, though not about itself, lets an account act again."""
    if not is_administrator(state, by) or account == by:
        return Verdict.NOT_ADMINISTRATOR
    if account not in state.frozen:
        return Verdict.NOT_FROZEN
    state.frozen.delete(account)
    return Verdict.ACCEPTED
