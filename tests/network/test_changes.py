"""Validators change: who joins them, who leaves, and what must not go wrong on the way."""

from __future__ import annotations

import msgspec
import pytest

from meshnode.ledger import validators
from protocols import cose
from protocols.block import Parent
from protocols.parcel import Elected, Parcel, pack
from protocols.raft import Message, MessageKind, Role
from protocols.records import CHANGE_ADD, QUORUM_BYZANTINE, QUORUM_MAJORITY, Certificate, Vote, read_as, to_payload
from tests.network.changing import LOST_TICKS, Changing
from tests.network.cluster import ELECTION_TICKS
from tests.network.test_validator import accepted, order
from tests.protocols.village import HOMES, device


def grown(size: int = 5, voting: int = 3, seed: int = 1, **genesis: object) -> Changing:
    cluster = Changing(size, voting, seed, **genesis)
    cluster.until(lambda: cluster.leader() and cluster.agreed())
    return cluster


def alive(cluster: Changing) -> None:
    """The validators still put an order on the ledger."""
    cluster.nonce += 1
    record = order(cluster, cluster.nonce)
    cluster.offer(record)
    cluster.until(lambda: accepted(cluster, record), 60 * ELECTION_TICKS)


def test_a_learner_becomes_a_validator() -> None:
    cluster = grown(4, 3)
    record = cluster.add_validator("dora")
    cluster.until(lambda: cluster.in_force("anna", "bela", "carla", "dora"))
    assert accepted(cluster, record)
    alive(cluster)
    cluster.until(lambda: cluster.agreed() and "dora" in cluster.validators)
    # Three of four are a quorum now, and she is one of them.
    cluster.stop(next(home for home in cluster.followers() if home != "dora"))
    alive(cluster)


def test_a_validator_is_removed_and_goes_on_learning() -> None:
    cluster = grown(4, 4)
    away = cluster.followers()[0]
    cluster.remove_validator(away)
    others = [home for home in cluster.village.homes if home != away]
    cluster.until(lambda: cluster.in_force(*others) and away in cluster.learners)
    alive(cluster)
    cluster.until(lambda: cluster.machine_at(away).height == cluster.validators[cluster.leader()].final_height)


def test_a_leader_that_is_removed_hands_over() -> None:
    cluster = grown(4, 4)
    leader = cluster.leader()
    cluster.remove_validator(leader)
    others = [home for home in cluster.village.homes if home != leader]
    term = cluster.validators[leader].term
    cluster.until(lambda: cluster.in_force(*others) and cluster.leader() in others)
    assert cluster.validators[cluster.leader()].term == term + 1, "nobody had to wait for its silence"
    cluster.until(lambda: leader in cluster.learners)
    alive(cluster)


def test_one_validator_grows_to_five_and_shrinks_again() -> None:
    cluster = grown(5, 1)
    homes = list(cluster.village.homes)
    for count in range(2, 6):
        cluster.add_validator(homes[count - 1])
        cluster.until(lambda: cluster.in_force(*homes[:count]))  # noqa: B023
        alive(cluster)
    for count in range(4, 0, -1):
        cluster.remove_validator(homes[count])
        cluster.until(lambda: cluster.in_force(*homes[:count]), 60 * ELECTION_TICKS)  # noqa: B023
        alive(cluster)


def test_who_is_about_to_vote_stands_for_no_election() -> None:
    # Decided and not announced yet: Dora takes part already, but no log says that she votes.
    cluster = grown(4, 3)
    leader = cluster.leader()
    cluster.offer(cluster.change(CHANGE_ADD, "dora"))
    cluster.until(lambda: decided(cluster, leader) == 4)
    cluster.follow("dora")
    cluster.cut = {pair for home in cluster.village.homes for pair in (("dora", home), (home, "dora"))}
    dora = cluster.validators["dora"]
    term = dora.term
    assert dora.takes_part and dora.last_height < cluster.validators[leader].last_height + 1
    dora.campaign()
    cluster.run(8 * ELECTION_TICKS)
    assert (dora.term, dora.role) == (term, Role.FOLLOWER)
    cluster.cut = set()
    cluster.until(lambda: cluster.in_force("anna", "bela", "carla", "dora"))


def test_the_mode_changes_by_decision() -> None:
    cluster = grown(4, 4)
    cluster.set_mode(QUORUM_BYZANTINE)
    cluster.until(lambda: all(cluster.machine_at(home).quorum.mode for home in cluster.village.homes))
    alive(cluster)
    cluster.set_mode(QUORUM_MAJORITY)
    cluster.until(lambda: not any(cluster.machine_at(home).quorum.mode for home in cluster.village.homes))
    alive(cluster)


