"""Fresh reads: the height that a reader waits for is never below anything that was final when it asked."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from protocols.parcel import Parcel
from protocols.raft import Entry, MessageKind, Role
from tests.network.cluster import ELECTION_TICKS, Cluster
from tests.network.test_validator import order
from tests.protocols.village import device

_NUMBERS = count(1)


def ask(cluster: Cluster, home: str) -> bytes | None:
    """A node asks for a fresh height; the context of its question, None if there is nobody to ask."""
    context = f"{home} {next(_NUMBERS)}".encode()
    return context if cluster.validators[home].read_index(context) else None


def answers(cluster: Cluster, home: str) -> dict[bytes, int]:
    return {read.context: read.index for read in cluster.validators[home].take_reads()}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_node_gets_the_height_that_was_final_when_it_asked(size: int) -> None:
    cluster = Cluster(size)
    cluster.founded()
    for number in range(1, 4):
        cluster.add(order(cluster, number))
        cluster.until(cluster.agreed)
        (height,) = cluster.heights()
        asked = {home: ask(cluster, home) for home in cluster.village.homes}
        cluster.run(1)
        assert {home: answers(cluster, home) for home in asked} == {home: {asked[home]: height} for home in asked}
        assert all(answers(cluster, home) == {} for home in asked), "told once"


def test_what_becomes_final_before_the_question_is_seen_by_a_node_that_has_not_heard_of_it() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    behind = cluster.followers()[0]
    cluster.cut = {(leader, behind)}
    cluster.add(order(cluster, 1))
    cluster.until(lambda: cluster.validators[leader].final_height == 2)
    assert cluster.validators[behind].final_height == 1
    cluster.cut = set()
    context = ask(cluster, behind)
    cluster.until(lambda: answers(cluster, behind) == {context: 2}, ELECTION_TICKS)


def test_a_leader_that_was_replaced_without_knowing_it_answers_nobody() -> None:
    """It still leads in its own eyes, and in those of the follower that is cut off with it."""
    cluster = Cluster(5)
    old = cluster.founded()
    loyal, *others = cluster.followers()
    island = (old, loyal)
    cluster.cut = {(one, other) for one in island for other in others} | {
        (one, other) for one in others for other in island
    }
    asked = {home: ask(cluster, home) for home in island}
    assert all(asked.values())
    cluster.until(lambda: cluster.leader() in others, 10 * ELECTION_TICKS)
    cluster.add(order(cluster, 1), others)
    cluster.until(lambda: min(cluster.validators[home].final_height for home in others) == 3)
    assert cluster.validators[old].final_height == 1
    for home in island:
        ask(cluster, home)
    cluster.run(2 * ELECTION_TICKS)
    assert not any(answers(cluster, home) for home in island)
    # Heard again, it follows, and nobody gets an answer to what was asked of a leader of the past.
    cluster.cut = set()
    cluster.until(cluster.agreed)
    later = ask(cluster, loyal)
    cluster.run(2)
    assert answers(cluster, loyal) == {later: cluster.validators[others[0]].final_height}


def test_a_new_leader_answers_only_when_a_block_of_its_own_term_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then it may not know that a block of its predecessor's is final, though its client was told."""
    cluster = Cluster(3)
    old = cluster.founded()
    new, third = cluster.followers()
    hand_over = cluster.hand_over
    withheld: MessageKind | None = None

    def hand_over_some(sender: str, receiver: str, parcel: Parcel) -> str | None:
        if sender == old and parcel.certificates:
            return None
        is_withheld = parcel.message is not None and parcel.message.kind == withheld
        return None if is_withheld else hand_over(sender, receiver, parcel)

    monkeypatch.setattr(cluster, "hand_over", hand_over_some)
    # The block is on all disks, and final at the old leader; nobody else hears its certificate.
    cluster.add(order(cluster, 1))
    cluster.until(lambda: cluster.validators[old].final_height == 2, ELECTION_TICKS)
    cluster.stop(old)
    assert [cluster.validators[home].final_height for home in (new, third)] == [1, 1]
    # The new leader's heartbeats are heard, its own first block is long on its way.
    withheld = MessageKind.APP
    cluster.validators[new].campaign()
    cluster.until(lambda: cluster.validators[new].role == Role.LEADER, 4 * ELECTION_TICKS)
    cluster.until(lambda: cluster.validators[third].leader == device(new).public, ELECTION_TICKS)
    contexts = {home: ask(cluster, home) for home in (new, third)}
    cluster.run(6)
    assert answers(cluster, new) == answers(cluster, third) == {}
    withheld = None
    told: dict[bytes | None, int] = {}

    def both_told() -> bool:
        told.update({**answers(cluster, new), **answers(cluster, third)})
        return set(told) == set(contexts.values())

    cluster.until(both_told, 4 * ELECTION_TICKS)
    assert min(told.values()) >= 3


def test_who_knows_no_leader_is_told_at_once_that_there_is_nobody_to_ask() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    cluster.stop(leader)
    cluster.cut = {(one, other) for one in cluster.followers() for other in cluster.followers()}
    cluster.run(4 * ELECTION_TICKS)
    assert [ask(cluster, home) for home in cluster.followers()] == [None, None]


def test_a_halted_node_neither_asks_nor_answers() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    follower = cluster.followers()[0]
    cluster.may_halt = {leader}
    cluster.validators[leader]._finalizer.halt("shown a fork")
    assert ask(cluster, leader) is None
    context = ask(cluster, follower)
    cluster.settle()
    assert context is not None and answers(cluster, follower) == {}
    assert cluster.validators[leader].counters["refused while halted: READ_INDEX"] == 1


def test_a_question_with_a_context_that_is_too_long_gets_its_sender_dropped() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar = cluster.followers()[0]
    fault = cluster.lie(liar, leader, MessageKind.READ_INDEX, entries=(Entry(data=bytes(65)),))
    assert fault is not None and "context of 65 bytes" in fault


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_an_answer_covers_what_was_final_when_it_was_asked(seed: int) -> None:
    """Loss, doubling, reordering, slow disks and crashes; every answer is held against all ledgers."""
    cluster = Cluster(3 if seed % 2 else 5, seed)
    cluster.founded()
    random = Random(seed)
    cluster.loss, cluster.doubling, cluster.reordering = 5, 5, 20
    cluster.slow = {home: random.randrange(4) for home in cluster.village.homes}
    known: dict[bytes, int] = {}
    answered = 0
    number = 0
    for step in range(400):
        if step % 5 == 0:
            number += 1
            cluster.add(order(cluster, number), [home for home in cluster.village.homes if home not in cluster.down])
        up = [home for home in cluster.village.homes if home not in cluster.down]
        if step % 60 == 30:
            cluster.stop(random.choice(up))
        if step % 60 == 50:
            for home in sorted(cluster.down):
                cluster.start(home)
        asking = random.choice(up)
        highest = max(validator.final_height for validator in cluster.validators.values())
        context = ask(cluster, asking)
        if context is not None:
            known[context] = highest
        cluster.step()
        for home in up:
            for context, height in answers(cluster, home).items():
                assert height >= known[context], f"{context!r}: told {height}, but {known[context]} was final"
                answered += 1
    assert answered > 50, "most questions are answered"
