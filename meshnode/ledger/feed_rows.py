"""Feed rows: what the tables about values from outside hold; as `rows`."""

from __future__ import annotations

import msgspec


class FeedRow(msgspec.Struct, frozen=True):
    """A feed by its name; fields as in `FeedDefine`."""

    unit: str
    feeders: tuple[bytes, ...]
    needed: int
    stale_s: int
    deviation_ppm: int
    low: int
    high: int
    drives: int


class PeriodPrice(msgspec.Struct, frozen=True):
    """What a feed said of a price when a period began; the table's key is (its start, what the feed drives).

    since_s: from when on the feed said so.
    """

    price_u_kwh: int
    feed: str
    since_s: int


class Report(msgspec.Struct, frozen=True):
    """What a feeder reported; the table's key is (feed, from when it holds, feeder)."""

    value: int


class Agreed(msgspec.Struct, frozen=True):
    """What enough of them agreed on; the table's key is (feed, from when it holds). until_s: then it is stale."""

    value: int
    agreeing: int
    until_s: int