def test_a_newcomer_whose_vote_is_needed_gets_the_first_block_at_once() -> None:
    # Carla is gone, so of four all three others must sign. The leader has more to propose than it has ticks.
    cluster = grown(4, 3)
    leader = cluster.leader()
    cluster.stop(next(home for home in cluster.followers() if home in cluster.validators))
    cluster.offer(cluster.change(CHANGE_ADD, "dora"))
    cluster.until(lambda: decided(cluster, leader) == 4)
    cluster.follow("dora")
    work = cluster.work

    def eagerly(home: str) -> bool:
        # As the node's loop does it: first a block, then what finality has to have written.
        made = home == leader and cluster.validators[home].propose()
        return work(home) or made

    select = cluster.pools[leader].select
    cluster.pools[leader].select = lambda time_s, size, count, exclude: select(time_s, size, 1, exclude)  # type: ignore[method-assign]
    records = [order(cluster, nonce) for nonce in range(1, 8)]
    for record in records:
        cluster.offer(record)
    cluster.work = eagerly  # type: ignore[method-assign]
    cluster.settle()
    cluster.until(lambda: accepted(cluster, *records), 20)
    assert accepted(cluster, *records) and len(cluster.voters()) == 4


def without_old_certificates(cluster: Changing) -> tuple[str, bytes]:
    """A follower that has heard of no certificate since the validators began to change, and their old hash."""
    victim = next(home for home in cluster.followers() if home in cluster.validators)
    old = cluster.validators[victim].machine.quorum.config_hash()
    hand_over = cluster.hand_over

    def strip(sender: str, receiver: str, parcel: Parcel) -> str | None:
        if receiver == victim:
            parcel = msgspec.structs.replace(parcel, certificates=())
        return hand_over(sender, receiver, parcel)

    cluster.hand_over = strip  # type: ignore[method-assign]
    cluster.add_validator("emil")
    others = [home for home in cluster.village.homes if home != victim]
    cluster.until(lambda: all(len(voting(cluster, home)) == 5 for home in others))
    alive(cluster)
    assert cluster.validators[victim].last_height > cluster.validators[victim].final_height
    cluster.hand_over = hand_over  # type: ignore[method-assign]
    return victim, old


