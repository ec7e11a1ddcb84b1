"""Verdicts: for each of them the shortest story in which a record meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import msgspec
import pytest

from meshnode.execution import EXECUTED
from meshnode.ledger.book import MAX_ORDERS_PER_ACCOUNT
from meshnode.ledger.verdicts import SENTENCES, Verdict
from protocols.evidence import EvidenceKind
from protocols.records import (
    MemberEntry,
    Support,
    Transfer,
    join_request_bytes,
)
from tests.ledger import (
    credit_stories,
    delivery_stories,
    feed_stories,
    governance_stories,
    membership_stories,
    order_verdicts,
    origin_stories,
    token_stories,
    validator_verdicts,
    wish_stories,
)
from tests.ledger.chain import Chain, member, meter_key, period_s
from tests.protocols.keys import key_pair
from tests.protocols.village import device
from zencode.presets import preset

STORIES: dict[Verdict, Callable[[], Verdict | list[Verdict]]] = {
    **token_stories.STORIES,
    **order_verdicts.STORIES,
    **delivery_stories.STORIES,
    **origin_stories.STORIES,
    **feed_stories.STORIES,
    **governance_stories.STORIES,
    **credit_stories.STORIES,
    **validator_verdicts.STORIES,
    **wish_stories.STORIES,
    **membership_stories.STORIES,
}


def story(verdict: Verdict) -> Callable[[Callable[[], Verdict | list[Verdict]]], object]:
    def tell(function: Callable[[], Verdict | list[Verdict]]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


@pytest.mark.parametrize("verdict", list(Verdict), ids=lambda verdict: verdict.name)
def test_every_verdict_has_its_story(verdict: Verdict) -> None:
    found = STORIES[verdict]()
    assert found == verdict or (isinstance(found, list) and set(found) == {verdict})


def test_every_verdict_has_a_sentence() -> None:
    assert list(SENTENCES) == list(Verdict)
    assert len(set(SENTENCES.values())) == len(SENTENCES)


# --- any record


@story(Verdict.ACCEPTED)
def _() -> Verdict | list[Verdict]:
    """A node declares what it supports, a member issues a token."""
    chain = Chain()
    support = Support(**chain.spoken(), catalogue=1, mechanisms=(("pay-as-clear", 1),))
    return chain.say(chain.sign(support, device("bela")), chain.issue("anna"))


@story(Verdict.REPEATED)
def _() -> Verdict | list[Verdict]:
    """The same transfer in two blocks: paid once."""
    chain = Chain()
    chain.block(chain.issue("anna"))
    transfer = chain.transfer("anna", "bela", 10)
    assert chain.say(transfer) == Verdict.ACCEPTED
    again = chain.say(transfer)
    assert [row.free for _, row in chain.machine.state.balances.items()] in ([90, 10], [10, 90])
    return again


@story(Verdict.NONCE_TAKEN)
def _() -> Verdict | list[Verdict]:
    """Two transfers with one number: only the first is carried out, even in one block."""
    chain = Chain()
    chain.block(chain.issue("anna"))
    first, second = chain.transfer("anna", "bela", 10, nonce=7), chain.transfer("anna", "bela", 20, nonce=7)
    found = chain.say(first, second)
    assert isinstance(found, list) and found[0] == Verdict.ACCEPTED
    return found[1]


@story(Verdict.UNKNOWN_KEY)
def _() -> Verdict | list[Verdict]:
    """Gina is no member: no block may carry what she signs. Emil was one when it was made, and is not any more."""
    chain = Chain()
    assert chain.machine.check_record(chain.issue("gina"), chain.now_s) == Verdict.UNKNOWN_KEY
    chain.block(chain.join(member("emil")))
    chain.block(chain.leave("emil"), certify=False)
    return chain.say(chain.bid("emil", 1, 100, 150_000))


@story(Verdict.WRONG_KEY)
def _() -> Verdict | list[Verdict]:
    """A meter's reading signed by the owner, an order signed by the meter, a reading by another meter."""
    chain = Chain()
    check = [
        chain.machine.check_record(chain.reading("anna", -1, 5, key=key_pair("anna")), chain.now_s),
        chain.machine.check_record(chain.sign(chain.issue("anna").record, meter_key("anna")), chain.now_s),
    ]
    return [*check, chain.say(chain.reading("anna", -1, 5, key=meter_key("bela")))]


@story(Verdict.BAD_SIGNATURE)
def _() -> Verdict | list[Verdict]:
    """Somebody names anna's key and cannot sign with it; or moves her signature to another amount."""
    chain = Chain()
    issue, other = chain.issue("anna"), chain.issue("anna", amount=7)
    forged = msgspec.structs.replace(issue, envelope=msgspec.structs.replace(issue.envelope, signature=bytes(64)))
    moved = msgspec.structs.replace(
        other, envelope=msgspec.structs.replace(other.envelope, signature=issue.envelope.signature)
    )
    return [chain.machine.check_record(record, chain.now_s) for record in (forged, moved)]


