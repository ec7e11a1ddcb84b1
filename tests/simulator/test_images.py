"""Old images in the simulator: the sign file is torn like any write, and whoever gets an old card is found out."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import pytest

from meshnode.network.licence import Licence, Retired
from meshnode.store import SignState
from meshnode.store.reservation import Trust
from tests.simulator import plan as plans
from tests.simulator.node import Node
from tests.simulator.plan import CHANGE, MINUTE_MS, OLD_IMAGE, Episode, draw
from tests.simulator.slots import Slots
from tests.simulator.world import World

KEY = b"of anna."
FIRST, SECOND = SignState(1, b"candidat", 1, 1, bytes(32), 1), SignState(2, b"candidat", 1, 1, bytes(32), 2)


def test_a_torn_slot_leaves_the_other_one() -> None:
    slots = Slots(KEY)
    assert slots.places(SignState(0, b"", 0, 0, b"", 0)).trust()[0] is Trust.UNUSED
    slots.begin(FIRST, 0)
    slots.finish()
    first, torn = slots.newest, 0
    assert first is not None and first.covers(FIRST) and slots.places(FIRST).trust()[0] is Trust.SAME_BOOT
    for seed in range(40):
        slots.restore(slots.image())
        slots.begin(SECOND, 1)
        image = slots.image()
        if slots.power_off(Random(seed)):
            assert slots.newest is not None and slots.newest.covers(SECOND) and slots.older == first
        else:
            torn += 1
            assert slots.newest == first
        slots.restore(image)
    assert 10 < torn < 30
    slots.boots()
    assert slots.places(FIRST).trust()[0] is Trust.POWER_CUT


def test_a_stop_in_order_can_be_copied() -> None:
    slots = Slots(KEY)
    slots.begin(FIRST, 0)
    slots.finish()
    stopped = slots.stopped(FIRST)
    assert slots.places(FIRST).trust()[0] is Trust.SAME_BOOT
    slots.restore(stopped)
    slots.boots()
    assert slots.places(FIRST).trust()[0] is Trust.CLEAN
    assert slots.places(SECOND).trust()[0] is Trust.FILE_BEHIND


def _restored(seed: int, mode: str) -> plans.Plan:
    """Four homes where nothing happens but that old images are put back."""
    episodes = tuple(Episode(number, OLD_IMAGE, number * MINUTE_MS, 5 * MINUTE_MS) for number in range(2))
    return msgspec.structs.replace(
        draw(seed, mode, 6 * MINUTE_MS), homes=4, faults=(OLD_IMAGE,), episodes=episodes, liars=(), lies=()
    )


def test_an_old_image_is_found_out_and_the_others_go_on() -> None:
    kinds: Counter[str] = Counter()
    for mode in plans.MODES:
        for seed in range(8):
            outcome = World(_restored(seed, mode)).run()
            assert outcome.violation is None, (mode, seed, outcome.violation)
            assert outcome.checked["settles after trouble"]
            put_back = Counter({kind: count for kind, count in outcome.counts.items() if kind.startswith("old images")})
            assert outcome.checked.get("an old image is found out", 0) == put_back.total() <= 1, "one may be lost"
            kinds += put_back
    assert len(kinds) == 3 and kinds.total() >= 8, kinds


def _changing(seed: int) -> plans.Plan:
    """Four homes that vote and two that follow, with changes all the time until an old image is put back."""
    old = [Episode(number, OLD_IMAGE, (number + 1) * MINUTE_MS, 7 * MINUTE_MS) for number in range(2)]
    changes = [Episode(2 + number, CHANGE, number * 20_000, number * 20_000 + 1) for number in range(1, 19)]
    return msgspec.structs.replace(
        _restored(seed, "majority"),
        duration_ms=8 * MINUTE_MS,
        learners=2,
        faults=(OLD_IMAGE, CHANGE),
        episodes=(*old, *changes),
        records_per_hour=1200,
    )


def test_an_old_image_is_found_out_whoever_votes_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ledger may name validators of an earlier time, and the node may vote by it, or follow."""
    parts: Counter[tuple[str, bool]] = Counter()
    permit = Node.permit

    def counted(node: Node, decision: Licence | Retired) -> None:
        parts["retired" if isinstance(decision, Retired) else "signs", node.validator is not None] += 1
        permit(node, decision)

    monkeypatch.setattr(Node, "permit", counted)
    for seed in range(5):
        outcome = World(_changing(seed)).run()
        assert outcome.violation is None, (seed, outcome.violation)
        assert outcome.checked["settles after trouble"] and outcome.counts["learners that vote"] > 2
    assert parts["retired", True] >= 3 and parts["signs", True] and parts["signs", False], parts


def test_one_that_follows_ends_with_its_key_too() -> None:
    world = World(_changing(0))
    node = world.nodes[-1]
    node.start()
    assert node.following is not None
    world.images.restored.add(node.home)
    assert world.images.pending
    node.permit(Retired("of an earlier time"))
    node.restart()
    assert not node.up and node.lost == "of an earlier time" and not world.images.pending


def test_the_same_seed_puts_back_the_same_image() -> None:
    plan = _restored(1, "byzantine")
    assert World(plan).run() == World(plan).run()


def test_liars_and_those_with_old_images_are_never_too_many() -> None:
    for mode in plans.MODES:
        drawn = [draw(seed, mode, MINUTE_MS) for seed in range(200)]
        assert any(OLD_IMAGE in plan.faults and plan.liars for plan in drawn)
        for plan in drawn:
            if OLD_IMAGE in plan.faults:
                assert len(plan.liars) < plans.tolerated(plan.homes, mode)
                assert "far clock" not in plan.faults