def test_the_last_certificate_of_the_old_validators_comes_with_the_first_blocks_of_the_new() -> None:
    # The block that announces them was certified by nobody but the new ones: what its followers
    # can check is an older certificate than the blocks that they lack.
    cluster = grown(5, 4)
    victim, old = without_old_certificates(cluster)
    for home in cluster.village.homes:
        known = {height: read_as(Certificate, data) for height, data in cluster.disks[home].certificates.items()}
        last = max((height for height, one in known.items() if one.validators == old), default=0)
        if last > 2:
            del cluster.disks[home].certificates[last]
    cluster.run(LOST_TICKS // 4)
    assert victim in cluster.validators and cluster.in_force(*HOMES[:5])
    alive(cluster)


def test_who_gets_only_certificates_that_it_cannot_check_looks_for_what_it_missed() -> None:
    cluster = grown(5, 4)
    victim, old = without_old_certificates(cluster)
    hand_over = cluster.hand_over

    def only_new(sender: str, receiver: str, parcel: Parcel) -> str | None:
        if receiver == victim:
            new = tuple(one for one in parcel.certificates if one.validators != old)
            parcel = msgspec.structs.replace(parcel, certificates=new)
        return hand_over(sender, receiver, parcel)

    cluster.hand_over = only_new  # type: ignore[method-assign]
    cluster.until(lambda: cluster.in_force(*HOMES[:5]) and victim in cluster.validators and cluster.agreed())
    alive(cluster)


def decided(cluster: Changing, home: str) -> int:
    """How many validators are decided, as a node has executed it."""
    return len(validators.decided(cluster.machine_at(home).state).voters)


def test_the_leader_dies_between_the_decision_and_its_announcement() -> None:
    # What is decided is announced by whoever leads next; until then the old validators elect.
    cluster = grown(5, 3)
    leader = cluster.leader()
    cluster.offer(cluster.change(CHANGE_ADD, "dora"))
    cluster.until(lambda: decided(cluster, leader) == 4)
    old = cluster.validators[leader].machine.quorum
    cluster.stop(leader)
    cluster.until(lambda: cluster.leader() not in (None, leader))
    new = cluster.leader()
    assert new != "dora"
    first = next(
        block
        for block in (cluster.block(new, height) for height in range(1, cluster.disks[new].last_index() + 1))
        if block.leader == device(new).key_id
    )
    assert first.header.validators == old.config_hash()
    cluster.start(leader)
    cluster.until(lambda: cluster.in_force("anna", "bela", "carla", "dora"))
    alive(cluster)


def test_the_vote_of_one_who_is_only_decided_does_not_count() -> None:
    # Until the decision is announced, the old validators elect. An election certificate with a vote of anybody else
    # convicts the leader who made it; so who is about to vote could have every candidate convicted.
    cluster = grown(4, 3)
    old, key = cluster.leader(), device("dora")
    cluster.offer(cluster.change(CHANGE_ADD, "dora"))
    cluster.until(lambda: decided(cluster, old) == 4)
    cluster.follow("dora")
    cluster.liars.add("dora")
    cluster.stop(old)
    deliver, unasked = cluster.hand_over, []

    def hand_over(sender: str, receiver: str, parcel: Parcel) -> str | None:
        candidate = cluster.validators.get(receiver)
        if candidate is not None and candidate.role == Role.CANDIDATE and sender != "dora":
            tip = candidate._chain.tip(candidate.last_height)
            vote = Vote(term=candidate.term, candidate=device(receiver).key_id, candidate_tip=tip, voter_tip=tip)
            signed = cose.sign(Vote.KIND, cluster.village.chain_id, to_payload(vote), key.public, key.sign)
            message = pack(Message(kind=MessageKind.VOTE_RESP, term=candidate.term))
            unasked.append(receiver)
            deliver("dora", receiver, Parcel(message=message, vote=(key.key_id, tip.row(), None, signed.signature)))
        return deliver(sender, receiver, parcel)

    cluster.hand_over = hand_over  # type: ignore[method-assign]
    cluster.until(lambda: cluster.leader() not in (None, old))
    assert cluster.leader() in unasked
    # That nobody honest is accused is checked after every step.
    cluster.until(lambda: cluster.in_force("anna", "bela", "carla", "dora"))


@pytest.mark.parametrize("seed", range(6))
def test_two_changes_in_a_row_across_a_change_of_leaders(seed: int) -> None:
    # The classic trap of single steps: the old leader has announced the first change to nobody and is cut off; the
    # others make it too, and the next one, under another leader. The two must never agree on different things.
    cluster = grown(6, 4, seed)
    old = cluster.leader()
    cluster.offer(cluster.change(CHANGE_ADD, "emil"))
    cluster.until(lambda: decided(cluster, old) == 5)
    cluster.cut = {pair for home in cluster.village.homes for pair in ((old, home), (home, old)) if home != old}
    cluster.run(1)
    tail = cluster.validators[old]
    assert tail.last_height > tail.final_height, "its announcement is certified by nobody"
    cluster.until(lambda: cluster.leader() not in (None, old), 60 * ELECTION_TICKS)
    others = [home for home in cluster.village.homes if home != old]
    knows = dict.fromkeys(others, 5)
    cluster.until(lambda: {home: decided(cluster, home) for home in others} == knows, 60 * ELECTION_TICKS)
    five = [*HOMES[:4], "emil"]
    cluster.until(lambda: voting(cluster, cluster.leader() or others[0]) == set(five), 60 * ELECTION_TICKS)
    cluster.remove_validator(old)
    rest = [home for home in five if home != old]
    cluster.until(lambda: voting(cluster, cluster.leader() or others[0]) == set(rest), 60 * ELECTION_TICKS)
    # The old leader is alone with a log that says something else, and with its old voters.
    assert cluster.validators[old].machine.height < cluster.validators[cluster.leader()].machine.height
    cluster.cut = set()
    cluster.until(lambda: cluster.in_force(*rest) and old in cluster.learners, 60 * ELECTION_TICKS)
    alive(cluster)


def voting(cluster: Changing, home: str) -> set[str]:
    """Who votes at the next height, as a node has executed it."""
    quorum = cluster.machine_at(home).quorum
    return {name for name in HOMES if quorum.has(device(name).public)}


def test_an_answer_of_an_earlier_session_does_not_count() -> None:
    # Dora is removed and added again under one leader. What she said in her first session arrives late.
    cluster = grown(4, 4)
    leader = cluster.leader()
    if leader == "dora":
        cluster.validators["dora"].transfer(cluster.validators["anna"].number)
        cluster.until(lambda: cluster.leader() not in (None, "dora") and cluster.agreed())
        leader = cluster.leader()
    cluster.offer(order(cluster, 1))
    assert cluster.validators[leader].propose()
    cluster.work(leader)
    late: list[tuple[str, str, bytes]] = []
    for _ in range(50):
        cluster.work("dora")
        late += [wire for wire in cluster.wires if wire[:2] == ("dora", leader)]
        if not cluster.wires:
            break
        cluster.deliver()
    late = [wire for wire in late if (message := read_as(Parcel, wire[2]).message) and message.kind == 3]
    assert late, "she has answered an append"
    term = cluster.validators[leader].term
    rest = [home for home in HOMES[:4] if home != "dora"]
    cluster.remove_validator("dora")
    cluster.until(lambda: cluster.in_force(*rest) and "dora" in cluster.learners)
    cluster.add_validator("dora")
    cluster.until(lambda: cluster.in_force(*HOMES[:4]) and "dora" in cluster.validators and cluster.agreed())
    assert (cluster.leader(), cluster.validators[leader].term) == (leader, term)
    seat = cluster.machine_at(leader).state.seats[device("dora").public]
    assert seat.epoch == 1
    before = cluster.validators[leader].counters["message refused: answer of an earlier session"]
    for _, _, data in late:
        cluster.hand_over("dora", leader, read_as(Parcel, data))
    assert cluster.validators[leader].counters["message refused: answer of an earlier session"] > before
    alive(cluster)


def test_who_was_away_for_several_changes_learns_who_votes_and_votes_again() -> None:
    # None of those who elect now was known to Carla when she went; no heartbeat of theirs proves anything to her.
    cluster = grown(7, 3)
    cluster.stop("carla")
    for action, home in (("add", "dora"), ("remove", "bela"), ("add", "emil"), ("remove", "anna"), ("add", "fritz")):
        (cluster.add_validator if action == "add" else cluster.remove_validator)(home)
        up = [name for name in cluster.village.homes if name != "carla"]
        wanted = action == "add"
        cluster.until(
            lambda: all((home in voting(cluster, name)) == wanted for name in up),  # noqa: B023
            80 * ELECTION_TICKS,
        )
        alive(cluster)
    cluster.start("carla")
    assert voting(cluster, "carla") == {"anna", "bela", "carla"}
    cluster.until(lambda: cluster.in_force("carla", "dora", "emil", "fritz"), 80 * ELECTION_TICKS)
    cluster.until(lambda: "carla" in cluster.validators and cluster.agreed(), 80 * ELECTION_TICKS)
    cluster.stop("fritz")
    alive(cluster)


def test_a_heartbeat_of_those_who_vote_no_more_proves_nothing() -> None:
    # Bela was removed. With the votes of her time she could still make an election certificate.
    cluster = grown(5, 4)
    if cluster.leader() == "bela":
        cluster.validators["bela"].transfer(cluster.validators["anna"].number)
        cluster.until(lambda: cluster.leader() not in (None, "bela") and cluster.agreed())
    old = cluster.village.quorum
    cluster.remove_validator("bela")
    rest = ["anna", "carla", "dora"]
    cluster.until(lambda: cluster.in_force(*rest))
    leader = cluster.leader()
    victim = next(home for home in rest if home != leader)
    parent = Parent.of(cluster.block(victim, cluster.disks[victim].last_index()))
    term = cluster.validators[victim].term + 1
    election = cluster.village.election("bela", term, parent, ["anna", "bela", "carla"])
    block = cluster.village.block(parent, "bela", term, election=election, head={"validators": old.config_hash()})
    proof = Elected(first=block.header_envelope.encode(), election=election)
    message = Message(kind=MessageKind.HEARTBEAT, term=term)
    number = cluster.machine_at(victim).state.seats[device("bela").public].number
    cluster.liars.add("bela")
    cluster.validators[victim].receive(number, Parcel(message=pack(message), elected=proof))
    assert cluster.validators[victim].term == term - 1
    assert cluster.validators[victim].counters["leader of unknown validators"] == 1
    # Nor does what they certify count for anything above their time.
    certificate = cluster.village.certificate(block, ["anna", "bela", "carla"], validators=old.config_hash())
    assert cluster.validators[victim].receive(number, Parcel(certificates=(certificate,))) is None
    assert cluster.validators[victim].counters["certificate of unknown validators"] == 1
    assert cluster.validators[victim].halted is None
    alive(cluster)
