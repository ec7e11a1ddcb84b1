"""Electorate load: the administrator makes learners validators and validators learners, at any moment.

Most changes are such that the microgrid stays able to agree without its liars; some are
refused by the ledger, because they are outdated, repeated or change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from meshnode.ledger import validators
from meshnode.machine import Machine
from protocols.certificate import QuorumConfig
from protocols.records import CHANGE_ADD, CHANGE_MODE, CHANGE_REMOVE, QUORUM_BYZANTINE, QUORUM_MAJORITY
from tests.simulator.succession import BYZANTINE_SIZES, LEAST, MOST, tolerated

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.world import World

# A change that did not find its way into a block so long is given up.
VALID_S = 300
# So many of the changes are such as the ledger refuses, one in ...
IDLE_CHANGES = 6


def change(world: World, chance: Random) -> Callable[[], None]:
    """A fault: the administrator decides something about the validators."""
    up = [node for node in world.nodes if node.up and world.honest(node)]
    if up:
        # As somebody sees it whose node is behind, too.
        _decide(world, chance.choice(up).machine, chance, None)
    return lambda: None


def follow_up(world: World, node: Node, chance: Random) -> None:
    """The administrator has heard that a change was made, and may make the next before that one is in force."""
    if chance.randrange(2):
        _decide(world, node.machine, chance, node)


def _decide(world: World, machine: Machine, chance: Random, node: Node | None) -> None:
    if world.images.pending:
        return
    decided = validators.decided(machine.state)
    drawn = _idle(world, decided, chance) if chance.randrange(IDLE_CHANGES) == 0 else _sound(world, decided, chance)
    if drawn is not None:
        world.members.decide(decided.config_hash(), *drawn, VALID_S, node)


Drawn = tuple[int, bytes | None, int | None]


def _sound(world: World, config: QuorumConfig, chance: Random) -> Drawn | None:
    """A change after which the honest can still agree among themselves."""
    keys = [world.keyring.pair(f"{home} device").public for home in world.village.homes]
    # Whose key never signs again, the administrator knows.
    gone = {node.key.public for node in world.nodes if node.home in world.images.restored}
    steps: list[Drawn] = [(CHANGE_ADD, key, None) for key in keys if not config.has(key) and key not in gone]
    steps += [(CHANGE_REMOVE, key, None) for key in keys if config.has(key)]
    if not world.plan.liars:
        # Where some lie, a mere majority would let them make two histories.
        steps.append((CHANGE_MODE, None, QUORUM_MAJORITY if config.mode == QUORUM_BYZANTINE else QUORUM_BYZANTINE))
    sound = [step for step in steps if _is_sound(world, config, step)]
    return chance.choice(sound) if sound else None


def _is_sound(world: World, config: QuorumConfig, step: Drawn) -> bool:
    action, key, mode = step
    voters = dict(config.voters)
    if action == CHANGE_MODE:
        assert mode is not None
        if world.plan.mode == "majority" and mode == QUORUM_BYZANTINE:
            return False
        return mode == QUORUM_MAJORITY or len(voters) in BYZANTINE_SIZES
    assert key is not None
    if config.mode == QUORUM_BYZANTINE:
        return False
    if action == CHANGE_ADD:
        voters[key] = 0
    else:
        del voters[key]
    after = QuorumConfig(config.mode, tuple(sorted(voters.items())))
    # Those with an old card are counted among `most_liars`: whichever of them vote, the others make a quorum.
    return LEAST <= len(voters) <= MOST and tolerated(after) >= world.most_liars


def _idle(world: World, config: QuorumConfig, chance: Random) -> Drawn:
    """One that would change nothing, or must not be."""
    key = chance.choice([key for key, _ in config.voters])
    return chance.choice(
        (
            (CHANGE_ADD, key, None),
            (CHANGE_MODE, None, config.mode),
            (CHANGE_REMOVE, world.keyring.pair("nobody").public, None),
            (CHANGE_ADD, world.keyring.pair("nobody").public, None),
        )
    )
