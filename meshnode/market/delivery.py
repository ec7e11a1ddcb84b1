"""Delivery: energy that is paid for before it flows and counted while it flows, from its reservation to its end.

One machine for charging sessions and for coins that are redeemed. What was delivered is what the point's
meter signed last, never what anybody assumes: whoever falls silent, whenever, leaves behind the last
signed counter, and that is settled. No money here and no ledger; see `session` and `redemption` for bills.

    RESERVED --begin--> RUNNING --run--> RUNNING
        | cancel, lapse     | end, or all that was purchased, or lapse
        v                   v
    CANCELLED             ENDED
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

TICK_EVERY_S: Final = 60
"""A meter signs every few seconds; between beginning and end the ledger takes one tick a minute, or it would
hold little else. The last one always counts, whoever brings it."""
MIN_SILENCE_S: Final = 3 * TICK_EVERY_S
"""Two ticks may get lost on the way before a delivery is taken to be over."""
MAX_SILENCE_S: Final = 3_600
"""Longer than this nobody's money is kept waiting for a meter that is gone."""


class Phase(IntEnum):
    """Where a delivery stands. Part of the ledger's rows: never renumbered."""

    RESERVED = 0
    RUNNING = 1
    ENDED = 2
    CANCELLED = 3


class Sign(IntEnum):
    """What a tick says. On the wire: never renumbered."""

    BEGIN = 0
    RUN = 1
    END = 2


class Refusal(IntEnum):
    """Why a step is not taken; the delivery is as it was."""

    NOT_BEGUN = 1
    BEGUN = 2
    OVER = 3
    COUNTER_BACK = 4
    OLD = 5
    TOO_SOON = 6


class Tick(msgspec.Struct, frozen=True):
    """What the point's meter signed. counter_wh: its register of delivered energy; time_s: of its clock."""

    sign: Sign
    counter_wh: int
    time_s: int


class Delivery(msgspec.Struct, frozen=True):
    """A delivery as its last step left it.

    Fields:
        purchased_wh: nothing beyond it is delivered, or paid for.
        silence_s: how long the meter may be silent before what it signed last is settled.
        deadline_s: after it the delivery lapses: nobody came, or the meter fell silent.
        begin_wh, counter_wh: the register when it began, and as it was signed last.
        ticked_s: the meter's time of the last tick; heard_s: the ledger's.

    Invariant: 0 <= delivered_wh <= purchased_wh.
    """

    phase: Phase
    purchased_wh: int
    silence_s: int
    deadline_s: int
    begin_wh: int = 0
    counter_wh: int = 0
    ticked_s: int = 0
    heard_s: int = 0

    @property
    def delivered_wh(self) -> int:
        """What was delivered by the last signed counter; what flowed beyond the purchase was the point's to stop."""
        return min(self.counter_wh - self.begin_wh, self.purchased_wh)

    @property
    def over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.phase in (Phase.ENDED, Phase.CANCELLED)


def reserve(purchased_wh: int, silence_s: int, until_s: int) -> Delivery:
    """A new delivery, which lapses if it has not begun by `until_s`.

    Raises:
        ValueError: nothing is purchased, or the silence is out of bounds.
    """
    if purchased_wh <= 0 or not MIN_SILENCE_S <= silence_s <= MAX_SILENCE_S:
        raise ValueError(
            f"delivery of {purchased_wh} Wh, silence of {silence_s} s: expected more than 0, "
            f"and {MIN_SILENCE_S} to {MAX_SILENCE_S}"
        )
    return Delivery(Phase.RESERVED, purchased_wh, silence_s, until_s)


def hear(delivery: Delivery, tick: Tick, now_s: int) -> Delivery | Refusal:
    """The delivery after a tick of its meter, or why the tick changes nothing.

    Args:
        now_s: the ledger's time, not before that of the tick before.
    """
    refusal = _refusal(delivery, tick, now_s)
    if refusal is not None:
        return refusal
    begins = tick.sign == Sign.BEGIN
    heard = msgspec.structs.replace(
        delivery,
        phase=Phase.RUNNING,
        begin_wh=tick.counter_wh if begins else delivery.begin_wh,
        counter_wh=tick.counter_wh,
        ticked_s=tick.time_s,
        heard_s=now_s,
        deadline_s=now_s + delivery.silence_s,
    )
    if tick.sign == Sign.END or heard.delivered_wh == heard.purchased_wh:
        return msgspec.structs.replace(heard, phase=Phase.ENDED)
    return heard


def cancel(delivery: Delivery) -> Delivery | Refusal:
    """Call it off before it has begun; what has begun ends by its meter."""
    if delivery.over:
        return Refusal.OVER
    if delivery.phase == Phase.RUNNING:
        return Refusal.BEGUN
    return msgspec.structs.replace(delivery, phase=Phase.CANCELLED)


def lapse(delivery: Delivery, now_s: int) -> Delivery:
    """The delivery at a time: over, if its deadline has passed; else as it is."""
    if delivery.over or now_s <= delivery.deadline_s:
        return delivery
    ended = Phase.ENDED if delivery.phase == Phase.RUNNING else Phase.CANCELLED
    return msgspec.structs.replace(delivery, phase=ended)


def _refusal(delivery: Delivery, tick: Tick, now_s: int) -> Refusal | None:
    if delivery.over:
        return Refusal.OVER
    if delivery.phase == Phase.RESERVED:
        return None if tick.sign == Sign.BEGIN else Refusal.NOT_BEGUN
    if tick.sign == Sign.BEGIN:
        return Refusal.BEGUN
    if tick.time_s <= delivery.ticked_s:
        return Refusal.OLD
    if tick.counter_wh < delivery.counter_wh:
        return Refusal.COUNTER_BACK
    whole = tick.counter_wh - delivery.begin_wh >= delivery.purchased_wh
    if tick.sign == Sign.RUN and not whole and now_s < delivery.heard_s + TICK_EVERY_S:
        return Refusal.TOO_SOON
    return None
