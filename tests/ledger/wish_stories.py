"""Wish stories: for each verdict about agents and partners the shortest story that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.verdicts import Verdict
from protocols.records import SIDE_BUY, SIDE_SELL
from tests.ledger import delivering, order_stories
from tests.ledger.order_stories import ENERGY, EURO
from tests.ledger.wishes import agent, agent_off, first, nobody_first

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


@story(Verdict.TARGETS_CONTRADICT)
def _() -> Found:
    """Low not below the target, the target not below high; and more than the store may hold."""
    chain = order_stories.market()
    chain.block(chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    chain.block(delivering.storage(chain, fee_u_kwh=0))
    kept = {"asset": "KEPT"}
    assert chain.machine.state.storages["KEPT"].most_wh == 2000
    assert chain.say(agent(chain, "bela", 1, 2, 100, 1000, 2000, **kept)) == Verdict.ACCEPTED
    return chain.say(
        agent(chain, "bela", 1, 2, 10, 10, 20),
        agent(chain, "bela", 1, 2, 0, 20, 20),
        agent(chain, "bela", 1, 2, 100, 1000, 2001, **kept),
    )


@story(Verdict.TOO_MANY_AGENTS)
def _() -> Found:
    """One for each asset; setting it again is not another one."""
    chain = order_stories.market()
    chain.block(chain.issue("anna", "SUN"))
    with mock.patch("meshnode.execution.agents.MAX_AGENTS_PER_ACCOUNT", 1):
        first_one, again = agent(chain, "bela", 1, 2, 1, 2, 3), agent(chain, "bela", 1, 3, 1, 2, 3)
        assert chain.say(first_one, again) == [Verdict.ACCEPTED] * 2
        return chain.say(agent(chain, "bela", 1, 2, 1, 2, 3, asset="SUN"))


@story(Verdict.NO_AGENT)
def _() -> Found:
    """Never set, ended before, somebody else's."""
    chain = order_stories.market()
    chain.block(agent(chain, "bela", 1, 2, 1, 2, 3))
    found = chain.say(agent_off(chain, "carla"), agent_off(chain, "bela", EURO))
    assert chain.say(agent_off(chain, "bela")) == Verdict.ACCEPTED
    again = chain.say(agent_off(chain, "bela"))
    assert isinstance(found, list) and isinstance(again, Verdict)
    return [*found, again]


@story(Verdict.STORED_PAYS)
def _() -> Found:
    """An order, an auction, an agent, a station, a storage whose price is in stored energy."""
    chain = order_stories.market()
    chain.block(chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    chain.block(delivering.storage(chain, fee_u_kwh=0))
    kept = {"paid_with": "KEPT"}
    return chain.say(
        order_stories.buy(chain, "bela", 1, 1, unbacked=1, **kept),
        order_stories.falling(chain, "bela", 1, 1, **kept),
        agent(chain, "bela", 1, 2, 1, 2, 3, **kept),
        delivering.station(chain, "bela", asset="KEPT"),
        delivering.storage(chain, fee_asset="KEPT", fee_u_kwh=1),
    )


@story(Verdict.NO_PREFERENCE)
def _() -> Found:
    """Never stated, of the other side, of somebody else, of an asset and not of periods; and ended before."""
    chain = order_stories.market()
    chain.block(first(chain, "bela", SIDE_SELL, "carla", 100_000))
    found = chain.say(
        nobody_first(chain, "bela", SIDE_BUY),
        nobody_first(chain, "carla", SIDE_SELL),
        nobody_first(chain, "bela", SIDE_SELL, asset=ENERGY, paid_with=EURO),
    )
    assert chain.say(nobody_first(chain, "bela", SIDE_SELL)) == Verdict.ACCEPTED
    again = chain.say(nobody_first(chain, "bela", SIDE_SELL))
    assert isinstance(found, list) and isinstance(again, Verdict)
    return [*found, again]


@story(Verdict.TOO_MANY_PREFERENCES)
def _() -> Found:
    """Another partner at the same place is not one more."""
    chain = order_stories.market()
    with mock.patch("meshnode.ledger.preferences.MAX_PREFERENCES_PER_ACCOUNT", 1):
        one, other = (first(chain, "bela", SIDE_SELL, home, 100_000) for home in ("carla", "anna"))
        assert chain.say(one, other) == [Verdict.ACCEPTED] * 2
        return chain.say(first(chain, "bela", SIDE_BUY, "carla", 100_000))