@story(Verdict.EXPIRED)
def _() -> Verdict | list[Verdict]:
    """Valid until ten o'clock: a block of ten o'clock may carry it, one of a second later may not."""
    chain = Chain()
    until = chain.now_s + 60
    issue = chain.issue("anna", valid_until_s=until)
    assert chain.machine.check_record(issue, until) == Verdict.ACCEPTED
    return chain.machine.check_record(issue, until + 1)


@story(Verdict.VALID_TOO_LONG)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    longest = chain.now_s + chain.genesis.limits.max_validity_s
    assert chain.machine.check_record(chain.issue("anna", valid_until_s=longest), chain.now_s) == Verdict.ACCEPTED
    return chain.machine.check_record(chain.issue("anna", valid_until_s=longest + 1), chain.now_s)


@story(Verdict.NOT_EXECUTED)
def _() -> Verdict | list[Verdict]:
    """A version that has the record's kind and does nothing with it yet."""
    chain = Chain()
    with mock.patch.dict(EXECUTED):
        del EXECUTED[Transfer]  # type: ignore[attr-defined]
        return chain.machine.check_record(chain.transfer("anna", "bela", 1), chain.now_s)


# --- readings; more of them in test_readings


@story(Verdict.PERIOD_OFF_GRID)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    off = period_s(1) + 1
    return chain.say(
        chain.reading("anna", 0, 5, period_start_s=off), chain.bid("anna", 0, 100, 150_000, period_start_s=off)
    )


@story(Verdict.PERIOD_NOT_OVER)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    return chain.say(chain.reading("anna", 0, 5), time_s=period_s(1) - 1)


@story(Verdict.CORRECTION_TOO_LATE)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    deadline = chain.machine.rules().period.correction_s
    return chain.say(chain.reading("anna", 0, 5), time_s=period_s(1) + deadline + 1)


@story(Verdict.VERSION_CONFLICT)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    found = chain.say(chain.reading("anna", -1, 5), chain.reading("anna", -1, 6))
    assert isinstance(found, list) and found[0] == Verdict.ACCEPTED
    return found[1]


@story(Verdict.REGISTER_DECREASES)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    chain.block(chain.reading("anna", -1, 5))
    return chain.say(chain.reading("anna", 0, 4), time_s=period_s(1))


@story(Verdict.METER_NOT_ACTIVE)
def _() -> Verdict | list[Verdict]:
    """Before its first period, and an order of somebody who has no meter in that period."""
    chain = Chain()
    chain.block(chain.join(member("emil", meters=0)))
    return chain.say(chain.reading("anna", -2, 5), chain.bid("emil", 1, 100, 150_000))


@story(Verdict.IMPLAUSIBLE)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    chain.block(chain.reading("anna", -1, 0))
    return chain.say(chain.reading("anna", 0, 10**6), time_s=period_s(1))


# --- orders


@story(Verdict.NO_MARKET)
def _() -> Verdict | list[Verdict]:
    """The village shares at one price and takes no orders."""
    chain = Chain(binding=preset("mid_market_village"))
    return chain.say(chain.bid("anna", 1, 100, 150_000))


@story(Verdict.PERIOD_OVER)
def _() -> Verdict | list[Verdict]:
    """Until the last second of its period an order is taken, and can be taken back."""
    chain = Chain()
    order = chain.bid("anna", 0, 100, 150_000)
    assert chain.say(order, time_s=period_s(1) - 1) == Verdict.ACCEPTED
    return chain.say(chain.bid("anna", 0, 100, 150_000), chain.cancel("anna", order), time_s=period_s(1))


@story(Verdict.PERIOD_TOO_FAR)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    ahead = chain.genesis.limits.max_order_ahead_s // 900
    assert chain.say(chain.bid("anna", ahead, 100, 150_000)) == Verdict.ACCEPTED
    return chain.say(chain.bid("anna", ahead + 1, 100, 150_000))


@story(Verdict.PRICE_BELOW_FLOOR)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    assert chain.say(chain.offer("anna", 1, 100, 80_000)) == Verdict.ACCEPTED
    return chain.say(chain.offer("anna", 1, 100, 79_999))


@story(Verdict.PRICE_ABOVE_CAP)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    assert chain.say(chain.bid("anna", 1, 100, 290_000)) == Verdict.ACCEPTED
    return chain.say(chain.bid("anna", 1, 100, 290_001))


@story(Verdict.ORDER_TOO_LARGE)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    assert chain.say(chain.bid("anna", 1, 20_000, 150_000)) == Verdict.ACCEPTED
    return chain.say(chain.bid("anna", 1, 20_001, 150_000))


@story(Verdict.TOO_MANY_ORDERS)
def _() -> Verdict | list[Verdict]:
    """The limit is for one account in one period; taking one back makes room."""
    chain = Chain()
    orders = [chain.bid("anna", 1, 100, 150_000) for _ in range(MAX_ORDERS_PER_ACCOUNT)]
    assert set(chain.say(*orders)) == {Verdict.ACCEPTED}
    refused = chain.say(chain.bid("anna", 1, 100, 150_000))
    others = chain.say(chain.bid("bela", 1, 100, 150_000), chain.bid("anna", 2, 100, 150_000))
    assert others == [Verdict.ACCEPTED] * 2
    assert chain.say(chain.cancel("anna", orders[3])) == Verdict.ACCEPTED
    assert chain.say(chain.bid("anna", 1, 100, 150_000)) == Verdict.ACCEPTED
    return refused


