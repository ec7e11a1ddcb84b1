"""Feeds: values from outside - prices, weather, signals of the grid - that named members report and agree on."""

from __future__ import annotations

from typing import Annotated

from protocols.records.schema import Field, Int, ListOf, Name, OneOf, Second, Table, Uint, register
from protocols.records.statements import MAX_AMOUNT, AccountId, Spoken

# As people name it: spot-price, outside-temperature.
MAX_FEED_BYTES = 32
# As it stands behind a number: u/kWh, 0.1 °C, g/kWh.
MAX_UNIT_BYTES = 16
# Who looks at the same number; more do not make it truer.
MAX_FEEDERS = 16
# A month: what is older says nothing of now.
MAX_STALE_S = 31 * 86_400
MAX_DEVIATION_PPM = 1_000_000

DRIVES_NOTHING = 0
DRIVES_GRID_CARBON = 1
DRIVES_GRID_PRICE = 2
DRIVES_PRICE_CAP = 3
PRICES = (DRIVES_GRID_PRICE, DRIVES_PRICE_CAP)
# What a feed of prices counts in: millionths of the currency.
PRICE_UNIT = "u/kWh"

FeedName = Name(MAX_FEED_BYTES)
Value = Int(-MAX_AMOUNT, MAX_AMOUNT)


class FeedDefine(Table, frozen=True, kw_only=True):
    """An administrator names a feed and who feeds it, or changes that from now on."""

    feed: Annotated[str, Field(1, FeedName, "its name")]
    unit: Annotated[str, Field(2, Name(MAX_UNIT_BYTES), "of its whole numbers")]
    feeders: Annotated[tuple[bytes, ...], Field(3, ListOf(AccountId, MAX_FEEDERS, 1, ascending=True), "who reports")]
    needed: Annotated[int, Field(4, Int(1, MAX_FEEDERS), "how many must agree")]
    stale_s: Annotated[int, Field(5, Int(1, MAX_STALE_S), "a value of a time this long ago is ignored")]
    deviation_ppm: Annotated[int, Field(6, Uint(MAX_DEVIATION_PPM), "how far from the median still agrees")]
    low: Annotated[int, Field(7, Value, "the least that is possible")]
    high: Annotated[int, Field(8, Value, "the most that is possible")]
    drives: Annotated[
        int,
        Field(
            9,
            Uint(255),
            "0 nothing, 1 the CO2 of a kWh from the grid, in g, 2 its price, 3 the most of an order of a period",
        ),
    ] = 0


class FeedValue(Table, frozen=True, kw_only=True):
    """A feeder reports a value."""

    feed: Annotated[str, Field(1, FeedName, "of which feed")]
    at_s: Annotated[int, Field(2, Second(), "UTC second from which it holds")]
    value: Annotated[int, Field(3, Value, "in the feed's unit")]


@register(27)
class Feed(Spoken, frozen=True, kw_only=True):
    """A feed is named, or fed; signed by the member key of an administrator or of a feeder."""

    step: Annotated[
        FeedDefine | FeedValue,
        Field(3, OneOf(define=(0, FeedDefine), value=(1, FeedValue)), "what is done"),
    ]
