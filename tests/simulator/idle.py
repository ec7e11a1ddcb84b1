"""Idle: the ticks of a validator in which nothing but counting happens, counted at once.

A node that hears nothing ticks ten times a second. All that such a tick changes is how
long somebody has been silent, so a run of them can be made up for later, and in one step:
as long as no counter reaches the number at which something happens. What is not known to
be idle is left to `Validator.tick`.
"""

from __future__ import annotations

from meshnode.network.absence import Absence
from meshnode.network.validator import Validator
from meshnode.network.wariness import PATIENCE_TIMEOUTS, Wariness
from protocols.raft import NO_NODE, Role


def due_in(validator: Validator) -> int:
    """In how many ticks, counted from the next, something can happen by the passing of time alone."""
    replica = validator._core._replica
    if validator._intake._parked:
        return 1
    election, heartbeat = replica.config.election_tick, replica.config.heartbeat_tick
    if replica.role is Role.LEADER:
        return min(heartbeat - replica.heartbeat_elapsed, election - replica.election_elapsed)
    return replica.election_timeout - replica.election_elapsed


def idle_ticks(validator: Validator, absence: Absence) -> int:
    """How many of the next ticks may be skipped.

    Args:
        absence: is asked after each tick; what it says must not change meanwhile.
    """
    core, final = validator._core, validator.final_height
    until = due_in(validator)
    if until <= 1 or not validator._electorate.has_followed(core, final):
        return 0
    if core.state is Role.LEADER and (core.last_index > final or validator._may_not_lead()):
        return 0  # its patience is counted, and which ticks count
    if validator._wariness.is_on:
        until = min(until, _acts_in(validator._wariness, validator._finalizer.certified_height))
    until = min(until, absence._asked_at + absence._patience - validator.astray)
    return max(0, until - 1)


def skip(validator: Validator, count: int) -> None:
    """Leave the validator as `count` calls of its `tick` would; at most `idle_ticks`."""
    replica, final = validator._core._replica, validator.final_height
    leads = replica.role is Role.LEADER
    validator._leadership.silence = 0 if leads else validator._leadership.silence + count
    finalizer, wariness, patience = validator._finalizer, validator._wariness, validator._patience
    finalizer.unable = finalizer.unable + count if finalizer.is_left_behind else 0
    behind = wariness.is_on and finalizer.certified_height > final
    wariness.behind = wariness.behind + count if behind else 0
    if wariness.is_on:
        _pass(wariness, count, leads=leads)
    if patience._seen and not validator._may_not_lead():
        patience.exhausted(final)
    replica.election_elapsed += count
    if leads:
        replica.heartbeat_elapsed += count
    else:
        replica.since_promise += count


def _acts_in(wariness: Wariness, certified_height: int) -> int:
    """In how many ticks it may do something: give up a leader, meet a later term, turn its back on a candidate, forgive
    one."""
    meets = wariness._core.state is Role.LEADER and bool(wariness._claims)
    if certified_height > wariness._certified or meets:
        return 1
    election = wariness._election_ticks
    patience = (PATIENCE_TIMEOUTS * election << wariness._doublings) - wariness._quiet
    # The tick looks at this counter before it counts.
    judged = election - wariness._core.since_promise + 1
    return min((patience, *wariness._shunned.values(), *([judged] if judged > 0 else [])))


def _pass(wariness: Wariness, count: int, *, leads: bool) -> None:
    for number in wariness._shunned:
        wariness._shunned[number] -= count
    wariness._led_for = wariness._led_for + count if leads else 0
    if leads or wariness._core.leader == NO_NODE:
        wariness._quiet = 0
        wariness._leaderless += 0 if leads else count
        return
    # Every fifth time it looks at what waits, by the very same clock: these ticks are late.
    for _ in range(count):
        wariness._quiet = wariness._quiet + 1 if wariness._something_waits() else 0
