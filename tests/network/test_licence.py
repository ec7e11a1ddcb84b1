"""Licence: what may be signed after a start, for every state of the two places and every set of answers."""

from __future__ import annotations

from itertools import combinations, product

import msgspec
import pytest

from meshnode.network.licence import FREE, Known, Licence, Retired, decide, newer
from meshnode.store import SignState
from meshnode.store.reservation import Trust
from protocols import cose
from protocols.certificate import QuorumConfig, quorum_size
from protocols.cose import key_id_of
from protocols.raft import Role
from protocols.records import PHASE_COMMIT, PHASE_PREPARE, Ack, Certificate, Header, Tip, Vote, to_payload
from protocols.signatures import Signatures, fault
from tests.network.cluster import Cluster
from tests.network.test_validator import order
from tests.protocols.keys import key_pair, verify
from tests.protocols.village import Village, device

HOMES = ("anna", "bela", "carla", "dora", "emil")
OURS = device("anna")
CHAIN = bytes(32)
# In byzantine mode: block 40 is prepared, block 39 committed.
PREPARED = SignState(5, b"candidat", 5, 40, b"b" * 32, 77, 5, 39)
SIGNED = msgspec.structs.replace(PREPARED, bound_height=40)
ALL = (*(trust for trust in Trust if trust is not Trust.RETIRED), Trust.RETIRED)


def known(trust: Trust, owed: tuple[int, int] = (0, 0)) -> Known:
    return Known(
        key_id=OURS.key_id, trust=trust, sentence="as found", reserved=(5, 104), owed=owed, signed=SIGNED, term=5
    )


def quorum(size: int, mode: int = 0) -> QuorumConfig:
    return QuorumConfig(mode, tuple(sorted((device(home).public, 0) for home in HOMES[:size])))


def answer(tip: tuple[int, int] = (5, 41), **statements: object) -> Signatures:
    return Signatures(term=5, tip_term=tip[0], tip_height=tip[1], **statements)


def ack(height: int, term: int = 5, block: bytes = b"b" * 32, phase: int = PHASE_COMMIT) -> Ack:
    return Ack(validators=bytes(32), ack_term=term, height=height, block=block, phase=phase)


def vote(term: int, candidate: bytes = b"candidat", lock: Tip | None = None) -> Vote:
    tip = Tip(term=1, height=1, block=bytes(32))
    return Vote(term=term, candidate=candidate, candidate_tip=tip, voter_tip=tip, lock=lock)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("trust", ALL)
def test_every_state_with_every_set_of_answers(trust: Trust, size: int) -> None:
    """The whole table of the module text, case by case, for up to five validators and a witness that does not vote."""
    others = [device(home).public for home in HOMES[1:size]]
    needed = quorum_size(size, 0)
    for count, waited in product(range(len(others) + 1), (False, True)):
        for who in combinations(others, count):
            for witness in ((), (key_pair("learner").public,)):
                answers = {key: answer() for key in (*who, *witness)}
                found = decide(known(trust), quorum(size), answers, waited_long=waited)
                if trust is Trust.RETIRED or (trust is Trust.RESTORED and others):
                    assert isinstance(found, Retired)
                    continue
                assert isinstance(found, Licence)
                whole = count == len(others)
                signs = not found.silent
                if not whole and not waited:
                    assert not signs, "there is time to ask all"
                elif trust in (Trust.UNUSED, Trust.CLEAN, Trust.SAME_BOOT, Trust.RESTORED):
                    assert signs == (whole or count >= needed - 1)
                    assert not signs or found == FREE
                else:
                    free = whole or count >= needed
                    assert signs == (free or (trust is not Trust.FILE_BEHIND and count >= needed - 1))
                    if signs:
                        assert (found.above is None) == free
                        assert found.tip == ((5, 41) if count else (0, 0))
                        assert found.until == 104


@pytest.mark.parametrize("trust", [trust for trust in ALL if trust is not Trust.RETIRED])
@pytest.mark.parametrize(
    "statement",
    [
        {"ack": ack(41)},
        {"ack": ack(40, block=b"c" * 32)},
        {"ack": ack(1, term=6)},
        {"vote": vote(6)},
        {"vote": vote(5, b"somebody")},
    ],
)
def test_a_newer_signature_of_ours_retires_the_key_in_every_state(trust: Trust, statement: dict[str, object]) -> None:
    for key in (device("bela").public, key_pair("learner").public):
        for waited in (False, True):
            found = decide(known(trust), quorum(3), {key: answer(**statement)}, waited_long=waited)
            assert isinstance(found, Retired)
            assert "earlier time" in found.reason
    # Alone, a node is still told by those that only follow.
    assert isinstance(
        decide(known(trust), quorum(1), {key_pair("learner").public: answer(**statement)}, waited_long=False), Retired
    )


