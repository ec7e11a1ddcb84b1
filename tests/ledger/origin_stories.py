"""Origin stories: for each verdict about installations and certificates the shortest story that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.verdicts import Verdict
from meshnode.origin import Source
from protocols.records import INSTALLATION_REMOVED, INSTALLATION_STOPPED
from tests.ledger import origin
from tests.ledger.chain import Chain, meter_id, period_s

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


def with_certificates() -> Chain:
    """Anna's confirmed roof has given 1000 Wh to the grid in period 1, which is final."""
    chain = Chain()
    roof = origin.announce(chain, "anna")
    chain.block(roof)
    chain.block(origin.state(chain, roof))
    for period, given in ((0, 0), (1, 1000)):
        records = [origin.reading(chain, "anna", period, 0, given, produced_wh=given)]
        records += [origin.reading(chain, home, period, 0) for home in ("bela", "carla")]
        chain.block(*records, time_s=period_s(period + 1) + 5)
    chain.block(time_s=period_s(2) + chain.machine.rules().period.correction_s + 5)
    # A block closes a bounded number of periods.
    while chain.machine.state.meta[0].next_final_s < period_s(2):
        chain.block()
    return chain


@story(Verdict.UNKNOWN_METER)
def _() -> Found:
    """Nobody announces a plant behind a neighbour's meter."""
    chain = Chain()
    return chain.say(
        origin.announce(chain, "bela", meter=meter_id("anna")), origin.announce(chain, "bela", meter=bytes(8))
    )


@story(Verdict.UNKNOWN_CODE)
def _() -> Found:
    """What a later version may know; and nobody's plant is made of the grid's energy or of nothing verified."""
    chain = Chain()
    return chain.say(
        origin.announce(chain, "bela", source=99),
        origin.announce(chain, "bela", source=int(Source.UNVERIFIED)),
        origin.announce(chain, "bela", carrier=9),
        origin.announce(chain, "bela", installation=9),
        origin.grid_carbon(chain, 300, carrier=9),
    )


@story(Verdict.NOT_AS_METERED)
def _() -> Found:
    chain = Chain()
    return chain.say(
        origin.announce(chain, "bela", efficiency_ppm=900_000),
        origin.announce(chain, "bela", source=int(Source.GRID)),
        origin.announce_battery(chain, "bela", efficiency_ppm=None),
        origin.announce_battery(chain, "bela", source=int(Source.SOLAR)),
    )


@story(Verdict.INSTALLED_ALREADY)
def _() -> Found:
    """One register counts one plant; a battery beside it has registers of its own."""
    chain = Chain()
    found = chain.say(origin.announce(chain, "bela"), origin.announce_battery(chain, "bela"))
    assert found == [Verdict.ACCEPTED] * 2
    return chain.say(origin.announce(chain, "bela", source=int(Source.WIND)))


@story(Verdict.UNKNOWN_INSTALLATION)
def _() -> Found:
    chain = Chain()
    return chain.say(origin.state(chain, chain.issue("anna")))


@story(Verdict.NOT_NOW)
def _() -> Found:
    """Only what counts is stopped, and it counts again when nothing before the stop can change."""
    chain = Chain()
    roof = origin.announce(chain, "bela")
    assert chain.say(roof) == Verdict.ACCEPTED
    early = chain.say(origin.state(chain, roof, "bela", INSTALLATION_STOPPED))
    assert chain.say(origin.state(chain, roof)) == Verdict.ACCEPTED
    assert chain.say(origin.state(chain, roof, "bela", INSTALLATION_STOPPED)) == Verdict.ACCEPTED
    again = chain.say(origin.state(chain, roof))
    assert chain.say(origin.state(chain, roof, "bela", INSTALLATION_REMOVED)) == Verdict.ACCEPTED
    gone = chain.say(origin.state(chain, roof))
    assert isinstance(early, Verdict) and isinstance(again, Verdict) and isinstance(gone, Verdict)
    return [early, again, gone]


@story(Verdict.TOO_MANY_INSTALLATIONS)
def _() -> Found:
    chain = Chain()
    with mock.patch("meshnode.ledger.installations.MAX_INSTALLATIONS_PER_ACCOUNT", 1):
        assert chain.say(origin.announce(chain, "bela")) == Verdict.ACCEPTED
        return chain.say(origin.announce_battery(chain, "bela"))


@story(Verdict.NOT_CERTIFIED)
def _() -> Found:
    """Nobody passes on or uses more than he has, of the source that he says; all of it or nothing."""
    chain = with_certificates()
    found = chain.say(
        origin.give(chain, "anna", "bela", 1001),
        origin.retire(chain, "anna", 1001),
        origin.retire(chain, "anna", 1, int(Source.WIND)),
        origin.retire(chain, "bela", 1),
    )
    assert origin.certified(chain, "anna") == [(1, 0, 1000)]
    return found


@story(Verdict.TOO_MANY_CERTIFICATES)
def _() -> Found:
    chain = with_certificates()
    with mock.patch("meshnode.ledger.certificates.MAX_RANGES_PER_ACCOUNT", 0):
        receiver = chain.say(origin.give(chain, "anna", "bela", 10))
    assert chain.say(origin.give(chain, "anna", "bela", 10)) == Verdict.ACCEPTED
    with mock.patch("meshnode.ledger.certificates.MAX_RANGES_PER_STEP", 0):
        step = chain.say(origin.retire(chain, "anna", 10))
    assert isinstance(receiver, Verdict) and isinstance(step, Verdict)
    return [receiver, step]


@story(Verdict.PERIOD_CLOSED)
def _() -> Found:
    """What a kWh took is said before its period has closed, never backwards."""
    chain = with_certificates()
    return chain.say(origin.grid_carbon(chain, 300, period=1))
