"""Mempool: what waits for a block, what never should, and who cannot crowd out whom."""

from __future__ import annotations

import threading

import msgspec
import pytest

from meshnode import mempool
from meshnode.keys import SignatureCheck
from meshnode.ledger.verdicts import Verdict
from meshnode.mempool import Mempool
from protocols.block import SignedRecord
from protocols.cose import Envelope
from protocols.evidence import EvidenceKind
from protocols.records import CHANGE_MODE, MeterEntry, OpenCounters, meter_id_of
from tests.ledger.chain import Chain
from tests.network.cluster import Cluster
from tests.network.neighbours import NOW_S, PERIOD_S, ledger_time, machine_of, real_village
from tests.protocols.keys import key_pair
from tests.protocols.village import START_S, Village

MANY = 10**9


def reading(village: Village, home: str = "anna", period: int = 1, **changes: object) -> SignedRecord:
    values = OpenCounters(import_wh=1000 + period, export_wh=0)
    return village.reading(home, period_start_s=START_S + period * PERIOD_S, values=values, **changes)


def selected(pool: Mempool, time_s: int = NOW_S, max_bytes: int = MANY, max_records: int = MANY) -> list[bytes]:
    return [signed.record_id for signed in pool.select(time_s, max_bytes, max_records, frozenset())]


def test_what_came_first_goes_first_and_is_here_once() -> None:
    village = real_village()
    pool = Mempool(machine_of(village))
    records = [reading(village, "bela"), reading(village, "anna"), village.order("carla", valid_until_s=NOW_S + 60)]
    for signed in records:
        assert pool.add(signed, NOW_S) is None
        assert pool.add(signed, NOW_S) is None
    assert selected(pool) == pool.ids() == [signed.record_id for signed in records]
    assert pool.select(NOW_S, MANY, MANY, frozenset({records[0].record_id})) == records[1:]
    assert selected(pool, max_records=2) == [signed.record_id for signed in records[:2]]
    pool.final([records[0].record_id])
    assert pool.is_final(records[0].record_id)
    assert pool.add(records[0], NOW_S) is None
    assert selected(pool) == [signed.record_id for signed in records[1:]]


def test_refusals_say_who_is_at_fault_and_whether_it_lasts() -> None:
    village = real_village()
    pool = Mempool(machine_of(village))
    good = reading(village)
    correction = pool._machine.rules().period.correction_s // PERIOD_S
    envelope = msgspec.structs.replace(good.envelope, signature=bytes(64))
    story = {
        "bad signature": (SignedRecord(good.record, envelope, envelope.encode(), good.record_id), True, True),
        "wrong key": (village.sign(good.record, key_pair("anna")), True, True),
        "unknown key": (village.sign(good.record, key_pair("nobody")), False, False),
        # Of a clock that is ahead: only the ledger's own time says that no block can carry these.
        "expired": (village.order(valid_until_s=NOW_S - 1), False, False),
        # A clock that is a little ahead of ours makes these; ours will get there.
        "valid too long": (village.order(valid_until_s=NOW_S + 30 * 86400), False, False),
        "period not over": (reading(village, period=11), False, False),
        "correction too late": (reading(village, period=3 - correction), False, False),
    }
    for name, (signed, blame, lasting) in story.items():
        refusal = pool.add(signed, NOW_S)
        assert refusal is not None, name
        assert (refusal.reason, refusal.blame, refusal.lasting) == (name.replace(" ", "_").upper(), blame, lasting)
    assert len(pool) == 0
    assert pool.counters["refused: BAD_SIGNATURE"] == 1
    ledger_time(pool._machine, NOW_S)
    for name in ("expired", "correction too late"):
        refusal = pool.add(story[name][0], NOW_S)
        assert refusal is not None and refusal.lasting, name


def test_a_reading_of_a_clock_a_little_ahead_waits_for_its_time() -> None:
    village = real_village(max_drift_s=10)
    pool = Mempool(machine_of(village))
    early = reading(village, period=10)  # over at NOW_S + 900
    end_s = NOW_S + PERIOD_S
    assert pool.add(early, end_s - 11) is not None
    assert pool.add(early, end_s - 10) is None
    assert selected(pool, end_s - 1) == []
    assert selected(pool, end_s) == [early.record_id]


