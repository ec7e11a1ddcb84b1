"""Feed stories: for each verdict about values from outside the shortest story that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.feeds import MAX_AHEAD_S
from meshnode.ledger.verdicts import Verdict
from protocols.records import DRIVES_GRID_CARBON
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
    )


@story(Verdict.TOO_MANY_FEEDS)
def _() -> Found:
    chain = with_feed()
    with mock.patch("meshnode.ledger.feeds.MAX_FEEDS", 1):
        assert chain.say(feeds.define(chain, needed=3)) == Verdict.ACCEPTED
        return chain.say(feeds.define(chain, feed="weather"))
