"""Controller: one delivery at a point, from its first tick to its last; may die and be started again at any moment.

What it does next follows from the ledger and the meter alone: it remembers nothing. Energy flows only after
the beginning is final, because only then the escrow is certain, and never beyond what was purchased.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import trio

from meshnode import fate
from meshnode.actuator import Actuator
from meshnode.client import ClientError, NodeClient
from meshnode.clock import GridClock
from meshnode.keys import SigningKey
from meshnode.market.delivery import TICK_EVERY_S
from protocols.block import sign_record
from protocols.records import TICK_BEGIN, TICK_END, TICK_RUN, Tick

# The actuator is renewed this often (real time), and stops by itself when it was not for so long.
RENEW_S = 0.5
# Of the microgrid's time; at least a few renewals on a demonstration clock.
LEASE_S = 30
LEASE_RENEWALS = 4
# A tick is final in seconds, or whoever signed it looks again.
WAIT_S = 10
VALID_S = 600
NONCE_BITS = 63
_OVER = ("ended", "cancelled")


class Controller:
    """See the module text.

    Args:
        key: of the point's meter, which signs.
        tell: gets a sentence for each step.
        most_valid_s: for how long a tick may be valid at most.
    """

    def __init__(
        self,
        node: NodeClient,
        chain_id: bytes,
        key: SigningKey,
        actuator: Actuator,
        clock: GridClock,
        tell: Callable[[str], None],
        most_valid_s: int,
    ) -> None:
        self._node = node
        self._chain_id = chain_id
        self._key = key
        self._actuator = actuator
        self._clock = clock
        self._tell = tell
        self._valid_s = min(VALID_S * clock.speed, most_valid_s)

    async def run(self, delivery_id: str) -> dict[str, Any]:
        """Deliver until it is over; gives the delivery as the ledger has it then. A node that is away is waited for."""
        while True:
            try:
                found = await self._step(delivery_id)
            except ClientError as error:
                # Energy goes on flowing for the rest of the lease only.
                if error.status:
                    raise
                self._tell(f"{error}; trying again")
                found = None
            if found is not None:
                return found
            await trio.sleep(RENEW_S)

    async def end(self, delivery_id: str) -> dict[str, Any]:
        """Stop now, and say what the meter shows; gives the delivery as the ledger has it then."""
        self._actuator.stop()
        found = await self._ask(delivery_id)
        while found["phase"] == "running":
            await self._say(delivery_id, TICK_END, found)
            found = await self._ask(delivery_id)
        return found

    async def _step(self, delivery_id: str) -> dict[str, Any] | None:
        found = await self._ask(delivery_id)
        if found["phase"] in _OVER:
            self._actuator.stop()
            return found
        if found["phase"] == "reserved":
            self._actuator.stop()
            await self._say(delivery_id, TICK_BEGIN, found)
            return None
        limit_wh = found["begin_wh"] + found["purchased_wh"]
        if self._actuator.counter_wh() >= limit_wh:
            return await self.end(delivery_id)
        lease_s = max(LEASE_S, int(LEASE_RENEWALS * RENEW_S * self._clock.speed))
        self._actuator.release(limit_wh, self._clock.now_s() + lease_s)
        if self._clock.now_s() >= found["heard_s"] + TICK_EVERY_S:
            await self._say(delivery_id, TICK_RUN, found)
        return None

    async def _ask(self, delivery_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._node.get(f"/api/deliveries/{delivery_id}")
        return found

    async def _say(self, delivery_id: str, sign: int, found: dict[str, Any]) -> None:
        """One tick, signed by the meter's key, with what the meter shows now."""
        now_s = self._clock.now_s()
        tick = Tick(
            nonce=secrets.randbits(NONCE_BITS),
            valid_until_s=now_s + self._valid_s,
            delivery=bytes.fromhex(delivery_id),
            sign=sign,
            counter_wh=self._actuator.counter_wh(),
            # Two ticks in one second: the later one says so.
            time_s=max(now_s, found["ticked_s"] + 1),
        )
        signed = sign_record(tick, self._chain_id, self._key.public, self._key.sign)
        answer = await self._node.post("/api/records", signed.envelope_bytes)
        done = await fate.ask(self._node, answer["record_id"], wait_s=WAIT_S, fresh_s=None)
        word = {TICK_BEGIN: "begins", TICK_RUN: "goes on", TICK_END: "ends"}[sign]
        self._tell(f"{self._actuator.name}; it {word} at {tick.counter_wh} Wh: {done.sentence or 'not known yet'}")