@pytest.mark.parametrize("statement", [{"ack": ack(40)}, {"ack": ack(39)}, {"ack": ack(99, 4)}, {"vote": vote(5)}])
def test_what_the_disk_knows_retires_nothing(statement: dict[str, object]) -> None:
    assert newer(answer(**statement), SIGNED, 5) is None


def test_a_commit_ack_is_newer_than_a_prepare_ack_of_the_same_block() -> None:
    """The card was copied between the two phases: the block is on it, the lock that the others count on is not."""
    prepared, committed = ack(40, phase=PHASE_PREPARE), ack(40)
    assert newer(answer(ack=prepared), PREPARED, 5) is None
    assert newer(answer(ack=prepared), SIGNED, 5) is None
    for heard in ({"ack": committed}, {"ack": prepared, "commit": committed}):
        assert newer(answer(**heard), PREPARED, 5) == "a neighbour holds our commit ack of block 40 in term 5"
        assert newer(answer(**heard), SIGNED, 5) is None
    assert newer(answer(ack=prepared, commit=ack(39)), PREPARED, 5) is None
    # Blocks follow one another fast: 38 is committed after 40 was prepared.
    before = msgspec.structs.replace(PREPARED, bound_height=37)
    assert newer(answer(ack=prepared, commit=ack(38)), before, 5)


def test_a_vote_with_a_lock_that_the_disk_never_had_is_newer() -> None:
    def locked(height: int) -> Signatures:
        return answer(vote=vote(5, lock=Tip(term=5, height=height, block=bytes(32))))

    assert newer(locked(39), PREPARED, 5) is None
    assert newer(locked(40), SIGNED, 5) is None
    assert newer(locked(40), PREPARED, 5) == "a neighbour holds our vote in term 5, with a lock that is not known here"


def header(term: int, height: int) -> bytes:
    made = Header(
        height=height,
        term=term,
        parent=bytes(32),
        tx_root=bytes(32),
        state_height=0,
        state_hash=bytes(32),
        validators=bytes(32),
        next_validators=bytes(32),
        time_s=0,
        tx_count=0,
    )
    return cose.sign(Header.KIND, CHAIN, to_payload(made), OURS.public, OURS.sign).encode()


def test_a_block_may_be_newer_than_the_disk_but_not_its_term() -> None:
    """A leader sends a block while it is being written; its term was on disk before it was elected."""
    assert newer(answer(header=header(5, 41)), SIGNED, 5) is None
    assert newer(answer(header=header(6, 3)), SIGNED, 5) == "a neighbour holds our block 3 of term 6"


def test_a_licence_says_what_may_be_signed() -> None:
    held = Licence(above=(5, 104), tip=(5, 41), until=104)
    assert [held.allows_ack(ack(height, term)) for height, term in ((104, 5), (105, 5), (3, 6), (105, 4))] == [
        *(False, True, True, True)
    ]

    def asked(term: int, tip: tuple[int, int], final: int = 0) -> bool:
        height = Tip(term=tip[0], height=tip[1], block=bytes(32))
        return held.allows_vote(Vote(term=term, candidate=b"candidat", candidate_tip=height, voter_tip=height), final)

    assert not asked(5, (5, 50))
    assert asked(6, (5, 41)) and asked(6, (6, 1)) and not asked(6, (5, 40))
    assert not asked(6, (5, 40), final=103) and asked(6, (5, 40), final=104)
    assert not held.allows_campaign(5, (9, 9), 0) and held.allows_campaign(6, (5, 41), 0)
    assert [held.hears(term) for term in (4, 5, 6)] == [False, False, True]
    assert held.hears(4, pre_vote=True)
    silent = Licence(silent="asking")
    assert not silent.hears(9) and not silent.hears(9, pre_vote=True) and FREE.hears(1)
    assert not silent.allows_ack(ack(999, 9)) and not silent.allows_campaign(9, (9, 9), 999)
    assert FREE.allows_ack(ack(1, 1)) and FREE.allows_campaign(1, (0, 0), 0)


