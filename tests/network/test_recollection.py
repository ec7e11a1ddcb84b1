"""Recollection: a node that comes back is told by the others what it has signed, before it signs again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import msgspec
import pytest

from meshnode.keys import SignatureCheck
from meshnode.network.licence import PATIENCE_TIMEOUTS, Licence, Retired
from meshnode.network.recollection import Recollection
from meshnode.network.validator import Validator
from meshnode.store.reservation import Places, Reservation, before_signing, changed
from protocols.records import OpenCounters
from protocols.signatures import Signatures
from tests.network.cluster import ELECTION_TICKS, PERIOD_S, Cluster, Disk
from tests.protocols.village import START_S, device

KEY = device("anna").key_id


def places(disk: Disk, newest: Reservation | None, older: Reservation | None = None) -> Places:
    boot = b"the next"
    return Places(signed=disk.sign, newest=newest, older=older, is_there=newest is not None, key_id=KEY, boot=boot)


def unclean(disk: Disk) -> Reservation:
    """What the sign file says when the plug is pulled."""
    found = before_signing(None, KEY, b"the last", disk.sign, disk.sign.sequence - 1)
    assert found is not None
    return found


def clean(disk: Disk) -> Reservation:
    """What it says after a stop in order."""
    return changed(unclean(disk), KEY, b"the last", disk.sign, clean=True)


def back(cluster: Cluster, found: Places) -> tuple[Validator, Recollection]:
    """Anna's node starts again, silent."""
    recollection = Recollection(
        found,
        cluster.disks["anna"].hard.term,
        device("anna").public,
        lambda: cluster.validators["bela"].machine.quorum,
        cluster.village.chain_id,
        SignatureCheck(),
        ELECTION_TICKS,
    )
    cluster.start("anna")
    validator = cluster.validators["anna"]
    decision = recollection.decision
    assert isinstance(decision, Licence) and decision.silent
    validator.permit(decision)
    return validator, recollection


def answer(cluster: Cluster, home: str) -> Signatures:
    asked = cluster.validators[home]
    return asked.heard.of(KEY, asked.term, asked.tip())


def grow(cluster: Cluster, periods: range) -> None:
    """Blocks with readings, and whatever elections it takes."""
    for period in periods:
        cluster.now_s = max(cluster.now_s, START_S + (period + 1) * PERIOD_S)
        for number, home in enumerate(cluster.village.homes):
            if home not in cluster.down:
                cluster.add(
                    cluster.village.reading(
                        home, period_start_s=START_S + period * PERIOD_S, values=_counters(period, number)
                    ),
                    [other for other in cluster.village.homes if other not in cluster.down],
                )
        cluster.run(6)


def _counters(period: int, number: int) -> OpenCounters:
    return OpenCounters(import_wh=1000 * (period + 2) + number, export_wh=0)


@pytest.fixture(params=["anna acknowledges", "anna leads"])
def grown(request: pytest.FixtureRequest) -> Iterator[Callable[[], tuple[Cluster, Disk]]]:
    """A cluster, and an image of Anna's disk from the middle of its life."""

    def make() -> tuple[Cluster, Disk]:
        cluster = Cluster(3)
        cluster.founded()
        if (cluster.leader() == "anna") != (request.param == "anna leads"):
            other = "anna" if request.param == "anna leads" else "bela"
            cluster.validators[cluster.leader() or ""].transfer(cluster.validators[other].number)
            cluster.until(lambda: cluster.leader() == other)
        grow(cluster, range(-1, 2))
        image = copy.deepcopy(cluster.disks["anna"])
        grow(cluster, range(2, 6))
        cluster.until(cluster.agreed)
        return cluster, image

    yield make


def test_an_old_image_never_signs(grown: Callable[[], tuple[Cluster, Disk]]) -> None:
    """Stopped in order when it was copied or not: one neighbour that has seen more is enough."""
    for state in (clean, unclean):
        for witness in ("bela", "carla"):
            cluster, image = grown()
            cluster.stop("anna")
            cluster.disks["anna"] = image
            _, recollection = back(cluster, places(image, state(image)))
            fault, decision = recollection.take(device(witness).public, answer(cluster, witness))
            assert fault is None
            assert isinstance(decision, Retired) and "earlier time" in decision.reason
            # Nothing that comes later changes that.
            for _ in range(PATIENCE_TIMEOUTS * ELECTION_TICKS + 1):
                assert recollection.tick() is None
            assert isinstance(recollection.decision, Retired)


