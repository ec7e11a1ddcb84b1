"""Feed stories: for each verdict about values from outside the shortest story that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.amounts import PRICE_MAX_U_KWH
from meshnode.ledger.feeds import MAX_AHEAD_S
from meshnode.ledger.verdicts import Verdict
from protocols.records import DRIVES_GRID_CARBON, DRIVES_GRID_PRICE, DRIVES_PRICE_CAP
from tests.ledger import feeds
from tests.ledger.chain import Chain, account
from tests.ledger.tokens import HOUR_S

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


def with_feed() -> Chain:
    chain = Chain()
    chain.block(feeds.define(chain))
    return chain


@story(Verdict.UNKNOWN_FEED)
def _() -> Found:
    chain = with_feed()
    return chain.say(feeds.value(chain, "anna", 5, feed="weather"))


@story(Verdict.NOT_A_FEEDER)
def _() -> Found:
    """Only who is named, and no longer than he is."""
    chain = Chain()
    chain.block(feeds.define(chain, feeders=(account("bela"),), needed=1))
    return chain.say(feeds.value(chain, "anna", 5))


@story(Verdict.VALUE_STALE)
def _() -> Found:
    chain = with_feed()
    return chain.say(feeds.value(chain, "anna", 5, chain.now_s - HOUR_S - 60))


@story(Verdict.VALUE_TOO_FAR)
def _() -> Found:
    chain = with_feed()
    return chain.say(feeds.value(chain, "anna", 5, chain.now_s + MAX_AHEAD_S + 60))


@story(Verdict.VALUE_IMPOSSIBLE)
def _() -> Found:
    chain = with_feed()
    return chain.say(feeds.value(chain, "anna", 1_000_001), feeds.value(chain, "anna", -1_000_001))


@story(Verdict.VALUE_AGREED)
def _() -> Found:
    """What two have agreed on stands, whatever the third says later."""
    chain = with_feed()
    at_s = chain.now_s
    said = chain.say(*(feeds.value(chain, home, 100, at_s) for home in ("anna", "bela")))
    assert said == [Verdict.ACCEPTED] * 2
    return chain.say(feeds.value(chain, "carla", 100, at_s), feeds.value(chain, "anna", 5, at_s))


@story(Verdict.VALUE_SAID)
def _() -> Found:
    """Nobody agrees with himself."""
    chain = with_feed()
    at_s = chain.now_s
    assert chain.say(feeds.value(chain, "anna", 100, at_s)) == Verdict.ACCEPTED
    return chain.say(feeds.value(chain, "anna", 100, at_s), feeds.value(chain, "anna", 101, at_s))


@story(Verdict.FEED_CONTRADICTS)
def _() -> Found:
    chain = Chain()
    return chain.say(
        feeds.define(chain, needed=4),
        feeds.define(chain, low=5, high=4),
        feeds.define(chain, drives=DRIVES_GRID_CARBON),
        feeds.define(chain, drives=9),
        # A price is in micro-units per kWh, within what any price may be; and a cap is not below nothing.
        feeds.define(chain, drives=DRIVES_GRID_PRICE, unit="EUR/MWh"),
        feeds.define(chain, drives=DRIVES_GRID_PRICE, high=PRICE_MAX_U_KWH + 1),
        feeds.define(chain, drives=DRIVES_PRICE_CAP),
    )


@story(Verdict.DRIVEN_ALREADY)
def _() -> Found:
    """One price, one feed; the feed that says it may be defined anew, and another price is another matter."""
    chain = Chain()
    assert chain.say(feeds.define(chain, drives=DRIVES_GRID_PRICE)) == Verdict.ACCEPTED
    found = chain.say(feeds.define(chain, feed="other", drives=DRIVES_GRID_PRICE))
    again = chain.say(
        feeds.define(chain, drives=DRIVES_GRID_PRICE, needed=3),
        feeds.define(chain, feed="cap", drives=DRIVES_PRICE_CAP, low=0),
    )
    assert again == [Verdict.ACCEPTED] * 2
    return found


@story(Verdict.TOO_MANY_FEEDS)
def _() -> Found:
    chain = with_feed()
    with mock.patch("meshnode.ledger.feeds.MAX_FEEDS", 1):
        assert chain.say(feeds.define(chain, needed=3)) == Verdict.ACCEPTED
        return chain.say(feeds.define(chain, feed="weather"))
