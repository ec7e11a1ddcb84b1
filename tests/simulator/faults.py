"""Faults: what each kind of episode does to the microgrid, and how it is put right again.

A fault is a function that does the harm and returns what undoes it. Undoing must be
possible at any time: the round ends when it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from tests.simulator.electorate_load import change
from tests.simulator.network import PPM
from tests.simulator.node import Moment
from tests.simulator.plan import CHANGE

if TYPE_CHECKING:
    from tests.simulator.world import World

Undo = Callable[[], None]
Fault = Callable[["World", Random], Undo]


def _crash(world: World, chance: Random) -> Undo:
    node = chance.choice(world.nodes)
    world.hold_off(node)
    node.power_off()
    return lambda: world.let_on(node)


def _crash_while_writing(world: World, chance: Random) -> Undo:
    node, moment = chance.choice(world.nodes), chance.choice(list(Moment)[1:])
    node.doom = moment

    def undo() -> None:
        node.doom = None
        node.restart()

    return undo


def _outage(world: World, chance: Random) -> Undo:
    for node in world.nodes:
        world.hold_off(node)
        node.power_off()

    def undo() -> None:
        for node in chance.sample(world.nodes, len(world.nodes)):
            world.timeline.after(chance.randrange(1, 15_000), world.let_on, node)

    return undo


def _cut(world: World, wires: list[tuple[str, str]]) -> Undo:
    for sender, receiver in wires:
        world.network.cut(sender, receiver)
    world.broken(wires)

    def undo() -> None:
        for sender, receiver in wires:
            world.network.mend(sender, receiver)

    return undo


def _partition(world: World, chance: Random) -> Undo:
    side = {home: chance.randrange(2) for home in world.village.homes}
    return _cut(world, [(a, b) for a in side for b in side if side[a] != side[b]])


def _one_way(world: World, chance: Random) -> Undo:
    sender, receiver = chance.sample(world.village.homes, 2)
    return _cut(world, [(sender, receiver)])


def _isolation(world: World, chance: Random) -> Undo:
    alone = chance.choice(world.village.homes)
    others = [home for home in world.village.homes if home != alone]
    deaf, dumb = chance.choice(((1, 1), (1, 0), (0, 1)))
    return _cut(world, [(alone, b) for b in others if dumb] + [(a, alone) for a in others if deaf])


def _weather(**changes: Callable[[Random], object]) -> Fault:
    """A fault of all wires at once."""

    def fault(world: World, chance: Random) -> Undo:
        before = world.network.weather
        world.network.weather = msgspec.structs.replace(
            before, **{name: draw(chance) for name, draw in changes.items()}
        )

        def undo() -> None:
            calm = {name: getattr(world.calm, name) for name in changes}
            world.network.weather = msgspec.structs.replace(world.network.weather, **calm)

        return undo

    return fault


def _slow_disk(world: World, chance: Random) -> Undo:
    node = chance.choice(world.nodes)
    usual, node.write_ms = node.write_ms, chance.choice(((50, 400), (500, 3_000), (2_000, 15_000)))

    def undo() -> None:
        node.write_ms = usual

    return undo


def _disk_error(world: World, chance: Random) -> Undo:
    node = chance.choice(world.nodes)
    node.disk.failing = True

    def undo() -> None:
        node.disk.failing = False
        node.restart()

    return undo


def _full_disk(world: World, chance: Random) -> Undo:
    node = chance.choice(world.nodes)
    node.disk.full = True

    def undo() -> None:
        node.disk.full = False
        node.restart()

    return undo


def _rot(world: World, chance: Random) -> Undo:
    node = world.unreliable(chance)
    if node is not None:
        world.note("bit rot", node.name, node.disk.rot(chance))
    return lambda: None


def _clock(world: World, chance: Random) -> Undo:
    node, now = chance.choice(world.nodes), world.timeline.now_ms
    offset = chance.choice((-120_000, -9_000, 3_000, 9_000, 20_000, 60_000))
    node.clock.set(now, offset, chance.choice((0, 0, -200, 500, 20_000)))
    return lambda: node.clock.set(world.timeline.now_ms, 0, 0)


def _far_clock(world: World, chance: Random) -> Undo:
    # Always the same node, and no liar beside it: what a quorum with such clocks had signed, all
    # others would wait for.
    node = world.nodes[world.plan.seed % world.plan.homes]
    if not world.liars:
        node.clock.set(world.timeline.now_ms, chance.choice((300_000, 3_600_000)), 0)
        # It does most harm as leader.
        for other in world.nodes:
            if world.is_numbered(node.home):
                other.transfer(world.number_of(node.home))
    return lambda: node.clock.set(world.timeline.now_ms, 0, 0)


def _election(world: World, chance: Random) -> Undo:
    node = chance.choice(world.nodes)
    if chance.randrange(2):
        node.campaign()
    else:
        node.transfer(chance.randrange(len(world.numbers)) + 1)
    return lambda: None


def _burst(world: World, chance: Random) -> Undo:
    for _ in range(chance.randrange(5, 60)):
        world.members.speak()
    return lambda: None


def _old_image(world: World, chance: Random) -> Undo:
    return world.images.begin(chance)


FAULTS: dict[str, Fault] = {
    "crash": _crash,
    "crash while writing": _crash_while_writing,
    "outage": _outage,
    "partition": _partition,
    "one-way": _one_way,
    "isolation": _isolation,
    "loss": _weather(loss_ppm=lambda chance: chance.choice((10_000, 100_000, 400_000))),
    "copies": _weather(copies_ppm=lambda chance: chance.choice((50_000, PPM // 2))),
    "reordering": _weather(
        late_ppm=lambda chance: chance.choice((20_000, 300_000)),
        late_ms=lambda chance: chance.choice((50, 1_000, 20_000)),
    ),
    "delay": _weather(delay_ms=lambda chance: chance.choice(((20, 300), (200, 2_000), (1_000, 6_000)))),
    "slow disk": _slow_disk,
    "disk error": _disk_error,
    "full disk": _full_disk,
    "bit rot": _rot,
    "old image": _old_image,
    "clock": _clock,
    "far clock": _far_clock,
    "election": _election,
    "burst": _burst,
    CHANGE: change,
}
"""What each kind in a plan does."""
