"""Unheard: a card put back whose last vote not everybody knows of - when that is harmless, and when it is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, combinations

import msgspec
import pytest

from meshnode.network.licence import Known, Licence, Retired, decide, newer
from meshnode.store import SignState
from meshnode.store.reservation import Trust
from protocols import cose
from protocols.certificate import QuorumConfig, quorum_size
from protocols.cose import key_id_of
from protocols.evidence import EvidenceKind
from protocols.histories import History, extract
from protocols.records import QUORUM_BYZANTINE, QUORUM_MAJORITY, Tip, Vote, to_payload
from protocols.roll import Roll
from protocols.signatures import Signatures
from tests.protocols.keys import verify
from tests.protocols.village import Village, device

ANNA = device("anna")
TIP = Tip(term=5, height=40, block=b"b" * 32)
# What the copy says: nothing was signed after term 5. The original has voted in term 6 since.
COPIED = SignState(5, b"candidat", 5, 40, b"b" * 32, 77, 5, 40)


def vote(home: str) -> Vote:
    return Vote(term=6, candidate=device(home).key_id, candidate_tip=TIP, voter_tip=TIP)


def envelope(cast: Vote, village: Village) -> bytes:
    return cose.sign(Vote.KIND, village.chain_id, to_payload(cast), ANNA.public, ANNA.sign).encode()


def answer(has_heard: bool) -> Signatures:
    return Signatures(term=6, tip_term=5, tip_height=40, vote=vote("carla") if has_heard else None)


def subsets(keys: Iterable[bytes]) -> Iterator[frozenset[bytes]]:
    found = list(keys)
    return map(frozenset, chain.from_iterable(combinations(found, count) for count in range(len(found) + 1)))


@pytest.mark.parametrize("trust", [Trust.CLEAN, Trust.SAME_BOOT, Trust.POWER_CUT, Trust.FILE_BEHIND])
@pytest.mark.parametrize(("homes", "mode"), [(3, QUORUM_MAJORITY), (5, QUORUM_MAJORITY), (4, QUORUM_BYZANTINE)])
def test_a_vote_that_nobody_holds_can_be_given_again_and_one_that_somebody_holds_only_without_its_word(
    homes: int, mode: int, trust: Trust
) -> None:
    """Anna voted for Carla, and her older card would vote for Bela in the same term. Whoever has heard of the first
    vote and whoever answers: she signs twice only where all who have heard are away for longer than the patience."""
    village = Village(homes, quorum_mode=mode)
    quorum = QuorumConfig.of_genesis(village.genesis)
    roll = Roll(village.genesis, village.chain_id, (quorum,))
    others = [key for key, _ in quorum.voters if key_id_of(key) != ANNA.key_id]
    first, second = (envelope(vote(home), village) for home in ("carla", "bela"))
    known = Known(key_id=ANNA.key_id, trust=trust, sentence="", reserved=(5, 104), owed=(0, 0), signed=COPIED, term=5)
    signed_twice = harmless = 0
    for heard in subsets(others):
        for asked in subsets(others):
            answers = {key: answer(key in heard) for key in asked}
            early = decide(known, quorum, answers, waited_long=False)
            found = decide(known, quorum, answers, waited_long=True)
            if heard & asked:
                assert isinstance(early, Retired) and isinstance(found, Retired)
                continue
            assert isinstance(early, Licence) and isinstance(found, Licence)
            assert bool(early.silent) == (len(asked) < len(others)), "while somebody is away, there is time to wait"
            if not found.allows_campaign(6, (TIP.term, TIP.height), 0):
                continue
            assert len(asked) >= quorum_size(homes, mode) - 1
            # She votes for Bela, and everybody hears of that; each keeps what it has heard.
            kept = [
                History(owner=key_id_of(key), statements=(first, second) if key in heard else (second,))
                for key in others
            ]
            evidence = extract(kept, roll, verify).evidence
            if not heard:
                assert not evidence, "of a vote that nobody holds, nobody can show two"
                harmless += 1
                continue
            signed_twice += 1
            assert not heard & asked and len(asked) < len(others), "the limit: whoever has heard is away"
            assert {(case.accused, case.evidence_kind) for case in evidence} == {(ANNA.key_id, EvidenceKind.VOTES)}
            # Whoever was away ends it when it is back: it is still asked.
            after = msgspec.structs.replace(COPIED, vote_term=6, vote_candidate=device("bela").key_id)
            assert newer(answer(has_heard=True), after, 6) == "a neighbour holds our vote in term 6"
    assert harmless
    # Where the word of all others is needed anyway, nobody who has heard is away.
    assert bool(signed_twice) != (trust is Trust.FILE_BEHIND and quorum_size(homes, mode) == len(others))