@story(Verdict.UNKNOWN_ORDER)
def _() -> Verdict | list[Verdict]:
    """There never was one, it is somebody else's, it was taken back before, its period is cleared."""
    chain = Chain()
    order, other = chain.bid("anna", 1, 100, 150_000), chain.bid("anna", 0, 100, 150_000)
    never = chain.bid("anna", 1, 200, 150_000)
    chain.block(order, other)
    found = [chain.say(chain.cancel("anna", never)), chain.say(chain.cancel("bela", order))]
    assert chain.say(chain.cancel("anna", order)) == Verdict.ACCEPTED
    found.append(chain.say(chain.cancel("anna", order)))
    chain.block(time_s=period_s(1) + 120)
    return [*found, chain.say(chain.cancel("anna", other))]


# --- members; more of them in test_members


@story(Verdict.NOT_ADMINISTRATOR)
def _() -> Verdict | list[Verdict]:
    """Bela administers nothing: she admits nobody, issues nothing, and sends nobody away."""
    chain = Chain()
    return chain.say(chain.join(member("emil"), by="bela"), chain.issue("bela"), chain.leave("carla", by="bela"))


@story(Verdict.COMMUNITY_FULL)
def _() -> Verdict | list[Verdict]:
    """The founders are as many as the ledger settles: nobody else gets in."""
    chain = Chain()
    with mock.patch("meshnode.ledger.members.MAX_ACCOUNTS", len(chain.machine.state.accounts)):
        return chain.say(chain.join(member("gina")))


@story(Verdict.NAME_TAKEN)
def _() -> Verdict | list[Verdict]:
    """Names are never given twice, not even after their owner has left."""
    chain = Chain()
    chain.block(chain.join(member("emil")))
    chain.block(chain.leave("emil"))
    namesake = msgspec.structs.replace(member("fritz"), name="emil")
    proof = joining_proof(chain, namesake, "fritz")
    return chain.say(chain.join(namesake, proof=proof))


@story(Verdict.KEY_TAKEN)
def _() -> Verdict | list[Verdict]:
    """A key of somebody else, one key for two purposes, a key that was replaced long ago, and a new key in use."""
    chain = Chain()
    chain.block(chain.change_key("bela", meter_key("bela"), meter_key("bela", 1)))
    theirs = msgspec.structs.replace(member("emil"), device_key=device("anna").public)
    twice = msgspec.structs.replace(member("emil"), device_key=key_pair("emil").public)
    old = msgspec.structs.replace(member("emil"), device_key=meter_key("bela").public)
    return chain.say(
        *(chain.join(entry) for entry in (theirs, twice, old)),
        chain.change_key("bela", key_pair("bela"), meter_key("anna")),
    )


@story(Verdict.ROLE_NOT_ADMITTED)
def _() -> Verdict | list[Verdict]:
    chain = Chain()
    return chain.say(chain.join(member("emil", ("prosumer", "wizard"))))


@story(Verdict.BAD_PROOF)
def _() -> Verdict | list[Verdict]:
    """Without the newcomer's own signature an administrator could claim anybody's key."""
    chain = Chain()
    other = joining_proof(chain, member("emil", meters=0), "emil")
    return chain.say(chain.join(member("emil"), proof=bytes(64)), chain.join(member("emil"), proof=other))


@story(Verdict.VALIDATOR_KEY)
def _() -> Verdict | list[Verdict]:
    """Who votes is decided elsewhere: neither a validator's key nor its owner goes this way."""
    chain = Chain()
    return chain.say(
        chain.change_key("bela", device("bela"), None),
        chain.leave("bela"),
    )


@story(Verdict.NOT_PROVED)
def _() -> Verdict | list[Verdict]:
    """Bela's vote for carla is no lie, and anna cannot make one of it by saying so."""
    chain = Chain()
    return chain.say(chain.evidence(EvidenceKind.VOTES, "bela", chain.vote("bela", 3, "carla"), signer="anna"))


@story(Verdict.KNOWN_EVIDENCE)
def _() -> Verdict | list[Verdict]:
    """Two nodes find out the same; the second says nothing new."""
    chain = Chain()
    lie = (chain.vote("bela", 3, "carla"), chain.vote("bela", 3, "anna"))
    chain.block(chain.evidence(EvidenceKind.VOTES, "bela", *lie, signer="anna"))
    return chain.say(chain.evidence(EvidenceKind.VOTES, "bela", *lie, signer="carla"))


def joining_proof(chain: Chain, entry: MemberEntry, key: str) -> bytes:
    return key_pair(key).sign(join_request_bytes(chain.chain_id, bytes(16), entry))
