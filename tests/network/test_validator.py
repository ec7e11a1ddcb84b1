"""Validators agree: stories in one thread, without network and disk."""

from __future__ import annotations

import pytest

from meshnode.ledger import rows
from meshnode.network import chain
from meshnode.network.proposer import MAX_BLOCKS_IN_FLIGHT
from meshnode.store import HardState
from protocols import block as blocks
from protocols.parcel import Parcel
from protocols.raft import Role
from protocols.records import OpenCounters
from tests.network.cluster import ELECTION_TICKS, PERIOD_S, Cluster, Moment, Writing
from tests.protocols.village import START_S


def reading(cluster: Cluster, home: str, period: int, wh: int):
    """The home's register at the end of a period, counted from the first (-1: the baseline)."""
    return cluster.village.reading(
        home,
        period_start_s=START_S + period * PERIOD_S,
        values=OpenCounters(import_wh=wh, export_wh=0),
    )


def settle_period(cluster: Cluster, period: int) -> None:
    """Every home reports the end of a period, and it closes everywhere."""
    cluster.now_s = max(cluster.now_s, START_S + (period + 1) * PERIOD_S)
    for number, home in enumerate(cluster.village.homes):
        cluster.add(reading(cluster, home, period, 1000 * (period + 2) + number))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_microgrid_settles_a_period(size: int) -> None:
    cluster = Cluster(size)
    cluster.until(lambda: cluster.leader() and cluster.heights() == {1})
    settle_period(cluster, -1)
    settle_period(cluster, 0)
    cluster.until(lambda: all(v.machine.next_period_s == START_S + PERIOD_S for v in cluster.validators.values()))
    cluster.run(5)
    assert len(cluster.hashes()) == 1
    assert not cluster.faults
    machine = cluster.validators["anna"].machine
    machine.check_invariants()
    assert sum(row.import_wh for _, row in machine.state.metered.items()) == 1000 * size


def test_a_follower_that_was_away_catches_up() -> None:
    cluster = Cluster(3)
    cluster.until(lambda: cluster.leader() and cluster.heights() == {1})
    away = next(home for home in cluster.village.homes if home != cluster.leader())
    cluster.stop(away)
    settle_period(cluster, -1)
    for period in range(60):
        cluster.now_s = START_S + (period + 1) * PERIOD_S
        for number, home in enumerate(cluster.village.homes):
            cluster.pools[cluster.leader()].add(
                reading(cluster, home, period, 1000 * (period + 2) + number), cluster.now_s
            )
        cluster.run(3)
    leader = cluster.validators[cluster.leader()]
    assert leader.final_height >= 60
    cluster.start(away)
    cluster.until(lambda: cluster.validators[away].final_height == leader.final_height)
    assert len(cluster.hashes()) == 1
    assert not cluster.faults


def test_the_leader_dies_and_a_new_one_goes_on() -> None:
    cluster = Cluster(3)
    cluster.until(lambda: cluster.leader() and cluster.heights() == {1})
    settle_period(cluster, -1)
    cluster.run(3)
    old = cluster.leader()
    assert old is not None
    cluster.stop(old)
    cluster.until(lambda: cluster.leader() not in (None, old))
    settle_period(cluster, 0)
    cluster.run(5)
    cluster.start(old)
    cluster.until(lambda: len(cluster.heights()) == 1 and not cluster.wires)
    cluster.run(5)
    assert len(cluster.hashes()) == 1
    assert not cluster.faults
    assert {v.machine.next_period_s for v in cluster.validators.values()} == {START_S + PERIOD_S}


def accepted(cluster: Cluster, *records) -> bool:
    """Whether all these records took effect."""
    return all(record.record_id in cluster.witness.effective for record in records)


def order(cluster: Cluster, nonce: int, **changes):
    """An order of Anna's for the period that comes next."""
    fields = {"valid_until_s": cluster.now_s + 600, "period_start_s": START_S + 4 * PERIOD_S}
    return cluster.village.order("anna", nonce, **(fields | changes))


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("victim", ["leader", "follower"])
def test_the_power_fails_while_a_block_is_written(moment: Moment, victim: str) -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    home = leader if victim == "leader" else cluster.followers()[0]
    record = order(cluster, 1)
    cluster.add(record)
    assert cluster.validators[leader].propose()
    if victim == "follower":
        # The leader's append is on its way; the follower has it and begins to write.
        cluster.work(leader)
        while cluster.wires:
            cluster.deliver()
    assert cluster.stop_writing(home, moment)
    cluster.run(40)
    cluster.start(home)
    cluster.until(lambda: cluster.agreed())
    if not accepted(cluster, record):
        # Only the leader knew the block, and it is gone: the record still waits in the mempools.
        cluster.until(lambda: accepted(cluster, record))
    cluster.run(10)
    assert cluster.agreed() and len(cluster.hashes()) == 1


