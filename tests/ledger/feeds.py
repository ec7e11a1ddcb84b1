"""Feeds: the records about values from outside, as the homes of a `Chain` say them."""

from __future__ import annotations

from typing import Any

from protocols.block import SignedRecord
from protocols.records import Feed, FeedDefine, FeedValue
from tests.ledger.chain import Chain, account
from tests.ledger.tokens import HOUR_S

FEEDERS = ("anna", "bela", "carla")


def define(chain: Chain, by: str = "anna", **changes: Any) -> SignedRecord:
    """Three homes look at the price; two must agree within 5 %."""
    fields: dict[str, Any] = {
        "feed": "price",
        "unit": "u/kWh",
        "feeders": tuple(sorted(account(home) for home in FEEDERS)),
        "needed": 2,
        "stale_s": HOUR_S,
        "deviation_ppm": 50_000,
        "low": -1_000_000,
        "high": 1_000_000,
    }
    return chain.speak(by, Feed, step=FeedDefine(**(fields | changes)))


def value(chain: Chain, home: str, number: int, at_s: int | None = None, feed: str = "price") -> SignedRecord:
    return chain.speak(home, Feed, step=FeedValue(feed=feed, at_s=chain.now_s if at_s is None else at_s, value=number))