def test_what_is_owed_holds_in_every_state() -> None:
    owing = known(Trust.CLEAN, owed=(5, 60))
    found = decide(owing, quorum(3), {device(home).public: answer() for home in HOMES[1:3]}, waited_long=False)
    assert found == Licence(tip=(5, 60), until=60)


def test_among_liars_locks_count_and_not_tips() -> None:
    """Of four one may lie: a tip that it invents must not keep us from voting for ever, a lock proves itself."""
    locked = [
        Certificate(validators=bytes(32), ack_term=term, height=height, block=bytes(32), signatures=(), phase=1)
        for term, height in ((5, 41), (5, 40))
    ]
    answers = {
        device("bela").public: answer((5, 41), lock=locked[0]),
        device("carla").public: answer((5, 40), lock=locked[1]),
        device("dora").public: answer((10**6, 10**6)),
    }
    found = decide(known(Trust.POWER_CUT), quorum(4, 1), answers, waited_long=False)
    assert found == Licence(lock=locked[0], until=104)
    del answers[device("dora").public]
    found = decide(known(Trust.POWER_CUT), quorum(4, 1), answers, waited_long=True)
    assert found == Licence(above=(5, 104), lock=locked[0], until=104)
    # In majority mode nobody is locked, and tips are believed.
    found = decide(known(Trust.POWER_CUT), quorum(4, 0), answers, waited_long=True)
    assert isinstance(found, Licence) and found.lock is None and found.tip == (5, 41)
    owing = decide(known(Trust.CLEAN, owed=(5, 60)), quorum(4, 1), answers, waited_long=True)
    assert owing == FREE, "what it was locked on is not lost with the block"


def test_only_signatures_count_not_words() -> None:
    """Whoever says that we signed must show it; else a liar could retire every key of the community."""
    signature = cose.sign(Ack.KIND, CHAIN, to_payload(ack(99)), OURS.public, OURS.sign).signature
    good = answer(ack=ack(99), ack_signature=signature, header=header(6, 1))
    assert fault(good, OURS.public, CHAIN, verify) is None
    bad = [
        answer(ack=ack(99)),
        answer(ack_signature=signature),
        answer(ack=ack(98), ack_signature=signature),
        answer(vote=vote(9), vote_signature=bytes(64)),
        answer(vote=vote(9), vote_signature=signature),
        answer(commit=ack(99)),
        answer(commit=ack(98), commit_signature=signature),
        answer(header=b"no envelope"),
        answer(header=header(6, 1)[:-1] + b"?"),
    ]
    for lie in bad:
        assert fault(lie, OURS.public, CHAIN, verify), lie
    assert fault(good, device("bela").public, CHAIN, verify)
    assert key_id_of(OURS.public) == OURS.key_id
    assert Village().chain_id != CHAIN and fault(good, OURS.public, Village().chain_id, verify)


@pytest.mark.parametrize("size", [1, 3])
def test_an_election_without_our_own_vote_is_not_won(size: int) -> None:
    # The disk is full just when this node has begun to campaign, so that its vote for itself is not signed. Were it
    # counted all the same, the election certificate would lack it, which convicts its maker.
    cluster = Cluster(size)
    home = cluster.village.homes[0]
    validator = cluster.validators[home]
    validator._core._replica.ask_for_votes(pre_vote=False)
    assert validator.role == Role.CANDIDATE
    validator.permit(Licence(silent="the disk is full"))
    cluster.work(home)
    validator.permit(FREE)
    cluster.settle()
    assert validator.role != Role.LEADER
    cluster.until(lambda: cluster.leader() and cluster.heights() == {1})


def test_whoever_must_be_silent_in_a_term_still_tells_a_candidate_that_it_is_over() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    needed, candidate = cluster.followers()
    cluster.stop(needed)
    cluster.add(order(cluster, 1))
    cluster.until(lambda: cluster.validators[candidate].final_height == 2)
    cluster.stop(leader)
    # It has voted in a later term, and forgotten what else it did in it: that log it has to wait for.
    disk = cluster.disks[needed]
    disk.hard = msgspec.structs.replace(disk.hard, term=disk.hard.term + 3, vote=0)
    cluster.start(needed)
    validator = cluster.validators[needed]
    validator.permit(Licence(above=(disk.hard.term, 64), tip=cluster.validators[candidate].tip(), until=64))
    cluster.until(lambda: cluster.leader() == candidate)