def test_heartbeats_do_not_wait_behind_slow_disks() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    term = cluster.validators[leader].term
    cluster.slow = dict.fromkeys(cluster.village.homes, 4 * ELECTION_TICKS)
    for nonce in range(1, 6):
        cluster.add(order(cluster, nonce))
        cluster.run(2 * ELECTION_TICKS)
    assert {v.term for v in cluster.validators.values()} == {term} and cluster.leader() == leader
    cluster.heal()
    cluster.until(lambda: cluster.agreed() and len(cluster.witness.effective) == 5)


def test_a_promise_that_is_overtaken_by_a_new_leader_is_void() -> None:
    # Dora's disk is busy. She takes in a block of the old leader and, before she can write it, the
    # block with which the new one replaces it. Her answer to the old leader was about another block.
    cluster = Cluster(5)
    old = cluster.founded()
    slow, *others = cluster.followers()
    cluster.add(order(cluster, 1), [old])
    assert cluster.validators[old].propose()
    cluster.work(old)
    while cluster.wires:
        cluster.deliver()
    begun = cluster.validators[slow].poll()
    assert begun is not None
    cluster.writing[slow] = Writing(begun.batch, cluster.ticks + 100_000)
    # The next block reaches only her.
    cluster.cut = {(old, other) for other in others} | {(other, old) for other in others}
    cluster.add(order(cluster, 2), [old])
    assert cluster.validators[old].propose()
    cluster.settle()
    assert cluster.validators[slow].last_height == 3
    # The others elect one of them, who overwrites it.
    cluster.cut |= {(old, slow), (slow, old)}
    cluster.until(lambda: cluster.leader() in others)
    new = cluster.validators[cluster.leader()]
    cluster.until(lambda: cluster.validators[slow].term == new.term)
    cluster.run(5)
    cluster.writing[slow].due = 0
    cluster.run(2)
    assert cluster.validators[slow].counters["void before it was on disk: APP_RESP"]
    cluster.heal()
    cluster.until(cluster.agreed)


def test_blocks_that_were_replaced_while_they_were_written_count_for_nothing() -> None:
    cluster = Cluster(5)
    old = cluster.founded()
    slow, *others = cluster.followers()
    cluster.cut = {(old, other) for other in others} | {(other, old) for other in others}
    for nonce in (1, 2):
        cluster.add(order(cluster, nonce), [old])
        assert cluster.validators[old].propose()
        cluster.work(old)
    while cluster.wires:
        cluster.deliver()
    begun = cluster.validators[slow].poll()
    assert begun is not None and len(begun.batch.entries) == 2
    cluster.writing[slow] = Writing(begun.batch, cluster.ticks + 100_000)
    cluster.cut |= {(old, slow), (slow, old)}
    cluster.until(lambda: cluster.leader() in others)
    new = cluster.validators[cluster.leader()]
    cluster.until(lambda: cluster.validators[slow].last_height == 2 and cluster.validators[slow].term == new.term)
    written = cluster.writing.pop(slow)
    cluster.disks[slow].persist(written.batch)
    cluster.send(slow, cluster.validators[slow].persisted())
    # What reached the disk is not what the log has now.
    taken = cluster.disks[cluster.leader()].log[2].block_hash
    assert cluster.disks[slow].log[2].block_hash != taken == cluster.validators[slow]._chain.head(2).block_hash
    cluster.heal()
    cluster.until(cluster.agreed)


def without_their_leader(cluster: Cluster) -> list[str]:
    """Founded, then the leader's node is switched off: the others, who have all noticed, can vote again."""
    old = cluster.founded()
    others = cluster.followers()
    cluster.stop(old)
    cluster.cut = {(a, b) for a in cluster.village.homes for b in cluster.village.homes if a != b}
    cluster.until(lambda: all(cluster.validators[home].leader is None for home in others))
    cluster.settle()
    cluster.cut = set()
    return others


def test_a_candidate_whose_disk_was_busy_asks_for_nothing_any_more() -> None:
    # While Dora's disk was busy she began an election, another one was elected in the same
    # term, and she follows her now. Her request would name a tip that it does not have.
    cluster = Cluster(5)
    slow, rival, *others = without_their_leader(cluster)
    dora = cluster.validators[slow]
    dora.campaign()
    for _ in range(100):
        if dora.role == Role.CANDIDATE:
            break
        for home in (rival, *others):
            cluster.work(home)
        if slow not in cluster.writing:
            begun = dora.poll()
            assert begun is not None
            cluster.send(slow, begun.now)
            cluster.writing[slow] = Writing(begun.batch, cluster.ticks + 100_000)
        cluster.deliver()
    assert dora.role == Role.CANDIDATE
    # The rival gets there first with the votes of the two others.
    cluster.wires.clear()
    while cluster.validators[rival].term < dora.term or cluster.leader() != rival:
        cluster.validators[rival].campaign()
        cluster.settle()
    assert dora.term == cluster.validators[rival].term and dora.last_height == 2
    cluster.writing[slow].due = 0
    cluster.settle()
    assert dora.counters["void before it was on disk: VOTE"]
    cluster.heal()
    cluster.until(cluster.agreed)


