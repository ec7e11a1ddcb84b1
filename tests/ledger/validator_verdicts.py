"""Validator verdicts: for each verdict about who validates the shortest story that meets it; more of them in
test_validators."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.verdicts import Verdict
from protocols.records import CHANGE_ADD, CHANGE_MODE, CHANGE_REMOVE
from tests.ledger.chain import Chain, member
from tests.protocols.keys import key_pair

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


@story(Verdict.CHANGE_INCOMPLETE)
def _() -> Found:
    """Add whom? Set which mode? And one that asks for both."""
    chain = Chain()
    return [
        chain.say(change)
        for change in (
            chain.change(CHANGE_ADD),
            chain.change(CHANGE_MODE),
            chain.change(CHANGE_REMOVE, "bela", mode=0),
            chain.change(CHANGE_MODE, "bela", mode=1),
        )
    ]


@story(Verdict.OTHER_QUORUM)
def _() -> Found:
    """Signed when others voted: whoever signed may not have wanted this."""
    chain = Chain(homes=5)
    late = chain.change(CHANGE_REMOVE, "dora")
    assert chain.say(chain.change(CHANGE_REMOVE, "emil")) == Verdict.ACCEPTED
    chain.block()
    return chain.machine.check_record(late, chain.now_s)


@story(Verdict.CHANGE_PENDING)
def _() -> Found:
    """Two at once, and one in the block that only announces the first."""
    chain = Chain(homes=5)
    chain.block(chain.change(CHANGE_REMOVE, "emil"), chain.change(CHANGE_REMOVE, "dora"))
    first, second = chain.verdicts()
    assert first == Verdict.ACCEPTED
    return [second, chain.say(chain.change(CHANGE_REMOVE, "dora"))]


@story(Verdict.CHANGES_NOTHING)
def _() -> Found:
    chain = Chain()
    return [chain.say(chain.change(CHANGE_ADD, "bela")), chain.say(chain.change(CHANGE_MODE, mode=0))]


@story(Verdict.NOT_A_VALIDATOR)
def _() -> Found:
    chain = Chain()
    chain.block(chain.join(member("emil")))
    return chain.say(chain.change(CHANGE_REMOVE, "emil"))


@story(Verdict.TOO_FEW_VALIDATORS)
def _() -> Found:
    """One of three may fail; of two none may."""
    chain = Chain()
    return chain.say(chain.change(CHANGE_REMOVE, "bela"))


@story(Verdict.TOO_MANY_VALIDATORS)
def _() -> Found:
    chain = Chain()
    chain.block(chain.join(member("emil")))
    with mock.patch("protocols.quorum_change.MAX_VALIDATORS", 3):
        return chain.say(chain.change(CHANGE_ADD, "emil"))


@story(Verdict.NOT_BYZANTINE_SIZE)
def _() -> Found:
    """Three cannot tolerate a liar."""
    chain = Chain()
    return chain.say(chain.change(CHANGE_MODE, mode=1))


@story(Verdict.UNKNOWN_DEVICE)
def _() -> Found:
    """Nobody's device, and a member's key that is none."""
    chain = Chain()
    return [
        chain.say(chain.change(CHANGE_ADD, "gina")),
        chain.say(chain.change(CHANGE_ADD, device_key=key_pair("bela").public)),
    ]
