"""Governance stories: for each verdict about proposals, votes and the pause of matching the shortest that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.verdicts import Verdict
from tests.ledger import governing as say
from tests.ledger.chain import Chain, member
from tests.ledger.governing import FOUNDED, HOURLY, WITHOUT_FEE, village
from zencode.binding import encode
from zencode.reader import read

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


@story(Verdict.BINDING_UNFIT)
def _() -> Found:
    """No tree, a floor above the cap, a mechanism and a catalogue that are kept back."""
    chain = village()
    broken = read(FOUNDED.replace("prices below 0.08", "prices below 0.80"))
    return chain.say(
        say.propose(chain, "anna", tree=b"\x80"),
        say.propose(chain, "bela", tree=encode(broken)),
        say.propose(chain, "carla", mechanisms=()),
        say.propose(chain, "anna", catalogue=0),
    )


@story(Verdict.OTHER_BINDING)
def _() -> Found:
    chain = village()
    return chain.say(say.propose(chain, "anna", previous=bytes(32)))


@story(Verdict.BINDING_IN_FORCE)
def _() -> Found:
    """Unless another one is adopted: then it can be proposed that everything stays as it is."""
    chain = village()
    assert say.adopt(chain, say.propose(chain, "anna")).from_s
    assert chain.say(say.propose(chain, "bela", FOUNDED)) == Verdict.ACCEPTED
    return village().say(say.propose(chain, "anna", FOUNDED))


@story(Verdict.OTHER_GROUND)
def _() -> Found:
    """Another settlement period, another currency."""
    chain = village()
    francs = FOUNDED.replace("EUR", "CHF")
    return chain.say(say.propose(chain, "anna", HOURLY), say.propose(chain, "bela", francs))


@story(Verdict.TOO_MANY_PROPOSALS)
def _() -> Found:
    """One at a time for a member, and some for all."""
    chain = village()
    with mock.patch("meshnode.ledger.proposals.MAX_UNDECIDED", 2):
        assert chain.say(say.propose(chain, "anna"), say.propose(chain, "bela")) == [Verdict.ACCEPTED] * 2
        return chain.say(say.propose(chain, "anna", WITHOUT_FEE), say.propose(chain, "carla"))


@story(Verdict.UNKNOWN_PROPOSAL)
def _() -> Found:
    chain = village()
    never = say.propose(chain, "anna")
    return chain.say(say.vote(chain, "anna", never), say.withdraw(chain, "anna", never))


@story(Verdict.NOT_PROPOSER)
def _() -> Found:
    """Not even an administrator takes back what another member has proposed."""
    chain = village()
    made = say.propose(chain, "bela")
    chain.block(made)
    return chain.say(say.withdraw(chain, "anna", made))


@story(Verdict.VOTE_NOT_OPEN)
def _() -> Found:
    """Two of three nodes have said what they can; once the third has, votes count."""
    chain = village(able=2)
    made = say.propose(chain, "anna")
    chain.block(made)
    early = chain.say(say.vote(chain, "anna", made))
    assert chain.say(say.declare(chain, "carla")) == Verdict.ACCEPTED
    assert chain.say(say.vote(chain, "anna", made)) == Verdict.ACCEPTED
    return early


@story(Verdict.VOTE_OVER)
def _() -> Found:
    """Adopted by two of three, taken back, out of time."""
    chain = village()
    made = say.propose(chain, "anna")
    say.adopt(chain, made, ("anna", "bela"))
    found = [chain.say(say.vote(chain, "carla", made)), chain.say(say.withdraw(chain, "anna", made))]
    other = say.propose(chain, "anna", WITHOUT_FEE)
    chain.block(other)
    chain.block(say.withdraw(chain, "anna", other))
    found.append(chain.say(say.vote(chain, "carla", other)))
    late = say.propose(chain, "anna", WITHOUT_FEE, previous=chain.machine.rules(chain.now_s).binding)
    with mock.patch("meshnode.ledger.proposals.VOTING_S", 60):
        chain.block(late)
    chain.block(time_s=chain.now_s + 60)
    found.append(chain.say(say.vote(chain, "carla", late)))
    assert all(isinstance(one, Verdict) for one in found)
    return [one for one in found if isinstance(one, Verdict)]


@story(Verdict.NO_VOTE)
def _() -> Found:
    """Whoever is admitted while others vote decides the next time."""
    chain = village()
    made = say.propose(chain, "anna")
    chain.block(made)
    chain.block(chain.join(member("emil")))
    return chain.say(say.vote(chain, "emil", made))


@story(Verdict.VOTED_ALREADY)
def _() -> Found:
    chain = village()
    made = say.propose(chain, "anna")
    chain.block(made)
    chain.block(say.vote(chain, "bela", made, 0))
    return chain.say(say.vote(chain, "bela", made, 1), say.vote(chain, "bela", made, 0))


@story(Verdict.PAUSED_ALREADY)
def _() -> Found:
    chain = Chain()
    chain.block(say.pause(chain))
    return chain.say(say.pause(chain))


@story(Verdict.NOT_PAUSED)
def _() -> Found:
    """Never, ended, over by itself."""
    chain = Chain()
    found = [chain.say(say.resume(chain))]
    chain.block(say.pause(chain))
    chain.block(say.resume(chain))
    found.append(chain.say(say.resume(chain)))
    chain.block(say.pause(chain, for_s=60))
    chain.block(time_s=chain.now_s + 60)
    found.append(chain.say(say.resume(chain)))
    return [one for one in found if isinstance(one, Verdict)]
