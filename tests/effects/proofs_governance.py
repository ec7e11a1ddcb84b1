"""Proofs of governance: how a binding is changed, which versions it means, and when the matching of orders stops."""

from __future__ import annotations

from meshnode.ledger import pausing
from meshnode.ledger.governance_rows import ADOPTED, OPEN, REJECTED
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Mechanism, Mechanisms
from meshnode.market.clearing import Clearing
from meshnode.market.mechanism import Terms
from meshnode.market.order import Order
from meshnode.market.pay_as_bid import PayAsBid
from meshnode.market.registry import installed_mechanisms
from meshnode.settlement.closing import PeriodClosed
from protocols.evidence import EvidenceKind
from tests.effects.proof import Proof
from tests.ledger import governing as say
from tests.ledger.chain import Chain, member, period_s
from tests.ledger.governing import DEARER, FOUNDED
from zencode.binding import encode
from zencode.catalogue import ids
from zencode.reader import read

DAY_S = 86_400
HOUR_S = 3_600
_RULE = "Rule binding version 1\n"


def saying(rule: str = "", block: str = "") -> str:
    """The usual binding with one rule or block more."""
    assert _RULE in FOUNDED
    return FOUNDED.replace(_RULE, f"{_RULE}{rule}\n" if rule else _RULE) + block


def at_a_vote(action: str) -> str:
    return saying(block=f"\nWhen a vote opens\nThen {action}\n")


def dearer(text: str) -> str:
    """The same binding, with another price of the grid."""
    return text.replace("grid energy costs 0.30 EUR/kWh", "grid energy costs 0.40 EUR/kWh")


def proposed(text: str, homes: int = 4) -> tuple[Chain, bytes]:
    """A vote that is open in a community founded with a binding."""
    chain = say.village(homes, binding=text, able=0)
    newest = 2
    chain.block(*(say.declare(chain, home, catalogue=newest) for home in chain.village.homes))
    made = say.propose(chain, "anna", dearer(text), catalogue=newest)
    assert chain.say(made) == Verdict.ACCEPTED
    assert say.proposal(chain, made).status == OPEN
    return chain, made.record_id


def cast(chain: Chain, key: bytes, **choices: int) -> int:
    """What a proposal has come to after these votes."""
    for home, choice in choices.items():
        chain.block(say.vote_on(chain, home, key, choice))
    return chain.machine.state.proposals[key].status


def _changes() -> None:
    """Three of four adopt where 66 % are asked for; two are enough where it is half, and the notice is what is said."""
    chain, key = proposed(FOUNDED)
    assert cast(chain, key, anna=1, bela=1) == OPEN
    assert cast(chain, key, carla=1) == ADOPTED
    half = FOUNDED.replace("66 % of votes and 30 minutes notice", "50 % of votes and 2 hours notice")
    other, key = proposed(half)
    assert cast(other, key, anna=1, bela=1) == ADOPTED
    row = other.machine.state.proposals[key]
    assert row.from_s - row.decided_s >= 2 * HOUR_S


class _PaysWhatIsBid(PayAsBid):
    """A second version of the auction at one price: everybody pays its bid. Made for this proof."""

    name = "pay-as-clear"
    version = 2

    def clear(self, orders: list[Order], terms: Terms) -> Clearing:  # type: ignore[override]
        """As bid."""
        return super().clear(orders, terms)


def _price(text: str) -> int:
    """What a bid of 0.20 that meets an offer of 0.10 pays."""
    usual = installed_mechanisms()
    second: Mechanism = _PaysWhatIsBid()
    both = Mechanisms([*(usual.get(*pin) for pin in usual.supported()), second])
    chain = Chain(binding=text, mechanisms=both)
    chain.block(chain.bid("anna", 0, 100, 200_000), chain.offer("bela", 0, 100, 100_000))
    chain.block(time_s=period_s(1) + 130)
    (closed,) = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodClosed)]
    (trade,) = closed.trades
    return trade.price_u_kwh


