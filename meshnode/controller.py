"""Controller: one delivery at a point, from its first tick to its last; may die and be started again at any moment.

What it does next follows from the ledger and the meter alone: it remembers nothing. Energy flows only after
the beginning is final, because only then the escrow is certain, and never beyond what was purchased, nor
after the time at which the ledger takes a silent meter's delivery to be over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

import trio

from meshnode.actuator import Actuator, ActuatorError
from meshnode.keys import SigningKey
from meshnode.ledger.delivery_rows import Delivery
from meshnode.market.delivery import TICK_EVERY_S, Phase
from meshnode.web.backend import Backend, Refused
from protocols.block import sign_record
from protocols.records import TICK_BEGIN, TICK_END, TICK_RUN, Tick

# The actuator is renewed this often (real time), and stops by itself when it was not for so long.
RENEW_S = 0.5
# Of the microgrid's time; at least a few renewals on a demonstration clock.
LEASE_S = 30
LEASE_RENEWALS = 4
# A tick is final in seconds, or whoever signed it looks again.
WAIT_S = 10
# A device or a node that cannot now is asked again so much later.
AGAIN_S = 5.0
VALID_S = 600
NONCE_BITS = 63
HOUR_S = 3_600
OVER = (Phase.ENDED, Phase.CANCELLED)

T = TypeVar("T")


class GivenUp(Exception):
    """The delivery cannot go on; the text says why. The ledger settles it by the meter's silence."""


class Controller:
    """See the module text.

    Args:
        node: whose ledger it goes by, and through which it speaks.
        key: of the point's meter, which signs.
        tell: gets a sentence for each step.
        ending: whether it was asked to stop and end.
    """

    def __init__(
        self,
        node: Backend,
        delivery_id: bytes,
        key: SigningKey,
        actuator: Actuator,
        tell: Callable[[str], None],
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._node = node
        self._delivery_id = delivery_id
        self._key = key
        self._actuator = actuator
        self._clock = node.clock
        self._tell = tell
        self._ending = ending
        self._valid_s = min(VALID_S * node.clock.speed, node.machine.genesis.limits.max_validity_s // 2)

    async def run(self) -> None:
        """Deliver until it is over; a node or a device that cannot now is asked again.

        Raises:
            GivenUp: it cannot go on.
        """
        while True:
            pause_s = RENEW_S
            try:
                if await self._step():
                    return
            except ActuatorError as error:
                # Energy goes on flowing for the rest of the lease only.
                self._tell(f"{error}; trying again")
                pause_s = AGAIN_S
            except Refused as error:
                if error.lasting:
                    await self._let_go()
                    raise GivenUp(f"a tick was refused: {error}") from error
                self._tell(f"{error}; trying again")
                pause_s = AGAIN_S
            await trio.sleep(pause_s)

    async def _step(self) -> bool:
        """Whatever is next; gives whether there is nothing more to do."""
        found = self._node.machine.state.deliveries.get(self._delivery_id)
        if found is None or found.phase in OVER:
            await self._on_device(self._actuator.stop)
            return True
        if self._ending():
            await self._on_device(self._actuator.stop)
            if found.phase == Phase.RUNNING:
                await self._say(TICK_END, found)
            # What has not begun is left as it is: who pays may call it off, or come later.
            return found.phase == Phase.RESERVED
        if found.phase == Phase.RESERVED:
            await self._on_device(self._actuator.stop)
            await self._say(TICK_BEGIN, found)
            return False
        limit_wh = min(found.begin_wh + found.purchased_wh, self._paced_wh(found))
        whole_wh = found.begin_wh + found.purchased_wh
        if await self._on_device(self._actuator.counter_wh) >= whole_wh:
            await self._on_device(self._actuator.stop)
            await self._say(TICK_END, found)
            return False
        lease_s = max(LEASE_S, int(LEASE_RENEWALS * RENEW_S * self._clock.speed))
        # Where nobody hears the ticks any more, nobody pays for what flows after the deadline.
        until_s = min(self._clock.now_s() + lease_s, found.deadline_s)
        await self._on_device(lambda: self._actuator.release(limit_wh, until_s))
        if self._clock.now_s() >= found.heard_s + TICK_EVERY_S:
            await self._say(TICK_RUN, found)
        return False

    def _paced_wh(self, found: Delivery) -> int:
        """The counter that may be reached by now: where the binding bounds the point's power, no faster than that."""
        point = self._node.machine.state.points.get(found.point)
        if point is None or not point.power_w:
            return found.begin_wh + found.purchased_wh
        ahead_s = max(1, int(RENEW_S * self._clock.speed))
        passed_s = self._clock.now_s() - found.heard_s + ahead_s
        return found.counter_wh + max(1, point.power_w * passed_s // HOUR_S)

    async def _let_go(self) -> None:
        try:
            await self._on_device(self._actuator.stop)
        except ActuatorError as error:
            self._tell(f"{error}; it stops by itself when nobody renews it")

    async def _on_device(self, what: Callable[[], T]) -> T:
        """A device may take its time; the node does not wait for it."""
        return await trio.to_thread.run_sync(what)

    async def _say(self, sign: int, found: Delivery) -> None:
        """One tick, signed by the meter's key, with what the meter shows now."""
        counter_wh = await self._on_device(self._actuator.counter_wh)
        now_s = self._clock.now_s()
        tick = Tick(
            nonce=secrets.randbits(NONCE_BITS),
            valid_until_s=now_s + self._valid_s,
            delivery=self._delivery_id,
            sign=sign,
            counter_wh=counter_wh,
            # Two ticks in one second: the later one says so.
            time_s=max(now_s, found.ticked_s + 1),
        )
        signed = sign_record(tick, self._node.chain_id, self._key.public, self._key.sign)
        record_id = await self._node.submit_envelope(signed.envelope_bytes)
        done = await self._node.outcome(record_id, WAIT_S)
        word = {TICK_BEGIN: "begins", TICK_RUN: "goes on", TICK_END: "ends"}[sign]
        self._tell(f"{self._actuator.name}; it {word} at {counter_wh} Wh: {done.sentence or 'not known yet'}")
