"""Redemption: coins for energy - a coin burns when its energy was delivered, what is less than a coin is carried."""

from __future__ import annotations

import msgspec

from meshnode.amounts import AmountError, int64


class Redeemed(msgspec.Struct, frozen=True):
    """What became of the coins that were sent: burned + returned = sent.

    carried_wh: delivered to the account and not paid with a coin yet; less than one coin's energy.
    """

    burned: int
    returned: int
    carried_wh: int


def purchased_wh(coins: int, unit_wh: int, carried_wh: int) -> int:
    """How much energy coins release: a coin's energy each, less what was delivered before and not paid for.

    It is nothing, or below, if the coins pay only for what is carried.
    """
    _expect(coins, unit_wh, carried_wh)
    return int64("purchase", coins * unit_wh - carried_wh)


def settle(coins: int, unit_wh: int, carried_wh: int, delivered_wh: int) -> Redeemed:
    """What burns for what was delivered. No coin burns for energy that was not delivered, in whole or in part.

    Raises:
        AmountError: more was delivered than the coins had released.
    """
    if not 0 <= delivered_wh <= purchased_wh(coins, unit_wh, carried_wh):
        raise AmountError(f"{delivered_wh} Wh delivered for {coins} coins of {unit_wh} Wh: more than they release")
    burned, rest_wh = divmod(carried_wh + delivered_wh, unit_wh)
    return Redeemed(burned, coins - burned, rest_wh)


def _expect(coins: int, unit_wh: int, carried_wh: int) -> None:
    if coins <= 0 or unit_wh <= 0 or carried_wh < 0:
        raise AmountError(
            f"{coins} coins of {unit_wh} Wh with {carried_wh} Wh carried: expected coins and energy above 0, "
            "and 0 or more carried"
        )
