"""Attendant: who stands at this node's points - a delivery that was started goes on until it is over.

What is attended is written down before anybody is told that it is, so that a node that was killed goes on
with it when it comes back. One delivery at a time has a point's actuator. What flows and
what is paid is the controller's and the ledger's business, see `meshnode.controller`.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from meshnode.actuator import Actuator, ActuatorError, SimulatedCharger, write_whole
from meshnode.clock import GridClock
from meshnode.config import ConfigError
from meshnode.controller import OVER, Controller, GivenUp
from meshnode.keys import SigningKey
from meshnode.web.backend import Attended, Backend, NotHere, Refused

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

ATTENDED_FILE = "attended.json"
# The last steps of a delivery, for who looks on; a tick a minute makes this a quarter of an hour.
SAID_KEPT = 16
# What was given up is told for as long as the node runs, of so many deliveries.
GIVEN_UP_KEPT = 64


class _Task(msgspec.Struct):
    """One delivery that is attended."""

    power_w: int
    ending: bool
    actuator: str = ""
    said: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=SAID_KEPT))
    steps: int = 0

    def tell(self, sentence: str) -> None:
        self.said.append(sentence)
        self.steps += 1


class Attendant:
    """See the module text.

    Args:
        node: this node in one microgrid.
        path: the file that says what is attended.
        meters: the keys of this node's meters, by the meter's id.
        open_actuator: (meter, W) to what lets energy flow there.
    """

    def __init__(
        self,
        node: Backend,
        path: Path,
        meters: Mapping[bytes, SigningKey],
        open_actuator: Callable[[bytes, int], Actuator],
    ) -> None:
        self._node = node
        self._path = path
        self._meters = meters
        self._open = open_actuator
        self._tasks: dict[bytes, _Task] = {}
        self._given_up: dict[bytes, str] = {}
        self._points: dict[bytes, trio.Lock] = {}
        self._nursery: trio.Nursery | None = None
        self._writing = trio.Lock()

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Attend until cancelled; what was attended before goes on. Raises ConfigError: the file is none of ours."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for delivery_id, task in (await trio.to_thread.run_sync(_read, self._path)).items():
                self._tasks[delivery_id] = task
                nursery.start_soon(self._attend, delivery_id)
            task_status.started()
            await trio.sleep_forever()

    async def start(self, delivery_id: bytes, power_w: int) -> None:
        """Attend a delivery from now on; one that is attended already goes on, one that is over stays so.

        Args:
            power_w: of the simulated charger.
        Raises:
            NotHere: there is none, or its point is not one of this node's.
            Refused: the disk refuses.
        """
        if self._is_open(delivery_id) and delivery_id not in self._tasks:
            await self._begin(delivery_id, _Task(power_w, ending=False))

    async def stop(self, delivery_id: bytes) -> None:
        """Let nothing flow any more, and end with what the meter shows. Raises NotHere, Refused."""
        if not self._is_open(delivery_id):
            return
        task = self._tasks.get(delivery_id)
        if task is None:
            await self._begin(delivery_id, _Task(1, ending=True))
        else:
            task.ending = True
            await self._note()

    def attended(self, delivery_id: bytes) -> Attended | None:
        """What is known here of a delivery's controller; None if it has none here."""
        task = self._tasks.get(delivery_id)
        if task is None:
            why = self._given_up.get(delivery_id)
            return None if why is None else Attended("given_up", "", (why,), 1)
        return Attended("ending" if task.ending else "running", task.actuator, tuple(task.said), task.steps)

    def _is_open(self, delivery_id: bytes) -> bool:
        row = self._node.machine.state.deliveries.get(delivery_id)
        if row is None:
            raise NotHere("there is no such delivery, or it is over since a day")
        if row.point not in self._meters:
            raise NotHere("its point is none of this node's; give the command at the point's own node")
        return row.phase not in OVER

    async def _begin(self, delivery_id: bytes, task: _Task) -> None:
        assert self._nursery is not None, "an attendant attends while it runs"
        self._given_up.pop(delivery_id, None)
        self._tasks[delivery_id] = task
        try:
            await self._note()
        except Refused:
            del self._tasks[delivery_id]
            raise
        self._nursery.start_soon(self._attend, delivery_id)

    async def _attend(self, delivery_id: bytes) -> None:
        row, task = self._node.machine.state.deliveries.get(delivery_id), self._tasks[delivery_id]
        # Forgotten by the ledger while this node was away: long over.
        if row is not None and row.point in self._meters:
            async with self._points.setdefault(row.point, trio.Lock()):
                point = self._node.machine.state.points.get(row.point)
                most_w = point.power_w if point is not None and point.power_w else task.power_w
                actuator = self._open(row.point, min(task.power_w, most_w))
                task.actuator = actuator.name
                key = self._meters[row.point]
                controller = Controller(self._node, delivery_id, key, actuator, task.tell, lambda: task.ending)
                try:
                    await controller.run()
                except GivenUp as why:
                    log.warning("delivery %s is given up: %s", delivery_id.hex(), why)
                    self._given_up[delivery_id] = str(why)
                    if len(self._given_up) > GIVEN_UP_KEPT:
                        del self._given_up[next(iter(self._given_up))]
        del self._tasks[delivery_id]
        try:
            await self._note()
        except Refused as error:
            # What is over is left out again when the node starts the next time.
            log.warning("%s", error)

    async def _note(self) -> None:
        """What is attended goes to the disk, whole or not at all. Raises Refused: the disk refuses."""
        async with self._writing:
            told = {key.hex(): {"power_w": one.power_w, "ending": one.ending} for key, one in self._tasks.items()}
            try:
                await trio.to_thread.run_sync(write_whole, self._path, told)
            except ActuatorError as error:
                raise Refused(str(error), lasting=False) from error


def simulated_chargers(directory: Path, clock: GridClock) -> Callable[[bytes, int], Actuator]:
    """Opens the simulated charger of a meter; its register lies in the node's directory."""
    return lambda meter, power_w: SimulatedCharger(directory / f"charger-{meter.hex()}.json", clock.now, power_w)


def _read(path: Path) -> dict[bytes, _Task]:
    try:
        told = json.loads(path.read_text())
        return {bytes.fromhex(key): _Task(int(one["power_w"]), bool(one["ending"])) for key, one in told.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        remedy = "remove it, and start what is under way again: meshnode session start"
        raise ConfigError(f"{path}: does not say what is attended ({error})\n    {remedy}") from error
