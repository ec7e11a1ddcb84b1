"""Feeds: values from outside that enough of the named feeders agree on; the only door for the world's numbers.

A value holds from a time on. For each time every feeder reports once; as soon as `needed` of the reports lie
close enough to the median of all, the median of these is agreed and stands for good. Reports that
deviate count for nothing, those about a time too long ago are refused. Everything is on the
ledger, so every node executes with the same numbers, whatever it could see of the world itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshnode.amounts import PPM, PRICE_MAX_U_KWH
from meshnode.ledger import installations, members
from meshnode.ledger.feed_rows import Agreed, FeedRow, Report
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.origin import Carrier
from protocols.records.feeds import (
    DRIVES_GRID_CARBON,
    DRIVES_NOTHING,
    DRIVES_PRICE_CAP,
    PRICE_UNIT,
    PRICES,
    FeedDefine,
    FeedValue,
)
from protocols.records.origin import MAX_CARBON_G_KWH

# Prices, weather and signals of one community, each from some places.
MAX_FEEDS = 32
# Day-ahead prices are known for tomorrow, weather for some days.
MAX_AHEAD_S = 7 * 86_400
# Two days of quarter-hours and a week ahead; the views keep what is older.
MAX_TIMES_PER_FEED = 9 * 96


def define(state: State, step: FeedDefine, account: bytes) -> Verdict:
    """An administrator names a feed, or changes who feeds it; what was agreed stands."""
    if not members.is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    if any(one not in state.accounts or state.accounts[one].left_s for one in step.feeders):
        return Verdict.UNKNOWN_ACCOUNT
    if step.needed > len(step.feeders) or step.low > step.high or not _fits(step):
        return Verdict.FEED_CONTRADICTS
    if step.drives in PRICES and any(
        one.drives == step.drives for name, one in state.feeds.items() if name != step.feed
    ):
        return Verdict.DRIVEN_ALREADY
    if step.feed not in state.feeds and len(state.feeds) >= MAX_FEEDS:
        return Verdict.TOO_MANY_FEEDS
    facts = (step.needed, step.stale_s, step.deviation_ppm, step.low, step.high, step.drives)
    state.feeds.put(step.feed, FeedRow(step.unit, step.feeders, *facts))
    return Verdict.ACCEPTED


def report(state: State, step: FeedValue, account: bytes, time_s: int) -> Verdict:
    """A feeder reports a value; it may be the one that makes enough of them agree."""
    feed = state.feeds.get(step.feed)
    if feed is None:
        return Verdict.UNKNOWN_FEED
    if account not in feed.feeders:
        return Verdict.NOT_A_FEEDER
    if step.at_s < time_s - feed.stale_s:
        return Verdict.VALUE_STALE
    if step.at_s > time_s + MAX_AHEAD_S:
        return Verdict.VALUE_TOO_FAR
    if not feed.low <= step.value <= feed.high:
        return Verdict.VALUE_IMPOSSIBLE
    place = (step.feed, step.at_s)
    if place in state.agreed:
        return Verdict.VALUE_AGREED
    if (*place, account) in state.reports:
        return Verdict.VALUE_SAID
    _make_room(state, step.feed, place)
    state.reports.put((*place, account), Report(step.value))
    found = agree([row.value for row in reports(state, *place).values()], feed.needed, feed.deviation_ppm)
    if found is not None:
        until_s = step.at_s + feed.stale_s
        state.agreed.put(place, Agreed(*found, until_s))
        if feed.drives == DRIVES_GRID_CARBON:
            installations.feed_grid_carbon(state, int(Carrier.ELECTRICITY), step.at_s, found[0], until_s)
    return Verdict.ACCEPTED


def agree(values: Sequence[int], needed: int, deviation_ppm: int) -> tuple[int, int] | None:
    """(the median of the values that agree, how many do); None if fewer than `needed` do.

    A value agrees if it is within `deviation_ppm` of the median of all values, of its size. Of an even
    number the lower of the middle two is the median, so that it is a value that somebody reported.
    """
    middle = _median(values)
    agreeing = [value for value in values if abs(value - middle) * PPM <= deviation_ppm * abs(middle)]
    return (_median(agreeing), len(agreeing)) if len(agreeing) >= needed else None


def current(state: State, feed: str, at_s: int) -> tuple[int, Agreed] | None:
    """(since when, what) the feed says at a time; None if nothing was agreed, or only what is stale by then."""
    found = state.agreed.last((feed, 0), (feed, at_s + 1))
    return (found[0][1], found[1]) if found is not None and at_s <= found[1].until_s else None


def reports(state: State, feed: str, at_s: int) -> dict[bytes, Report]:
    """What each feeder reported for a time."""
    found = state.reports.range((feed, at_s, b""), (feed, at_s + 1, b""))
    return {account: row for (_, _, account), row in found}


def _fits(step: FeedDefine) -> bool:
    """Whether its unit and its bounds are those of what it drives."""
    if step.drives in PRICES:
        lowest = 0 if step.drives == DRIVES_PRICE_CAP else -PRICE_MAX_U_KWH
        return step.unit == PRICE_UNIT and lowest <= step.low and step.high <= PRICE_MAX_U_KWH
    if step.drives == DRIVES_GRID_CARBON:
        return step.low >= 0 and step.high <= MAX_CARBON_G_KWH
    return step.drives == DRIVES_NOTHING


def _median(values: Sequence[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def _make_room(state: State, feed: str, place: tuple[str, int]) -> None:
    """Forget the oldest times beyond the bound; a new one may be the oldest itself, and is kept."""
    times = {at_s for (_, at_s, _), _ in state.reports.range((feed, 0, b""), (feed + "\0", 0, b""))} - {place[1]}
    for at_s in sorted(times)[: max(0, len(times) + 1 - MAX_TIMES_PER_FEED)]:
        for account in reports(state, feed, at_s):
            state.reports.delete((feed, at_s, account))
        if (feed, at_s) in state.agreed:
            state.agreed.delete((feed, at_s))