def test_what_stands_on_the_ledger_is_not_taken_again() -> None:
    # Also long after the mempool has forgotten it, as after a restart.
    cluster = Cluster(1)
    cluster.until(lambda: cluster.heights() == {1})
    cluster.now_s = START_S + 2 * PERIOD_S
    village = cluster.village
    order = village.order("anna", valid_until_s=cluster.now_s + 3600, period_start_s=cluster.now_s + PERIOD_S)
    first = reading(village, period=1)
    for signed in (first, order):
        cluster.add(signed)
    cluster.until(lambda: len(cluster.pools["anna"]) == 0)
    pool = Mempool(cluster.validators["anna"].machine)
    other = village.order("anna", valid_until_s=cluster.now_s + 3600, energy_wh=7)
    for signed, verdict in (
        (first, Verdict.REPEATED),
        (order, Verdict.REPEATED),
        (reading(village, period=1, quality=1), Verdict.VERSION_CONFLICT),
        (other, Verdict.NONCE_TAKEN),
    ):
        refusal = pool.add(signed, cluster.now_s)
        assert refusal is not None
        assert (refusal.verdict, refusal.blame, refusal.lasting) == (verdict, False, True)
    assert pool.add(reading(village, period=1, version=1), cluster.now_s) is None


def test_what_stands_on_the_ledger_is_not_called_expired() -> None:
    """Its author asks again after the end of its validity, and must not hear that it was refused."""
    cluster = Cluster(1)
    cluster.until(lambda: cluster.heights() == {1})
    order = cluster.village.order("anna", valid_until_s=START_S + 600, period_start_s=START_S + 4 * PERIOD_S)
    cluster.add(order)
    cluster.until(lambda: len(cluster.pools["anna"]) == 0)
    refusal = Mempool(cluster.validators["anna"].machine).add(order, START_S + 601)
    assert refusal is not None and refusal.verdict == Verdict.REPEATED


def test_what_lost_a_race_meanwhile_is_dropped_from_the_next_block() -> None:
    cluster = Cluster(1)
    cluster.until(lambda: cluster.heights() == {1})
    village, pool = cluster.village, Mempool(cluster.validators["anna"].machine)
    one = village.order("anna", valid_until_s=START_S + 3600, energy_wh=1)
    other = village.order("anna", valid_until_s=START_S + 3600, energy_wh=2)
    assert pool.add(other, cluster.now_s) is None
    cluster.add(one)
    cluster.until(lambda: len(cluster.pools["anna"]) == 0)
    assert selected(pool, cluster.now_s) == []
    assert pool.counters["record dropped: NONCE_TAKEN"] == 1


def test_waste_goes_on_nodes_that_never_lead() -> None:
    village = real_village()
    pool = Mempool(machine_of(village))
    for nonce in range(1, 6):
        assert pool.add(village.order("anna", nonce, valid_until_s=NOW_S + nonce), NOW_S) is None
    assert pool.add(reading(village, period=9), NOW_S) is None
    assert pool.prune(NOW_S + 3) == 2
    assert len(pool) == 4
    assert pool.prune(NOW_S + 10 * 86400) == 4
    assert len(pool) == 0
    assert pool.add(reading(village, period=9), NOW_S) is None, "nothing stays counted"


def test_a_home_with_many_meters_does_not_crowd_out_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mempool, "MAX_PER_ACCOUNT", 4)
    keys = [key_pair(f"anna meter {number}") for number in range(8)]
    village = real_village()
    anna = msgspec.structs.replace(
        village.genesis.members[0],
        meters=tuple(MeterEntry(meter_key=key.public, metering_point=f"AT-{i}") for i, key in enumerate(keys)),
    )
    village = real_village(members=(anna, *village.genesis.members[1:]))
    pool = Mempool(machine_of(village))
    taken = []
    for key in keys:
        record = msgspec.structs.replace(reading(village).record, meter=meter_id_of(key.public))
        taken.append(pool.add(village.sign(record, key), NOW_S))
    assert [refusal is None for refusal in taken] == [True] * 4 + [False] * 4
    assert taken[-1] is not None
    assert not taken[-1].lasting
    assert pool.add(reading(village, "bela"), NOW_S) is None


def test_at_its_bounds_the_mempool_refuses_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    village = real_village()
    pool = Mempool(machine_of(village))
    monkeypatch.setattr(mempool, "MAX_RECORDS", 3)
    records = [reading(village, period=period) for period in range(5)]
    assert [pool.add(signed, NOW_S) is None for signed in records] == [True, True, True, False, False]
    assert pool.counters["refused: the mempool is full; try again later"] == 2
    pool.final([records[0].record_id])
    monkeypatch.setattr(mempool, "MAX_RECORDS", 100)
    monkeypatch.setattr(mempool, "MAX_BYTES", 3 * len(records[1].envelope_bytes))
    assert [pool.add(signed, NOW_S) is None for signed in records[3:]] == [True, False]