def test_a_disk_of_today_signs_again_when_all_have_answered(grown: Callable[[], tuple[Cluster, Disk]]) -> None:
    for state in (clean, unclean):
        cluster, _ = grown()
        cluster.stop("anna")
        grow(cluster, range(6, 8))
        disk = cluster.disks["anna"]
        signed = disk.sign
        validator, recollection = back(cluster, places(disk, state(disk)))
        # Silent, it takes no part at all.
        cluster.run(3 * ELECTION_TICKS)
        assert disk.sign == signed and validator.final_height < cluster.validators["bela"].final_height
        assert validator.counters["not heard: nothing may be signed yet"] > 0
        assert recollection.take(device("bela").public, answer(cluster, "bela")) == (None, recollection.decision)
        assert isinstance(recollection.decision, Licence) and recollection.decision.silent
        _, decision = recollection.take(device("carla").public, answer(cluster, "carla"))
        assert isinstance(decision, Licence) and not decision.silent
        validator.permit(decision)
        cluster.until(cluster.agreed)
        grow(cluster, range(8, 10))
        assert disk.sign.sequence > signed.sequence


def test_after_a_power_cut_with_one_neighbour_it_signs_beyond_its_reservation(
    grown: Callable[[], tuple[Cluster, Disk]],
) -> None:
    """Carla's card died in the same power cut. Two of three go on, in a later term than either has signed in."""
    cluster, _ = grown()
    for home in ("anna", "carla"):
        cluster.stop(home)
    disk = cluster.disks["anna"]
    reserved, signed = unclean(disk), disk.sign
    validator, recollection = back(cluster, places(disk, reserved))
    recollection.take(device("bela").public, answer(cluster, "bela"))
    decision: Licence | Retired | None = None
    for _ in range(PATIENCE_TIMEOUTS * ELECTION_TICKS):
        assert decision is None
        decision = recollection.tick()
    assert isinstance(decision, Licence) and decision.above == (reserved.term, reserved.height)
    validator.permit(decision)
    before = cluster.validators["bela"].final_height
    grow(cluster, range(6, 9))
    cluster.until(lambda: cluster.validators["bela"].final_height > before)
    assert disk.sign.vote_term > reserved.term or disk.sign.ack_term > reserved.term
    assert signed.sequence < disk.sign.sequence


def test_a_forgetful_disk_does_not_vote_away_what_it_acknowledged() -> None:
    """A card that lost its newest blocks, but confirmed them: whoever lacks them does not get its vote."""
    cluster = Cluster(5)
    cluster.founded()
    cluster.until(lambda: cluster.leader() is not None)
    grow(cluster, range(-1, 2))
    short = copy.deepcopy(cluster.disks["anna"])
    grow(cluster, range(2, 4))
    cluster.until(cluster.agreed)
    for home in ("anna", "emil"):
        cluster.stop(home)
    reserved = unclean(cluster.disks["anna"])
    # The database came back as it was before; its sign state with it, which only the file contradicts.
    short.sign = msgspec.structs.replace(short.sign, sequence=reserved.sequence)
    cluster.disks["anna"] = short
    _, recollection = back(cluster, places(short, reserved))
    told = [
        Signatures(term=found.term, tip_term=found.tip_term, tip_height=found.tip_height)
        for found in (answer(cluster, home) for home in ("bela", "carla", "dora"))
    ]
    for home, words in zip(("bela", "carla", "dora"), told, strict=True):
        recollection.take(device(home).public, words)
    for _ in range(PATIENCE_TIMEOUTS * ELECTION_TICKS):
        recollection.tick()
    decision = recollection.decision
    assert isinstance(decision, Licence) and not decision.silent
    newest = max((found.tip_term, found.tip_height) for found in told)
    tip = (short.log[short.last_index()].term, short.last_index())
    assert tip < newest == decision.tip
    assert not decision.allows_campaign(99, tip, 0) and decision.allows_campaign(99, newest, 0)


def test_a_liar_cannot_make_a_node_doubt_its_disk(grown: Callable[[], tuple[Cluster, Disk]]) -> None:
    cluster, _ = grown()
    cluster.stop("anna")
    _, recollection = back(cluster, places(cluster.disks["anna"], clean(cluster.disks["anna"])))
    true = answer(cluster, "bela")
    assert true.ack is not None
    forged = msgspec.structs.replace(true, ack=msgspec.structs.replace(true.ack, height=true.ack.height + 1))
    fault, decision = recollection.take(device("bela").public, forged)
    assert (fault, decision) == ("ack whose signature does not hold", None)
    assert device("bela").public in recollection.missing()


def test_what_comes_late_may_still_retire_a_key(grown: Callable[[], tuple[Cluster, Disk]]) -> None:
    """Bela was told nothing newer, Carla was; she comes back when Anna's old image signs already."""
    cluster, image = grown()
    late = answer(cluster, "carla")
    cluster.stop("anna")
    cluster.disks["anna"] = image
    validator, recollection = back(cluster, places(image, clean(image)))
    bela = answer(cluster, "bela")
    recollection.take(
        device("bela").public, Signatures(term=bela.term, tip_term=bela.tip_term, tip_height=bela.tip_height)
    )
    for _ in range(PATIENCE_TIMEOUTS * ELECTION_TICKS):
        recollection.tick()
    decision = recollection.decision
    assert isinstance(decision, Licence) and not decision.silent
    fault, decision = recollection.take(device("carla").public, late, validator.signed())
    assert fault is None and isinstance(decision, Retired)