def test_a_vote_that_comes_too_late_is_not_given() -> None:
    # Her disk was busy when she was asked, and who asked has been elected without her since.
    cluster = Cluster(5)
    slow, rival, *_ = without_their_leader(cluster)
    validator = cluster.validators[slow]
    validator.campaign()  # something to write
    begun = validator.poll()
    assert begun is not None
    cluster.writing[slow] = Writing(begun.batch, cluster.ticks + 100_000)
    for _ in range(20):
        if cluster.leader() == rival:
            break
        cluster.validators[rival].campaign()
        cluster.settle()
    assert cluster.leader() == rival and validator.last_height == 2
    cluster.writing[slow].due = 0
    cluster.settle()
    assert validator.counters["void before it was on disk: VOTE_RESP"]
    cluster.heal()
    cluster.until(cluster.agreed)


def test_a_block_that_lost_does_not_stop_its_leader() -> None:
    # The old leader wrote a block that nobody else has. The certificate of the block that
    # took its place may arrive before that block itself.
    cluster = Cluster(3)
    old = cluster.founded()
    others = cluster.followers()
    cluster.cut = {(old, other) for other in others} | {(other, old) for other in others}
    cluster.add(order(cluster, 1), [old])
    cluster.step()
    assert cluster.disks[old].last_index() == 2 and cluster.disks[old].final == 1
    cluster.until(lambda: cluster.leader() in others and cluster.validators[cluster.leader()].final_height == 2)
    new = cluster.leader()
    certificate = cluster.validators[new].newest_certificate
    assert certificate.height == 2
    cluster.hand_over(new, old, Parcel(certificates=(certificate,)))
    assert cluster.validators[old].halted is None and cluster.validators[old].final_height == 1
    cluster.heal()
    cluster.until(lambda: cluster.agreed())
    assert cluster.validators[old].final_height == 2


def test_a_leader_whose_clock_is_ahead_makes_room_for_another() -> None:
    cluster = Cluster(3)
    ahead = cluster.founded()
    cluster.offset_s[ahead] = 3600
    record = order(cluster, 1)
    cluster.add(record)
    cluster.until(lambda: cluster.validators[ahead]._patience.resting)
    cluster.add(order(cluster, 2, valid_until_s=cluster.now_s + 7200))
    assert not cluster.validators[ahead].propose(), "even a new block would break its silence"
    cluster.until(lambda: accepted(cluster, record), 40 * ELECTION_TICKS)
    assert cluster.leader() != ahead
    assert any("time ahead of our clock" in name for v in cluster.validators.values() for name in v.counters)
    # Its own block has lost, and it follows as well as anybody.
    cluster.until(lambda: cluster.agreed())


def test_a_leader_whose_clock_is_behind_is_followed() -> None:
    cluster = Cluster(3)
    behind = cluster.founded()
    cluster.offset_s[behind] = -3600
    record = order(cluster, 1)
    cluster.add(record)
    cluster.until(lambda: accepted(cluster, record))
    assert cluster.leader() == behind
    times = [cluster.validators[home].machine.time_s for home in cluster.village.homes]
    assert min(times) >= START_S, "the time of the ledger never goes back"


def test_the_clock_ticks_between_selecting_records_and_making_the_block() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    record = order(cluster, 1, valid_until_s=cluster.now_s)
    cluster.add(record)
    select = cluster.pools[leader].select

    def slowly(*arguments):
        chosen = select(*arguments)
        cluster.now_s += 1
        return chosen

    cluster.pools[leader].select = slowly
    cluster.run(3)
    assert accepted(cluster, record)


def test_a_node_with_another_state_stops_and_the_others_go_on() -> None:
    # A bit has flipped in the leader's memory. Nobody follows it there; it learns from the
    # others' certificate that it is the one who is wrong, and leads no more.
    cluster = Cluster(3)
    broken = cluster.founded()
    others = cluster.followers()
    cluster.may_halt = {broken}
    cluster.validators[broken].machine.state.names.put("nobody", rows.NameOf(bytes(16)))
    records = [order(cluster, nonce) for nonce in range(1, 4)]
    for record in records:
        cluster.add(record)
        cluster.run(4)
    cluster.until(lambda: cluster.validators[broken].halted is not None, 40 * ELECTION_TICKS)
    assert "ours is" in cluster.validators[broken].halted
    assert all("the leader" in cluster.validators[home].disputed for home in others)
    cluster.until(lambda: cluster.leader() in others and accepted(cluster, *records), 40 * ELECTION_TICKS)
    term = cluster.validators[cluster.leader()].term
    cluster.validators[cluster.leader()].transfer(cluster.validators[broken].number)
    cluster.validators[broken].campaign()
    cluster.run(5 * ELECTION_TICKS)
    assert cluster.leader() in others and cluster.validators[cluster.leader()].term == term
    last = order(cluster, 9)
    cluster.add(last)
    cluster.until(lambda: accepted(cluster, last))
    cluster.cut = {(home, broken) for home in others}
    cluster.run(5 * ELECTION_TICKS)
    assert cluster.validators[broken].role == Role.FOLLOWER, "silence is no reason to ask for votes"