def _mechanism() -> None:
    """The version that is named clears; a node that has another one alone cannot carry the binding out."""
    assert _price(FOUNDED) == 150_000
    pinned = saying("Rule the mechanism 'pay-as-clear' is used in version 2")
    assert _price(pinned) == 200_000
    chain = say.village()
    without = say.propose(chain, "anna", pinned, catalogue=2, mechanisms=(("pay-as-clear", 2),))
    chain.block(*(say.declare(chain, home, catalogue=2) for home in chain.village.homes))
    chain.block(without)
    assert say.proposal(chain, without).status != OPEN
    assert chain.machine.lacks(say.proposal(chain, without))[-1] == "the mechanism pay-as-clear version 2"


def _may_pause() -> None:
    """Bela's role lets him stop the market for a day, and not for longer; without the sentence he may not at all."""
    chain = Chain()
    chain.block(chain.join(member("dora", ("prosumer",))))
    assert chain.say(say.pause(chain, "dora")) == Verdict.NOT_ADMINISTRATOR
    chain = Chain(binding=saying("Rule the role 'prosumer' may pause matching for at most 1 day"))
    chain.block(chain.join(member("dora", ("prosumer",))))
    assert chain.say(say.pause(chain, "dora", for_s=2 * DAY_S)) == Verdict.END_NOT_AHEAD
    assert chain.say(say.pause(chain, "dora", for_s=DAY_S)) == Verdict.ACCEPTED
    assert chain.say(say.resume(chain, "bela")) == Verdict.NOT_ADMINISTRATOR
    assert chain.say(say.resume(chain, "dora")) == Verdict.ACCEPTED


def _vote_time() -> None:
    """After two hours with one vote of three it is rejected; without the sentence the vote is still open."""
    chain, key = proposed(FOUNDED)
    cast(chain, key, anna=1)
    chain.block(time_s=chain.now_s + 3 * HOUR_S)
    assert cast(chain, key, bela=1, carla=1) == ADOPTED
    chain, key = proposed(at_a_vote("close the vote after 2 hours"))
    opened_s = chain.machine.state.proposals[key].opened_s
    cast(chain, key, anna=1)
    chain.block(time_s=opened_s + 2 * HOUR_S - 1)
    assert chain.machine.state.proposals[key].status == OPEN
    chain.block(time_s=opened_s + 2 * HOUR_S)
    assert chain.machine.state.proposals[key].status == REJECTED


def _turnout() -> None:
    """Three of four are enough votes for it, but all must take part: the fourth decides, even with a no."""
    chain, key = proposed(FOUNDED)
    assert cast(chain, key, anna=1, bela=1, carla=1) == ADOPTED
    asked = at_a_vote("count the vote only if 100 % of members take part")
    chain, key = proposed(asked)
    assert cast(chain, key, anna=1, bela=1, carla=1) == OPEN
    assert cast(chain, key, dora=0) == ADOPTED
    chain, key = proposed(asked)
    assert cast(chain, key, dora=2) == REJECTED, "who abstains takes no part"


def _paused() -> None:
    """A lie of a validator is proved: the market stops for six hours, if the binding says so."""
    for text, expected in (
        (FOUNDED, False),
        (saying(block="\nWhen evidence against a validator is found\nThen pause matching for at most 6 hours\n"), True),
    ):
        chain = Chain(binding=text)
        lie = (chain.vote("bela", 3, "carla"), chain.vote("bela", 3, "anna"))
        chain.block(chain.evidence(EvidenceKind.VOTES, "bela", *lie, signer="anna"))
        found = pausing.pause(chain.machine.state)
        assert (found is not None) is expected
        if found is not None:
            assert (found.until_s - chain.now_s, found.account) == (6 * HOUR_S, b"")
            chain.block(chain.bid("anna", 0, 100, 200_000), chain.offer("bela", 0, 100, 100_000))
            chain.block(time_s=period_s(1) + 130)
            assert chain.machine.state.periods[period_s(0)].matched == 0
            assert chain.say(say.resume(chain, "carla")) == Verdict.NOT_ADMINISTRATOR
            assert chain.say(say.resume(chain)) == Verdict.ACCEPTED


PROOFS: dict[int, Proof] = {
    ids.CHANGES: _changes,
    ids.MECHANISM: _mechanism,
    ids.MAY_PAUSE: _may_pause,
    ids.VOTE_OPENS: _vote_time,
    ids.VOTE_TIME: _vote_time,
    ids.TURNOUT: _turnout,
    ids.PAUSE: _paused,
}

assert dearer(FOUNDED) == DEARER and encode(read(saying())) == encode(read(FOUNDED))
