"""Governing: how the homes of tests propose bindings, vote on them and pause the market."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshnode.ledger.governance_rows import Proposal
from meshnode.market import Mechanisms
from protocols.block import SignedRecord
from protocols.records import (
    BindingProposal,
    BindingVote,
    BindingWithdraw,
    MatchingPause,
    PauseBegin,
    PauseEnd,
    Support,
)
from tests.ledger.chain import Chain
from tests.protocols.village import HOMES, device
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

NOTICE_S = 1800
# Half an hour's notice instead of two weeks: a test is about what happens then.
FOUNDED = preset("neighbour_market").replace("14 days notice", "30 minutes notice")
DEARER = FOUNDED.replace("grid energy costs 0.30 EUR/kWh", "grid energy costs 0.40 EUR/kWh")
WITHOUT_FEE = FOUNDED.replace("charge a fee of 0.01 EUR/kWh", "charge a fee of 0.00 EUR/kWh")
HOURLY = FOUNDED.replace("settlement period is 15 minutes", "settlement period is 60 minutes")
# Whoever asks least sells, at what it asks.
AUCTION = FOUNDED.replace(
    "match orders in a double auction at one price", "buy the need in a falling auction of 15 minutes"
)
MECHANISMS = (("pay-as-clear", 1),)


def village(homes: int = 3, able: int | None = None, **changes: Any) -> Chain:
    """A microgrid of which all nodes, or the first few, have declared what they can."""
    chain = Chain(homes, binding=changes.pop("binding", FOUNDED), **changes)
    chain.block(*(declare(chain, home) for home in HOMES[: homes if able is None else able]))
    return chain


def declare(
    chain: Chain, home: str, catalogue: int = 1, mechanisms: tuple[tuple[str, int], ...] | None = None
) -> SignedRecord:
    """A home's node says what it can execute."""
    has = chain.mechanisms.supported() if mechanisms is None else mechanisms
    return chain.sign(Support(**chain.spoken(), catalogue=catalogue, mechanisms=has), device(home))


def propose(chain: Chain, home: str, text: str = DEARER, **changes: Any) -> SignedRecord:
    """A home proposes a binding."""
    fields = {
        "tree": encode(read(text)),
        "text": text.encode(),
        "previous": chain.machine.rules(chain.now_s).binding,
        "not_before_s": 0,
        "catalogue": 1,
        "mechanisms": MECHANISMS,
    }
    return chain.speak(home, BindingProposal, **(fields | changes))


def vote(chain: Chain, home: str, proposal: SignedRecord, choice: int = 1) -> SignedRecord:
    return vote_on(chain, home, proposal.record_id, choice)


def vote_on(chain: Chain, home: str, key: bytes, choice: int) -> SignedRecord:
    """A vote by the record id of the proposal."""
    return chain.speak(home, BindingVote, proposal=key, choice=choice)


def withdraw(chain: Chain, home: str, proposal: SignedRecord) -> SignedRecord:
    return chain.speak(home, BindingWithdraw, proposal=proposal.record_id)


def pause(
    chain: Chain, home: str = "anna", for_s: int = 3600, reason: str = "the meter of the plant lies"
) -> SignedRecord:
    step = PauseBegin(until_s=chain.now_s + for_s, reason=reason)
    return chain.speak(home, MatchingPause, step=step)


def resume(chain: Chain, home: str = "anna") -> SignedRecord:
    return chain.speak(home, MatchingPause, step=PauseEnd())


def proposal(chain: Chain, made: SignedRecord) -> Proposal:
    """How a proposal stands."""
    return chain.machine.state.proposals[made.record_id]


def adopt(chain: Chain, made: SignedRecord, homes: Sequence[str] = HOMES[:3]) -> Proposal:
    """So many members vote for a proposal that it is adopted."""
    chain.block(made)
    chain.block(*(vote(chain, home, made) for home in homes))
    return proposal(chain, made)


def without(mechanisms: Mechanisms, name: str) -> Mechanisms:
    """What a node supports, but for one mechanism."""
    return Mechanisms(mechanisms.get(*pin) for pin in mechanisms.supported() if pin[0] != name)