def test_leadership_is_handed_over_with_a_certificate() -> None:
    cluster = Cluster(3)
    for _ in range(4):
        cluster.until(cluster.agreed)
        old, new = cluster.leader(), cluster.followers()[0]
        cluster.validators[old].transfer(cluster.validators[new].number)
        cluster.until(lambda: cluster.leader() == new)  # noqa: B023
        cluster.until(cluster.agreed)
    assert len(cluster.witness.elections) == 5


def test_blocks_in_flight_are_few_and_share_no_record() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    cluster.cut = {(home, leader) for home in cluster.followers()}
    records = [order(cluster, nonce) for nonce in range(1, 9)]
    for record in records:
        cluster.add(record)
        cluster.validators[leader].propose()
        cluster.validators[leader].propose()
    assert cluster.validators[leader].last_height == 1 + MAX_BLOCKS_IN_FLIGHT
    cluster.heal()
    cluster.until(lambda: accepted(cluster, *records))
    ids = [
        signed.record_id
        for height in range(1, cluster.disks[leader].final + 1)
        for signed in blocks.read(cluster.disks[leader].log[height].data, cluster.village.chain_id).records
    ]
    assert sorted(ids) == sorted(record.record_id for record in records)


def test_a_record_that_has_just_become_final_is_not_proposed_again() -> None:
    # The mempool hears of final blocks from the owner, a moment after the validator executed them.
    cluster = Cluster(3)
    leader = cluster.founded()
    cluster.now_s = START_S + PERIOD_S
    late = reading(cluster, "anna", -30, 5)  # nobody's mistake, but the ledger will not take it any more
    cluster.pools[leader].select = lambda time_s, size, count, exclude: [
        record for record in (late,) if record.record_id not in exclude
    ]
    validator = cluster.validators[leader]
    assert validator.propose()
    for home in cluster.followers():
        cluster.pools[home].select = lambda *_: []
    take_final, validator.take_final = validator.take_final, list
    cluster.settle()
    assert validator.final_height == 2 and not validator.propose()
    validator.take_final = take_final


def test_memory_does_not_grow_with_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "HEADS_KEPT", 8)
    cluster = Cluster(3)
    cluster.founded()
    away = cluster.followers()[0]
    for nonce in range(1, 31):
        if nonce == 10:
            cluster.stop(away)
        cluster.add(order(cluster, nonce), [home for home in cluster.village.homes if home not in cluster.down])
        cluster.run(2)
    cluster.start(away)
    cluster.until(cluster.agreed)
    cluster.run(ELECTION_TICKS)
    assert cluster.heights() == {31}
    for validator in cluster.validators.values():
        assert len(validator._chain._heads) <= 8
        assert validator._chain._blocks == {} and validator._chain.kept_bytes == 0
        # Raft lets go of what it knows to be final, and counts the rest against its limits.
        assert validator._core.commit == validator._core.applied == 31
        finality = validator._finalizer._finality
        assert not finality._links and not finality._acks and not finality._pending


def test_nothing_to_say_no_block() -> None:
    cluster = Cluster(3)
    cluster.founded()
    cluster.run(200)
    assert cluster.heights() == {1}
    # A period that is over is closed by one block, records or not.
    cluster.now_s = START_S + 2 * PERIOD_S
    cluster.run(200)
    assert cluster.heights() == {2}


def test_a_single_node_goes_on_after_a_power_cut() -> None:
    cluster = Cluster(1)
    cluster.founded()
    for nonce, moment in enumerate(Moment, 1):
        cluster.add(order(cluster, nonce))
        cluster.validators["anna"].propose()
        cluster.stop_writing("anna", moment)
        cluster.start("anna")
        cluster.until(cluster.agreed)
    assert cluster.validators["anna"].term == 5


def test_a_disk_put_together_from_two_times_signs_nothing() -> None:
    cluster = Cluster(3)
    cluster.founded()
    home = cluster.followers()[0]
    cluster.stop(home)
    cluster.disks[home].hard = HardState(0, 0, 0)
    with pytest.raises(ValueError, match="must not sign again"):
        cluster.start(home)
