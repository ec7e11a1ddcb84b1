"""Idle: ticks that are skipped leave what ticks that are run one by one leave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.network.validator import Validator
from tests.simulator import node as shell
from tests.simulator.node import Node
from tests.simulator.plan import MINUTE_MS, draw
from tests.simulator.world import Outcome, World

# What counts time or depends on it, part by part.
PARTS = {
    "_leadership": ("silence", "_proved"),
    "_finalizer": ("unable", "_unknown_height"),
    "_patience": ("resting", "_ticks", "_seen"),
    "_wariness": (
        *("behind", "_given_up", "_certified", "_quiet", "_doublings", "_led_for", "_ticks", "_waiting"),
        *("_leaderless", "_claims", "_meetings", "_shunned"),
    ),
    "_electorate": ("_followed",),
}
REPLICA = (
    *("term", "vote", "role", "leader", "election_elapsed", "heartbeat_elapsed", "election_timeout"),
    *("heard_term", "asked_term", "since_promise", "transferee", "messages"),
)


def counted(validator: Validator) -> list[Any]:
    """Everything in a validator that a tick may change."""
    found = [
        (part, name, _copy(getattr(getattr(validator, part), name))) for part, names in PARTS.items() for name in names
    ]
    replica = validator._core._replica
    return [*found, *((name, _copy(getattr(replica, name))) for name in REPLICA), dict(validator.counters)]


def _copy(value: Any) -> Any:
    # In order: which of those that are shunned goes first is a matter of it.
    return list(value.items()) if isinstance(value, dict) else list(value) if isinstance(value, list) else value


def life(seed: int, mode: str, minutes: float) -> tuple[Outcome, list[tuple[str, int, list[Any]]], int]:
    """What a run comes to, every node after every time it made up for its ticks, and how many ticks were skipped."""
    passes: list[tuple[str, int, list[Any]]] = []
    skipped = 0
    pass_time, skip = Node._pass_time, shell.skip

    def watched(node: Node) -> None:
        pass_time(node)
        if node.validator is not None:
            passes.append((node.name, node._ticks, counted(node.validator)))

    def noted(validator: Validator, count: int) -> None:
        nonlocal skipped
        skipped += count
        skip(validator, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "_pass_time", watched)
        patch.setattr(shell, "skip", noted)
        return World(draw(seed, mode, int(minutes * MINUTE_MS))).run(), passes, skipped


def one_by_one(seed: int, mode: str, minutes: float) -> tuple[Outcome, list[tuple[str, int, list[Any]]], int]:
    """The same run with every tick run by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shell, "idle_ticks", lambda _validator, _absence: 0)
        return life(seed, mode, minutes)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["majority", "byzantine"]))
def test_skipped_ticks_leave_what_single_ones_leave(seed: int, mode: str) -> None:
    outcome, passes, skipped = life(seed, mode, 2.5)
    plain_outcome, plain_passes, none = one_by_one(seed, mode, 2.5)
    assert none == 0 < skipped
    for ours, plain in zip(passes, plain_passes, strict=False):
        assert ours == plain
    assert (outcome, len(passes)) == (plain_outcome, len(plain_passes))
