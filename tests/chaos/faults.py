"""Faults: what the plan says is done to the nodes, and undone.

At most a minority of the validators is struck at a time, so that the others can go on; a split that
comes on top of other faults may stop them, until it is healed. A validator whose directory is an
old one has lost its vote for good, and counts as struck from then on.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import trio

from meshnode.loopback import NodeFailed
from tests.chaos.grid import ChaosNode, Grid
from tests.chaos.plan import Fault, Planned
from tests.chaos.wires import Pair

LOOK_S = 0.25
_NETWORK = frozenset({Fault.CUT, Fault.DEAF, Fault.MUTE, Fault.ONE_WAY, Fault.SPLIT})


class Faults:
    """Does what the plan says.

    Attributes:
        done: how often which fault was made.
        unexpected: processes that ended though nothing was done to them, with the end of their logs.
    """

    def __init__(self, grid: Grid, images: dict[str, Path]) -> None:
        """Args:
        images: cold copies of the directories of nodes that may be restored.
        """
        self.done: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self._grid = grid
        self._images = images
        self._struck: dict[str, Planned] = {}
        self._cuts: dict[str, frozenset[Pair]] = {}
        self._voteless: set[str] = set()
        # Nodes whose process may be gone: killed, or their disk is full.
        self._may_be_gone: set[str] = set()

    async def run(self, plan: Iterable[Planned]) -> None:
        """Make every fault at its time; ends when the last one is undone."""
        began = trio.current_time()
        async with trio.open_nursery() as watch:
            watch.start_soon(self._watch)
            async with trio.open_nursery() as nursery:
                for planned in plan:
                    await trio.sleep_until(began + planned.at_s)
                    victim = await self._victim(planned)
                    if victim is not None:
                        self._struck[victim.name] = planned
                        nursery.start_soon(self._strike, victim, planned)
            watch.cancel_scope.cancel()

    async def _strike(self, victim: ChaosNode, planned: Planned) -> None:
        self.done[planned.fault] += 1
        try:
            await self._make(victim, planned)
            await trio.sleep(planned.length_s)
            self._undo(victim, planned)
        finally:
            del self._struck[victim.name]

    async def _victim(self, planned: Planned) -> ChaosNode | None:
        """Whom the fault is for; None if that would strike more than a minority."""
        grid = self._grid
        free = [node for node in grid.nodes if node.name not in self._struck and self._fits(node, planned.fault)]
        minority = (len(grid.voters) - 1) // 2
        struck = self._voteless | {node.name for node in grid.voters if node.name in self._struck}
        if len(struck) >= minority:
            free = [node for node in free if not node.home.votes or node.name in self._voteless]
        if planned.leads:
            leader = await grid.leader([node for node in free if node.home.votes])
            if leader is not None:
                return leader
        # The one that was drawn, or the next one after it that is free.
        count = len(grid.nodes)
        return min(free, key=lambda node: (node.number - planned.victim) % count, default=None)

    def _fits(self, node: ChaosNode, fault: Fault) -> bool:
        if fault is Fault.DISK_FULL:
            return node.has_volume
        return fault is not Fault.OLD_DIRECTORY or node.name in self._images

    async def _make(self, victim: ChaosNode, planned: Planned) -> None:
        match planned.fault:
            case Fault.KILL:
                self._may_be_gone.add(victim.name)
                victim.kill()
            case Fault.FREEZE:
                victim.freeze()
            case Fault.CLOCK:
                victim.set_clock(planned.offset_s)
            case Fault.DISK_FULL:
                self._may_be_gone.add(victim.name)
                await trio.to_thread.run_sync(self._grid.volumes.fill, victim)
            case Fault.OLD_DIRECTORY:
                self._may_be_gone.add(victim.name)
                victim.kill()
                await trio.to_thread.run_sync(_restore, self._images[victim.name], victim.directory)
                if victim.home.votes:
                    self._voteless.add(victim.name)
                    # Once is enough: from now on it has another device key than the copy.
                    del self._images[victim.name]
            case _:
                self._cuts[victim.name] = self._pairs(victim.number, planned)
                self._rewire()

    def _undo(self, victim: ChaosNode, planned: Planned) -> None:
        match planned.fault:
            case Fault.FREEZE:
                victim.thaw()
            case Fault.CLOCK:
                victim.set_clock(0)
            case Fault.DISK_FULL:
                self._grid.volumes.free(victim)
        if planned.fault in _NETWORK:
            del self._cuts[victim.name]
            self._rewire()
        if victim.name in self._may_be_gone:
            if not victim.is_running():
                victim.start()
            self._may_be_gone.discard(victim.name)

    def _pairs(self, victim: int, planned: Planned) -> frozenset[Pair]:
        """The directions that a fault of the network cuts."""
        everybody = {node.number for node in self._grid.nodes}
        inside = {victim, *planned.others} if planned.fault is Fault.SPLIT else {victim}
        outside = everybody - inside
        if planned.fault is Fault.ONE_WAY:
            outside = set(planned.others)
        out = {(one, other) for one in inside for other in outside}
        into = {(other, one) for one, other in out}
        if planned.fault in (Fault.MUTE, Fault.ONE_WAY):
            return frozenset(out)
        return frozenset(into if planned.fault is Fault.DEAF else out | into)

    def _rewire(self) -> None:
        self._grid.wires.cut(frozenset().union(*self._cuts.values()))

    async def _watch(self) -> None:
        """A node that ends by itself is a violation; it is started again all the same."""
        while True:
            for node in self._grid.nodes:
                try:
                    if node.name not in self._may_be_gone:
                        node.check_running()
                except NodeFailed as failure:
                    self.unexpected.append(str(failure))
                    node.start()
            await trio.sleep(LOOK_S)


async def take_images(grid: Grid, nodes: Iterable[ChaosNode], place: Path) -> dict[str, Path]:
    """Stop nodes, copy their directories, and start them again; the copies by name."""
    images = {}
    for node in nodes:
        await node.stop()
        images[node.name] = place / f"{node.name}-image"
        await trio.to_thread.run_sync(shutil.copytree, node.directory, images[node.name])
        node.start()
        await node.ready()
    return images


def _restore(image: Path, directory: Path) -> None:
    shutil.rmtree(directory)
    shutil.copytree(image, directory)
