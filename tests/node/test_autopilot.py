"""Autopilot: who has been gone for how long, and what it would propose; it never does anything itself."""

from __future__ import annotations

from itertools import product

import pytest

from meshnode.autopilot import Device, Proposal, Step, propose
from protocols.certificate import quorum_size
from protocols.records import (
    CHANGE_ADD,
    CHANGE_MODE,
    CHANGE_REMOVE,
    QUORUM_BYZANTINE,
    QUORUM_MAJORITY,
)
from protocols.records.genesis import MAX_VALIDATORS, is_byzantine_size

HOUR_S = 3600


def devices(text: str) -> list[Device]:
    """'anna bela:9 carla?' - Bela has been gone for nine hours, Carla has not caught up."""
    found = []
    for word in text.split():
        name, _, hours = word.rstrip("?").partition(":")
        found.append(Device(name=name, absent_s=int(hours or 0) * HOUR_S, caught_up=not word.endswith("?")))
    return found


def said(proposal: Proposal | None) -> str:
    """The steps in one line."""
    words = {CHANGE_ADD: "add", CHANGE_REMOVE: "remove", CHANGE_MODE: "mode"}
    modes = {QUORUM_MAJORITY: "majority", QUORUM_BYZANTINE: "byzantine"}
    if proposal is None:
        return "-"
    return ", ".join(
        f"{words[step.action]} {step.name if step.action != CHANGE_MODE else modes[step.mode]}"
        for step in proposal.steps
    )


@pytest.mark.parametrize(
    ("validators", "learners", "expected"),
    [
        # Everybody is there: three and five are fine as they are.
        ("anna bela carla", "dora", "-"),
        ("anna bela carla dora emil", "fritz", "-"),
        # Gone, but not for long enough.
        ("anna bela:11 carla", "dora", "-"),
        # Of three none can go before somebody has come.
        ("anna bela:12 carla", "dora", "add dora, remove bela"),
        ("anna bela:12 carla", "dora? emil:1", "-"),
        # Of four one can.
        ("anna bela:12 carla dora", "", "remove bela"),
        ("anna bela:12 carla dora emil", "fritz gina", "remove bela, add fritz"),
        ("anna bela:12 carla:40 dora emil", "fritz", "remove carla, add fritz"),
        # An even number tolerates no more than one less.
        ("anna bela carla dora", "emil", "add emil"),
        ("anna bela carla dora", "emil?", "-"),
        ("anna bela", "carla", "add carla"),
        ("anna", "bela", "-"),
        # Without a quorum nothing can be decided.
        ("anna bela:12 carla:12", "dora", "-"),
        ("anna bela:1 carla:12", "dora", "-"),
        # Ten are the most.
        ("a b c d e f g h i j", "k", "-"),
    ],
)
def test_majority(validators: str, learners: str, expected: str) -> None:
    assert said(propose(QUORUM_MAJORITY, devices(validators), devices(learners), 12 * HOUR_S)) == expected


def test_byzantine_steps_aside_for_a_replacement_and_comes_back() -> None:
    voters, learner = "anna bela carla dora:20", "emil"
    plan = propose(QUORUM_BYZANTINE, devices(voters), devices(learner), 12 * HOUR_S)
    assert said(plan) == "mode majority, add emil, remove dora, mode byzantine"
    assert propose(QUORUM_BYZANTINE, devices(voters), [], 12 * HOUR_S) is None

    def next_one(now: str, learners: str) -> str:
        found = propose(QUORUM_MAJORITY, devices(now), devices(learners), 12 * HOUR_S, byzantine_before=True)
        return said(found)

    # Whoever asks again after each step is told what is left of the plan.
    assert next_one(voters, learner) == "add emil, remove dora, mode byzantine"
    assert next_one(voters + " emil", "") == "remove dora, mode byzantine"
    assert next_one("anna bela carla emil", "") == "mode byzantine"


def test_what_it_proposes_can_always_be_decided_and_keeps_the_sizes() -> None:
    # Every microgrid of up to seven validators, whoever is there.
    proposed = 0
    for count in range(1, 8):
        for absent in product((0, 5, 20), repeat=count):
            voters = [Device(name=f"v{n}", absent_s=hours * HOUR_S, caught_up=True) for n, hours in enumerate(absent)]
            for mode in (QUORUM_MAJORITY, QUORUM_BYZANTINE):
                if mode == QUORUM_BYZANTINE and not is_byzantine_size(count):
                    continue
                plan = propose(mode, voters, devices("x"), 12 * HOUR_S)
                if plan is not None:
                    proposed += 1
                    check(plan, mode, {device.name: not device.absent_s for device in voters})
    assert proposed > 500


def check(plan: Proposal, mode: int, present: dict[str, bool]) -> None:
    """Play the steps: before and after each, those who are there are a quorum."""
    assert plan.steps
    for step in plan.steps:
        assert sum(present.values()) >= quorum_size(len(present), mode)
        if step.action == CHANGE_MODE:
            assert step.mode != mode
            mode = step.mode
        elif step.action == CHANGE_ADD:
            assert step.name not in present
            present = present | {step.name: True}
        else:
            assert not present[step.name], "nobody who is there is sent away"
            present = {name: here for name, here in present.items() if name != step.name}
        assert 1 <= len(present) <= MAX_VALIDATORS
        assert sum(present.values()) >= quorum_size(len(present), mode)
        assert mode == QUORUM_MAJORITY or is_byzantine_size(len(present))


def test_it_says_why() -> None:
    found = propose(QUORUM_MAJORITY, devices("anna bela:13 carla"), devices("dora"), 12 * HOUR_S)
    assert found == Proposal("gone", (Step(CHANGE_ADD, "dora"), Step(CHANGE_REMOVE, "bela")), "bela", 13 * HOUR_S)