def test_a_full_mempool_verifies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Watched(SignatureCheck):
        def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
            asked.append(message)
            return super().__call__(public_key, message, signature)

    village = real_village()
    pool = Mempool(machine_of(village, Watched()))
    monkeypatch.setattr(mempool, "MAX_RECORDS", 0)
    assert pool.add(reading(village), NOW_S) is not None
    assert asked == []


def test_a_record_larger_than_a_block_does_not_stand_before_the_others() -> None:
    village = real_village()
    pool = Mempool(machine_of(village))
    large, small = village.order("anna", 10**15, valid_until_s=NOW_S + 60, energy_wh=10**6), reading(village)
    assert len(large.envelope_bytes) > len(small.envelope_bytes)
    for signed in (large, small):
        assert pool.add(signed, NOW_S) is None
    assert selected(pool, max_bytes=len(small.envelope_bytes) + 5) == [small.record_id]
    assert pool.counters["record dropped: larger than a block"] == 1
    assert pool.ids() == [small.record_id]


def test_final_records_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mempool, "FINAL_REMEMBERED", 2)
    pool = Mempool(machine_of(real_village()))
    one, two, three = (bytes([number]) * 32 for number in (1, 2, 3))
    pool.final([one, two])
    pool.final([one])
    pool.final([three])
    assert [pool.is_final(number) for number in (one, two, three)] == [True, False, True]


def test_what_is_verified_in_a_thread_is_not_verified_again() -> None:
    village, check = real_village(), SignatureCheck()
    pool = Mempool(machine_of(village, check))
    signed = reading(village)
    work = pool.to_verify(signed)
    assert work is not None
    assert check(*work)
    message = signed.envelope.to_be_signed(signed.record.KIND, village.chain_id)
    assert work == (key_pair("anna meter").public, message, signed.envelope.signature)
    assert pool.add(signed, NOW_S) is None
    assert pool.to_verify(signed) is None
    assert pool.to_verify(village.sign(signed.record, key_pair("nobody"))) is None


def test_the_verifier_keeps_its_bound_when_threads_use_it_at_once() -> None:
    check = SignatureCheck(remembered=16)
    key = key_pair("anna")
    work = [(key.public, message := number.to_bytes(4, "big"), key.sign(message)) for number in range(200)]
    wrong: list[Exception | bool] = []

    def use() -> None:
        try:
            wrong.extend(not check(*item) for item in work if not check(*item))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(check._good) <= 16
    assert not check(key.public, b"other", work[0][2])
    assert isinstance(Envelope(key.key_id, b"", bytes(64)).verify(4, bytes(32), key.public, check), bool)


def test_a_change_of_validators_that_this_node_does_not_know_yet_is_not_refused_for_good() -> None:
    # Another node has executed the change before it and takes this one; its author must not hear "never".
    chain = Chain()
    pool = Mempool(chain.machine)
    refusal = pool.add(chain.change(CHANGE_MODE, mode=0, previous=bytes(32)), chain.now_s)
    assert refusal is not None
    assert (refusal.verdict, refusal.blame, refusal.lasting) == (Verdict.OTHER_QUORUM, False, False)


def test_evidence_waits_only_if_it_proves_something_that_is_not_known_yet() -> None:
    chain = Chain()
    pool = Mempool(chain.machine)
    lie = (chain.vote("bela", 3, "carla"), chain.vote("bela", 3, "anna"))
    first, second = (chain.evidence(EvidenceKind.VOTES, "bela", *lie, signer=home) for home in ("anna", "carla"))
    refusal = pool.add(chain.evidence(EvidenceKind.VOTES, "bela", lie[0], signer="anna"), chain.now_s)
    assert refusal is not None and (refusal.verdict, refusal.blame, refusal.lasting) == (
        Verdict.NOT_PROVED,
        False,
        False,
    )
    assert pool.add(first, chain.now_s) is None and pool.add(second, chain.now_s) is None
    chain.block(first)
    pool.final([first.record_id])
    assert selected(pool, chain.now_s) == [] and pool.counters["record dropped: KNOWN_EVIDENCE"] == 1
