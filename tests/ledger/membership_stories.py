"""Membership stories: for each verdict about requests to join, frozen and closed accounts the shortest."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.verdicts import Verdict
from protocols.records import JoinVote, Unfreeze
from tests.effects.ledgers import ledger, read_on
from tests.ledger import tokens, wishes
from tests.ledger.chain import Chain, account, member, period_s

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}

JOIN = "When somebody asks to join as 'prosumer'\n"
ASK = f"{JOIN}Then ask 60 % of members to agree within 2 days"
SILENCE = "When a meter is silent for 30 minutes\nThen freeze the account"


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


@story(Verdict.JOIN_REFUSED)
def _() -> Found:
    """Nobody joins this year."""
    chain = ledger(f"{JOIN}Then refuse the member")
    return chain.say(chain.join(member("emil")))


@story(Verdict.MEMBERS_ASKED)
def _() -> Found:
    """Emil is no member by asking, and his name stays free for the first who is let in."""
    chain = ledger(ASK)
    found = chain.say(chain.join(member("emil")), chain.join(member("emil")))
    assert account("emil") not in chain.machine.state.accounts and len(chain.machine.state.join_requests) == 2
    first, second = (request for request, _ in chain.machine.state.join_requests.items())
    for home in ("bela", "carla", "anna"):
        chain.block(*(chain.speak(home, JoinVote, request=one, agrees=1) for one in (first, second)))
    # The second request is decided by anna's word, of three in four: by then there is an emil, and nobody else comes.
    assert account("emil") in chain.machine.state.accounts and len(chain.machine.state.join_requests) == 0
    return found


@story(Verdict.UNKNOWN_REQUEST)
def _() -> Found:
    """Nobody asked; a vote that came too late; a vote about what was decided."""
    chain = ledger(ASK)
    request = chain.join(member("emil"))
    chain.block(request)
    chain.block(*(chain.speak(home, JoinVote, request=request.record_id, agrees=1) for home in ("bela", "carla")))
    return chain.say(
        chain.speak("anna", JoinVote, request=request.record_id, agrees=0),
        chain.speak("anna", JoinVote, request=bytes(32), agrees=1),
    )


@story(Verdict.TOO_MANY_REQUESTS)
def _() -> Found:
    chain = ledger(ASK)
    with mock.patch("meshnode.execution.joining.MAX_REQUESTS", 1):
        assert chain.say(chain.join(member("emil"))) == Verdict.MEMBERS_ASKED
        return chain.say(chain.join(member("fritz")))


def frozen() -> Chain:
    """Bela's account is frozen: her meter has been silent for an hour."""
    chain = ledger(
        SILENCE, "When a member places an order\nThen match orders in a double auction at one price", homes=4
    )
    chain.block(chain.issue("anna"), chain.issue("anna", "EURO"))
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla", "dora")))
    for period in range(4):
        others = [chain.reading(home, period, 0) for home in ("anna", "carla", "dora")]
        chain.block(*others, time_s=max(chain.now_s + 1, period_s(period + 1)))
    assert account("bela") in chain.machine.state.frozen
    return chain


@story(Verdict.FROZEN)
def _() -> Found:
    """No order, no transfer, no exchange, no agent; her readings count, and she may still withdraw an order."""
    chain = frozen()
    assert chain.say(chain.reading("bela", 3, 100)) == Verdict.ACCEPTED
    return chain.say(
        chain.bid("bela", 6, 100, 150_000),
        chain.transfer("bela", "anna", 1),
        tokens.offer(chain, "bela", (1, "SUN"), (1, "EURO")),
        wishes.agent(chain, "bela", 1, 2, 1, 2, 3),
    )


@story(Verdict.NOT_FROZEN)
def _() -> Found:
    """Carla's account never was, bela's is not any more."""
    chain = frozen()
    lifted = chain.speak("anna", Unfreeze, account=account("bela"))
    assert chain.say(lifted) == Verdict.ACCEPTED
    return chain.say(*(chain.speak("anna", Unfreeze, account=account(home)) for home in ("bela", "carla")))


@story(Verdict.ACCOUNT_CLOSED)
def _() -> Found:
    """Emil left an hour ago, and nothing keeps his account open for corrections."""
    chain = ledger(f"{JOIN}Then accept the member")
    chain.block(chain.join(member("emil")))
    chain.block(chain.reading("emil", 0, 100), time_s=period_s(1) + 1)
    chain.block(chain.leave("emil"))
    for period in range(3):
        read_on(chain, period)
    return chain.say(chain.reading("emil", 1, 200), time_s=period_s(5))


@story(Verdict.FACT_MISSING)
def _() -> Found:
    """Nobody says behind which substation emil lives."""
    chain = ledger(f"{JOIN}If the meter is behind the substation 'AC1'\nThen accept the member\nEndIf")
    return chain.say(chain.join(member("emil")))
