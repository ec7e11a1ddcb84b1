"""Credit stories: for each verdict about credit, prices and other parameters the shortest story that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.verdicts import Verdict
from protocols.records import LEVY_CONSUMED, CapSet, GridFeesSet, SolidaritySet
from tests.ledger import credit as say
from tests.ledger import delivering
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.credit import settling

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


def owing() -> Chain:
    """Bela stores 1 kWh, and its 1000 pay no more than a part of the fee."""
    chain = settling()
    chain.block(chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    rules = {"fee_asset": "EURO", "fee_u_kwh": 1_500, "others": ((account("dora"), 1_000_000),)}
    chain.block(delivering.storage(chain, efficiency_ppm=1_000_000, **rules), delivering.stored(chain, 0, 0))
    chain.block(delivering.stored(chain, 1_000, 0, ("bela", 1_000, 0)))
    chain.block(time_s=period_s(1) + 130)
    return chain


@story(Verdict.BACKWARDS)
def _() -> Found:
    """For the period that runs, whatever it is that is set."""
    chain = Chain()
    chain.block(time_s=period_s(2) + 60)
    return chain.say(
        say.price(chain, "bela", sell=100_000, from_s=period_s(2)),
        say.outside(chain, grid=300_000, from_s=period_s(1)),
        say.levy(chain, "all", LEVY_CONSUMED, 5, from_s=period_s(2)),
        say.parameter(chain, CapSet(cap_u_kwh=5, from_s=period_s(0))),
    )


@story(Verdict.OVER_CREDIT)
def _() -> Found:
    chain = settling()
    chain.block(say.limit(chain, "bela", 500))
    return chain.say(chain.bid("bela", 1, 10, 150_100))


@story(Verdict.IN_ARREARS)
def _() -> Found:
    chain = owing()
    chain.block(say.limit(chain, None, 10**9))
    return chain.say(chain.bid("bela", 5, 1, 150_000))


@story(Verdict.FEES_OWED)
def _() -> Found:
    chain = owing()
    return chain.say(delivering.storage(chain, efficiency_ppm=1_000_000))


@story(Verdict.NOT_SUPPLIER)
def _() -> Found:
    """A neighbour bounds nobody's credit, nor everybody's."""
    chain = Chain()
    return chain.say(say.limit(chain, "carla", 5, by="bela"), say.limit(chain, None, 5, by="bela"))


@story(Verdict.PARAMETER_CONTRADICTS)
def _() -> Found:
    """A levy on nothing known, shares for nobody, helped without a share, fees that rise, a cap below the floor."""
    chain = Chain()
    return chain.say(
        say.levy(chain, "all", 3, 5),
        say.parameter(chain, SolidaritySet(share_ppm=5)),
        say.parameter(chain, SolidaritySet(share_ppm=0, helped=((account("anna"), 1),))),
        say.parameter(chain, GridFeesSet(fees_u_kwh=(1, 2))),
        say.parameter(chain, CapSet(floor_u_kwh=2, cap_u_kwh=1)),
    )


@story(Verdict.TOO_MANY_CHANGES)
def _() -> Found:
    """What was announced may be said otherwise; another change, or another levy, is one too many."""
    chain = Chain()
    with (
        mock.patch("meshnode.settlement.parameters.MAX_CHANGES", 1),
        mock.patch("meshnode.settlement.parameters.MAX_LEVIES", 1),
    ):
        first = chain.say(say.price(chain, "bela", sell=100_000), say.outside(chain, grid=300_000))
        again = chain.say(say.price(chain, "bela", sell=110_000), say.levy(chain, "all", LEVY_CONSUMED, 5))
        assert first == again == [Verdict.ACCEPTED] * 2
        return chain.say(
            say.price(chain, "bela", sell=110_000, from_s=period_s(5)),
            say.outside(chain, grid=310_000, from_s=period_s(5)),
            say.levy(chain, "more", LEVY_CONSUMED, 5),
        )


@story(Verdict.NO_DEPOSIT_TO)
def _() -> Found:
    chain = settling()
    return chain.say(say.deposit(chain, "bela", 5, to="dora"))
