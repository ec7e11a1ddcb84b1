"""Shares: lints of splits, allocation shares and ranks."""

from __future__ import annotations

from zencode import sentences as s
from zencode.binding import Binding, Statement
from zencode.kinds import WHOLE_PPM
from zencode.lints.finding import Findings, actions, error, givens, percent, slot, warning
from zencode.mechanisms import HOURLY_KEYS, KEYS_WITH_RANKS, KEYS_WITH_SHARES

_HOUR_S, _QUARTER_S = 3_600, 900


def shares_not_whole(binding: Binding) -> Findings:
    """Shares of one thing that are not 100 %, or name a recipient twice."""
    for action in actions(binding, s.SPLIT):
        shares = slot(action, "shares")
        total = sum(ppm for ppm, _ in shares)
        if total != WHOLE_PPM:
            yield error("shares", f"the shares add up to {percent(total)}; a split divides 100 %", action)
        recipients = [recipient for _, recipient in shares]
        if len(set(recipients)) != len(recipients):
            yield error("shares", "one recipient stands twice in a split; say one share for each", action)
    keys = givens(binding, s.ALLOCATION)
    total = sum(slot(given, "share") for given in keys)
    fixed = _by_shares(binding)
    in_bands = givens(binding, s.BAND_SHARE)
    if fixed and not keys:
        yield error("shares", "fixed allocation shares need a share of every member", fixed[0])
    elif fixed and total != WHOLE_PPM:
        reason = f"the allocation shares add up to {percent(total)}; production is shared only at 100 %"
        yield error("shares", reason, keys[0])
    elif (keys or in_bands) and not fixed:
        reason = "allocation shares are given and nothing is shared by them"
        yield warning("shares", reason, (*keys, *in_bands)[0])
    for band in sorted({slot(given, "band") for given in in_bands}):
        of_band = [given for given in in_bands if slot(given, "band") == band]
        total = sum(slot(given, "share") for given in of_band)
        if total != WHOLE_PPM:
            reason = f"the allocation shares in the band '{band}' add up to {percent(total)}, not to 100 %"
            yield error("shares", reason, of_band[0])


def ranks(binding: Binding) -> Findings:
    """Sharing by rank without ranks, and ranks that nothing uses."""
    ranked = actions(binding, s.BY_RANK)
    ranked += [action for action in actions(binding, s.NAMED_KEY) if slot(action, "key") in KEYS_WITH_RANKS]
    given = givens(binding, s.RANK)
    if ranked and not given:
        yield error("ranks", "sharing by rank needs the rank of a member", ranked[0])
    elif given and not ranked:
        yield warning("ranks", "ranks are given and nothing is shared by them", given[0])


def keys(binding: Binding) -> Findings:
    """A named key with periods of another length than it is defined for, or with shares that it cannot offer again."""
    period = binding.given(s.PERIOD)
    length = slot(period, "period") if period else _QUARTER_S
    for action in actions(binding, s.NAMED_KEY):
        wanted = _HOUR_S if slot(action, "key") in HOURLY_KEYS else _QUARTER_S
        if length != wanted:
            reason = f"this key is defined for periods of {wanted // 60} minutes, and they have {length // 60}"
            yield warning("key-period", reason, action)
    again = actions(binding, s.REOFFER)
    new_ways = actions(binding, s.NAMED_KEY, s.EQUAL_PARTS, s.BY_RANK, s.ROUNDS, s.EQUAL_ROUNDS)
    if again and new_ways:
        reason = "unused shares are offered again only where production is shared by fixed allocation shares"
        yield warning("nothing-to-reoffer", reason, again[0])


def _by_shares(binding: Binding) -> list[Statement]:
    found = actions(binding, s.FIXED_SHARES, s.ROUNDS)
    return found + [action for action in actions(binding, s.NAMED_KEY) if slot(action, "key") in KEYS_WITH_SHARES]
