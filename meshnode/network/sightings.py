"""Sightings: when this node last saw each member's device, and how far that device's ledger was.

A device is seen while it is connected, and when a certificate carries its signature. How
far it is, it says itself, in answer to a request for blocks that nobody has: that is worth
as much as its word, and only decides whom a person is advised to choose.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from meshnode.network import sync as catching_up
from meshnode.network.framed import Framed
from meshnode.network.transport import (
    DialError,
    Misbehaved,
    PeerId,
    StreamClosed,
    StreamReset,
    Transport,
    public_key_of,
)
from protocols import sync
from protocols.cose import key_id_of
from protocols.records import Certificate, RecordError
from protocols.sync import BlocksRequest, RangeStart

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# Often enough for a page that shows it, rare enough to cost nothing: one small question to each peer.
LOOK_S = 5.0
# A peer that is alive answers at once; its answer waits at most behind one range for another.
ANSWER_DEADLINE_S = 4.0
# No ledger ever has this height: whoever is asked for it says only how far it is.
NOWHERE = 2**62


class Sighting(msgspec.Struct, frozen=True):
    """When a device was last seen (the clock that `Sightings` was given), and the height it named, -1: none."""

    seen_s: float
    height: int


class Sightings:
    """What one node saw of the others since it was started."""

    def __init__(
        self,
        transport: Transport,
        chain_id: bytes,
        newest_certificate: Callable[[], Certificate | None],
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._protocol = catching_up.protocol(chain_id)
        self._newest_certificate = newest_certificate
        self._clock = clock
        self._began_s = 0.0
        self._seen: dict[bytes, Sighting] = {}
        self._certificate: Certificate | None = None

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look around until cancelled."""
        self._began_s = self._clock()
        task_status.started()
        while True:
            await self.look()
            await trio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look: who signed the newest certificate, who is connected, and how far these are."""
        certificate = self._newest_certificate()
        if certificate is not None and certificate != self._certificate:
            self._certificate = certificate
            for key_id, _ in certificate.signatures:
                self._note(key_id, certificate.height)
        async with trio.open_nursery() as nursery:
            for peer in self._transport.peers():
                key_id = key_id_of(public_key_of(peer))
                self._note(key_id, -1)
                nursery.start_soon(self._ask, peer, key_id)

    def of(self, device_key: bytes) -> Sighting | None:
        """The newest sighting of a device since the start."""
        return self._seen.get(key_id_of(device_key))

    def height(self, device_key: bytes) -> int:
        """The highest height that a device has named; -1 if it is not known."""
        known = self.of(device_key)
        return -1 if known is None else known.height

    def absent_s(self, device_key: bytes) -> int:
        """For how long a device has not been seen, in whole seconds: 0 if it is there.

        One that was never seen has been gone since this node began to look.
        """
        known = self.of(device_key)
        away = self._clock() - (self._began_s if known is None else known.seen_s)
        # Between two looks nobody is gone.
        return int(away) if away > 2 * LOOK_S + ANSWER_DEADLINE_S else 0

    def _note(self, key_id: bytes, height: int) -> None:
        known = self._seen.get(key_id)
        best = height if known is None else max(height, known.height)
        self._seen[key_id] = Sighting(self._clock(), best)

    async def _ask(self, peer: PeerId, key_id: bytes) -> None:
        with trio.move_on_after(ANSWER_DEADLINE_S):
            try:
                stream = await self._transport.open_stream(peer, self._protocol)
            except DialError:
                self.counters["sightings: no stream"] += 1
                return
            try:
                link = Framed(stream, sync.MAX_MESSAGE_BYTES)
                await link.send(BlocksRequest(from_height=NOWHERE))
                payload = await link.receive()
                answer = None if payload is None else sync.read_answer(payload)
                if isinstance(answer, RangeStart):
                    self._note(key_id, min(answer.final_height, NOWHERE))
            except (StreamReset, StreamClosed, Misbehaved, RecordError) as error:
                self.counters["sightings: no answer"] += 1
                log.debug("peer %s, asked how far it is: %s", peer, error)
            finally:
                with trio.CancelScope(shield=True):
                    await stream.reset()
