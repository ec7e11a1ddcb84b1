"""Byzantine mode: blocks become final in two phases, and locks outlive leaders, power cuts and changes of the mode.

What must hold whatever happens is checked by the cluster after every step. Stories of
liars are in `test_byzantine_liars`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import msgspec
import pytest

from meshnode.network.licence import Licence, newer
from meshnode.network.pledges import Pledges
from meshnode.network.work import Outgoing
from meshnode.store import SignState
from protocols.block import Block
from protocols.histories import extract
from protocols.locks import place_of
from protocols.parcel import Parcel
from protocols.raft import MessageKind
from protocols.records import (
    PHASE_COMMIT,
    PHASE_PREPARE,
    QUORUM_BYZANTINE,
    QUORUM_MAJORITY,
    Ack,
    Certificate,
    Tip,
    Vote,
    read_as,
)
from tests.network.byzantine import LONG, alive, liar_leads, lock_of, village
from tests.network.changing import Changing
from tests.network.cluster import ELECTION_TICKS, Cluster, Moment
from tests.network.disks import Disk
from tests.network.liars import append, block_at, forged, head, history
from tests.network.test_validator import accepted, order
from tests.protocols.keys import verify
from tests.protocols.village import device

# --- two phases


@pytest.mark.parametrize(("size", "quorum"), [(4, 3), (7, 5), (10, 7)])
def test_a_block_becomes_final_in_two_phases(size: int, quorum: int) -> None:
    cluster = village(size)
    cluster.founded()
    alive(cluster)
    cluster.until(cluster.agreed)
    for home in cluster.village.homes:
        disk = cluster.disks[home]
        certificate = read_as(Certificate, disk.certificates[disk.final])
        assert certificate.phase == PHASE_COMMIT and len(certificate.signatures) >= quorum
        lock = lock_of(cluster, home)
        assert lock is not None and lock.phase == PHASE_PREPARE and len(lock.signatures) >= quorum
        assert (lock.height, lock.block) == (disk.final, disk.log[disk.final].block_hash)


def test_what_is_only_prepared_is_not_final() -> None:
    cluster = village()
    leader = cluster.founded()
    victim, *_ = cluster.followers()
    cluster.liars.add(leader)
    parent = head(cluster.disks[leader], 1, cluster.village)
    block = forged(cluster, leader, parent, parent.term)
    assert append(cluster, leader, victim, parent, block) is None
    cluster.work(victim)
    prepared = cluster.village.certificate(block, phase=PHASE_PREPARE)
    assert cluster.hand_over(leader, victim, Parcel(certificates=(prepared,))) is None
    cluster.work(victim)
    assert cluster.validators[victim].final_height == 1
    assert lock_of(cluster, victim) == prepared, "it is locked, and no more"
    assert cluster.hand_over(leader, victim, Parcel(certificates=(cluster.village.certificate(block),))) is None
    assert cluster.validators[victim].final_height == 2


def test_a_majority_is_not_enough() -> None:
    # Three of four make a quorum; two of four would be enough for half a community to be told something else.
    cluster = village()
    cluster.founded()
    cluster.stop(cluster.followers()[0])
    alive(cluster, 1)
    cluster.stop(cluster.followers()[0])
    before = cluster.heights()
    cluster.add(order(cluster, 2))
    cluster.run(10 * ELECTION_TICKS)
    assert cluster.heights() == before and cluster.leader() is None
    cluster.heal()
    alive(cluster, 3)


def test_in_majority_mode_nothing_of_this_is_on_the_wire() -> None:
    cluster = Cluster(4, quorum_mode=QUORUM_MAJORITY)
    seen: list[Parcel] = []

    def spy(_: str, parcel: Parcel) -> Iterator[Parcel]:
        seen.append(parcel)
        yield parcel

    cluster.tamper = dict.fromkeys(cluster.village.homes, spy)
    leader = cluster.founded()
    alive(cluster, 1)
    cluster.stop(leader)
    alive(cluster, 2)
    assert all(parcel.lock is None and (parcel.ack is None or parcel.ack.phase == PHASE_COMMIT) for parcel in seen)
    assert all(parcel.message is not None or parcel.certificates for parcel in seen)
    votes = [parcel.vote for parcel in seen if parcel.vote is not None]
    assert votes and all(vote[2] is None for vote in votes)
    assert not any(disk.locked for disk in cluster.disks.values())


def test_a_card_copied_between_the_two_phases_is_known_by_the_commit_ack() -> None:
    """The copy has the last block and its prepare ack; all that it lacks is the lock, which the others count on."""
    cluster = village()
    leader = cluster.founded()
    victim = cluster.followers()[0]
    copies: list[Disk] = []

    def copy_card(_: str, parcel: Parcel) -> Iterator[Parcel]:
        if parcel.ack is not None and parcel.ack.phase == PHASE_PREPARE:
            copies.append(copy.deepcopy(cluster.disks[victim]))
        yield parcel

    cluster.tamper[victim] = copy_card
    alive(cluster)
    cluster.until(cluster.agreed)
    image, disk = copies[-1], cluster.disks[victim]
    signed, later = image.sign, disk.sign
    assert (
        (signed.ack_term, signed.ack_height) == (later.ack_term, later.ack_height) == place_of(lock_of(cluster, victim))
    )
    assert (signed.bound_term, signed.bound_height) < (later.bound_term, later.bound_height)
    asked = cluster.validators[leader]
    answer = asked.heard.of(device(victim).key_id, asked.term, asked.tip(), asked.lock)
    found = newer(answer, signed, image.hard.term)
    assert found is not None and "commit ack" in found
    assert newer(answer, later, disk.hard.term) is None


def test_the_bound_is_promised_with_the_signature_and_does_not_sink() -> None:
    key = device("anna")
    pledges = Pledges(key.public, key.sign, bytes(32), SignState(4, b"candidat", 4, 10, bytes(32), 7), lambda *_: True)
    prepared = Ack(validators=bytes(32), ack_term=4, height=11, block=bytes(32), phase=PHASE_PREPARE)
    pledges.own_ack = prepared
    state = pledges.promise()
    assert state is not None and (state.ack_height, state.sequence, state.bound_height) == (11, 8, 0)
    assert pledges.promise() is None, "it is promised already"
    pledges.own_commit = msgspec.structs.replace(prepared, phase=PHASE_COMMIT)
    state = pledges.promise()
    assert state is not None and (state.ack_height, state.sequence) == (11, 9)
    assert (state.bound_term, state.bound_height) == (4, 11)
    pledges.begin()
    tip = Tip(term=3, height=2, block=bytes(32))
    pledges.own_vote = Vote(term=5, candidate=b"candidat", candidate_tip=tip, voter_tip=tip, lock=tip)
    state = pledges.promise()
    assert state is not None and (state.vote_term, state.bound_term, state.bound_height) == (5, 4, 11)


# --- locks outlive leaders and power cuts


def locked_alone(cluster: Cluster) -> tuple[str, list[str], Block]:
    """The leader shows the prepare certificate of block 2 to one follower only, and goes."""
    liar, honest = liar_leads(cluster)
    cluster.add(order(cluster, 7))

    def to_one(to: str, parcel: Parcel) -> Iterator[Parcel]:
        shown = tuple(c for c in parcel.certificates if c.phase == PHASE_COMMIT and c.height < 2)
        yield parcel if to == honest[0] else msgspec.structs.replace(parcel, certificates=shown)

    cluster.tamper[liar] = to_one
    cluster.until(lambda: lock_of(cluster, honest[0]) is not None and lock_of(cluster, honest[0]).height == 2)
    cluster.stop(liar)
    assert all(place_of(lock_of(cluster, home))[1] < 2 for home in honest[1:])
    return liar, honest, block_at(cluster, honest[0], 2)


@pytest.mark.parametrize("seed", range(1, 7))
def test_who_alone_is_locked_is_followed_by_the_others(seed: int) -> None:
    # All three honest votes are needed, and whoever has less than the one that is locked cannot get its vote.
    cluster = village(4, seed)
    _, honest, block = locked_alone(cluster)
    alive(cluster, 8)
    assert all(cluster.disks[home].log[2].block_hash == block.block_hash for home in honest)


def test_a_lock_is_still_there_after_a_power_cut() -> None:
    cluster = village()
    _, honest, block = locked_alone(cluster)
    cluster.stop(honest[0])
    cluster.start(honest[0])
    lock = cluster.validators[honest[0]]._locking.lock
    assert lock is not None and lock.block == block.block_hash
    alive(cluster, 8)
    assert cluster.disks[honest[1]].log[2].block_hash == block.block_hash


def test_who_may_have_forgotten_its_lock_votes_by_those_of_the_others() -> None:
    cluster = village()
    liar, honest, block = locked_alone(cluster)
    held = lock_of(cluster, honest[0])
    assert held is not None
    # The card of this node has lost its newest writes: its log ends before block 2, and no lock is there.
    behind = honest[1]
    cluster.stop(behind)
    cluster.start(behind)
    validator = cluster.validators[behind]
    validator.permit(Licence(lock=held, until=64))
    assert validator._may_not_lead() == (validator.lock is None or place_of(validator.lock) < place_of(held))
    cluster.cut = {(a, b) for a in cluster.village.homes for b in cluster.village.homes}
    cluster.until(lambda: validator.leader is None)
    parent = head(cluster.disks[behind], 1, cluster.village)
    for shows, votes in ((read_as(Certificate, cluster.disks[behind].certificates[1]), 0), (held, 1)):
        term = validator.term + 1
        asks = {"term": term, "index": 1, "log_term": parent.term, "tip": parent.block_hash}
        cluster.lie(liar, behind, MessageKind.VOTE, lock=shows, **asks)
        for row in [out.parcel.vote for out in sent(cluster, behind) if out.parcel.vote is not None]:
            assert row[2] == (held.ack_term, held.height, block.block_hash), "its vote names what it may have had"
            votes -= 1
        assert votes == 0
        cluster.run(2 * ELECTION_TICKS)
    cluster.cut = set()
    alive(cluster, 8)
    assert not validator._may_not_lead(), "the block came with a leader that had it"


def sent(cluster: Cluster, home: str) -> list[Outgoing]:
    """Everything that a node says because of what it has just heard; it is lost on the way."""
    validator = cluster.validators[home]
    said = list(validator.urgent())
    while (work := validator.poll()) is not None:
        if work.batch is not None:
            cluster.disks[home].persist(work.batch)
        said += [*work.now, *validator.persisted()]
    return said


@pytest.mark.parametrize("moment", list(Moment))
def test_power_cuts_at_any_moment_of_the_second_phase(moment: Moment) -> None:
    cluster = village()
    cluster.founded()
    for number in range(12):
        home = cluster.village.homes[number % 4]
        cluster.add(order(cluster, number), [one for one in cluster.village.homes if one not in cluster.down])
        for _ in range(number % 4):
            cluster.work(home)
            if cluster.wires:
                cluster.deliver()
        cluster.stop_writing(home, moment)
        cluster.run(ELECTION_TICKS)
        cluster.start(home)
        cluster.run(ELECTION_TICKS // 2)
    alive(cluster, 99)


def test_what_three_have_committed_no_later_term_can_take_back() -> None:
    # One round of votes would be undone here: the liar has committed block 2 with two others and shows the
    # certificate to nobody, then asks the two for their votes with a log that never had it.
    cluster = village()
    liar, honest = liar_leads(cluster)
    cluster.add(order(cluster, 7))
    shown: list[Certificate] = []

    def hide(to: str, parcel: Parcel) -> Iterator[Parcel]:
        if to == honest[2]:
            return
        shown.extend(c for c in parcel.certificates if c.phase == PHASE_COMMIT and c.height == 2)
        kept = tuple(c for c in parcel.certificates if c.phase == PHASE_PREPARE or c.height < 2)
        yield msgspec.structs.replace(parcel, certificates=kept)

    cluster.tamper[liar] = hide
    cluster.until(lambda: bool(shown))
    certified = shown[0].block
    assert all(place_of(lock_of(cluster, home))[1] == 2 for home in honest[:2]), "two honest nodes are bound to it"
    assert [cluster.validators[home].final_height for home in honest] == [1, 1, 1]
    # The liar is a candidate without block 2. Whoever is locked does not elect it, the third one would.
    cluster.stop(liar)
    cluster.cut = {(a, b) for a in honest for b in honest}
    cluster.until(lambda: all(cluster.validators[home].leader is None for home in honest))
    parent = head(cluster.disks[liar], 1, cluster.village)
    shows = read_as(Certificate, cluster.disks[honest[2]].certificates[1])
    for home, votes in zip(honest, (0, 0, 1), strict=True):
        term = cluster.validators[home].term + 1
        asks = {"term": term, "index": 1, "log_term": parent.term, "tip": parent.block_hash}
        cluster.lie(liar, home, MessageKind.VOTE, lock=shows, **asks)
        cluster.work(home)
        assert ((device(home).key_id, term) in cluster.witness.votes) == votes
    cluster.cut = set()
    alive(cluster, 8)
    assert all(cluster.disks[home].log[2].block_hash == certified for home in honest)


# --- the mode changes


def test_by_decision_and_back_again() -> None:
    cluster = Changing(4, 4)
    cluster.until(lambda: cluster.leader() and cluster.agreed())
    cluster.set_mode(QUORUM_BYZANTINE)
    cluster.until(lambda: all(v.machine.quorum.mode == QUORUM_BYZANTINE for v in cluster.validators.values()))
    switch = max(v.final_height for v in cluster.validators.values())
    record = order(cluster, 2001)
    cluster.offer(record)
    cluster.until(lambda: accepted(cluster, record) and cluster.agreed())
    for home in cluster.village.homes:
        lock = lock_of(cluster, home)
        assert lock is not None and lock.height > switch - 1
        assert cluster.validators[home]._core.needed == 3
    cluster.stop(cluster.leader())
    record = order(cluster, 2002)
    cluster.offer(record)
    cluster.until(lambda: accepted(cluster, record), LONG)
    cluster.heal()
    cluster.until(cluster.agreed, LONG)
    cluster.set_mode(QUORUM_MAJORITY)
    cluster.until(lambda: all(v.machine.quorum.mode == QUORUM_MAJORITY for v in cluster.validators.values()), LONG)
    cluster.stop(cluster.leader())
    record = order(cluster, 2003)
    cluster.offer(record)
    cluster.until(lambda: accepted(cluster, record), LONG)
    cluster.heal()
    cluster.until(cluster.agreed, LONG)
    assert all(v._core.needed == 0 for v in cluster.validators.values())


def replaced_in_between() -> Changing:
    """Locked by four validators, then one of them was replaced - by way of majority mode - and all lock again."""
    cluster = Changing(5, 4, quorum_mode=QUORUM_BYZANTINE)
    cluster.byzantine = False
    cluster.until(lambda: cluster.leader() and cluster.agreed())
    cluster.set_mode(QUORUM_MAJORITY)
    cluster.until(lambda: not any(v.machine.quorum.mode for v in cluster.validators.values()), LONG)
    gone = next(home for home in cluster.followers() if home in cluster.validators and home != "anna")
    stay = [home for home in cluster.village.homes if home not in (gone, "emil")]
    cluster.remove_validator(gone)
    cluster.until(lambda: cluster.in_force(*stay), LONG)
    cluster.add_validator("emil")
    cluster.until(lambda: cluster.in_force(*stay, "emil") and cluster.agreed(), LONG)
    cluster.set_mode(QUORUM_BYZANTINE)
    cluster.until(lambda: all(v.machine.quorum.mode for v in cluster.validators.values()), LONG)
    return cluster


def test_the_first_block_of_new_locks_comes_at_once() -> None:
    cluster = replaced_in_between()
    cluster.run(1)
    for validator in cluster.validators.values():
        assert validator.lock is not None and validator.lock.validators == validator.machine.quorum.config_hash()


def test_locks_of_those_who_were_replaced_bind_nobody() -> None:
    # The leader dies before the first block of the new locks. What the old ones protected is final, and nobody could
    # show such a lock to the newcomer: were they still asked for, nobody would ever be elected again.
    cluster = replaced_in_between()
    old = cluster.leader()
    cluster.stop(old)
    assert all(validator.lock is None for home, validator in cluster.validators.items() if home != old)
    cluster.until(cluster.leader, LONG)
    cluster.until(cluster.agreed, LONG)
    cluster.heal()
    cluster.until(cluster.agreed, LONG)
    roll = cluster.validators["emil"].machine.roll
    found = extract(
        [history(cluster, home) for home in cluster.village.homes if home in cluster.validators], roll, verify
    )
    assert not found.evidence and not found.open, "nobody is asked for a lock that went with its validators"


def test_a_lock_that_others_showed_is_asked_of_nobody_once_the_locks_are_over() -> None:
    # All were asked at their start what they may have forgotten, and each was shown the lock of the others. Without
    # locks nobody has one as high: what it stood for is final, or nobody would ever lead again.
    cluster = Changing(4, 4, quorum_mode=QUORUM_BYZANTINE)
    cluster.byzantine = False
    cluster.until(lambda: cluster.leader() and cluster.agreed())
    shown = lock_of(cluster, cluster.leader())
    assert shown is not None
    for validator in cluster.validators.values():
        validator.permit(Licence(lock=shown, until=10_000))
    cluster.set_mode(QUORUM_MAJORITY)
    cluster.until(lambda: not any(v.machine.quorum.mode for v in cluster.validators.values()), LONG)
    cluster.offer(record := order(cluster, 2001))
    cluster.until(lambda: accepted(cluster, record) and cluster.agreed(), LONG)
    assert not any(validator._may_not_lead() for validator in cluster.validators.values())
    cluster.stop(cluster.leader())
    cluster.offer(record := order(cluster, 2002))
    cluster.until(lambda: accepted(cluster, record), LONG)
