"""Storage: how much a member may have stored, what storing costs, and who receives it.

Pure arithmetic on whole numbers. Balances are given and given back; the ledger keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from meshnode.amounts import PPM, WH_PER_KWH, AmountError, int64, split, value
from meshnode.settlement.credit import Standing, charge

OVERSIZE_PPM: Final = 1_500_000
"""A storage is built half as large again as its members may fill it: cells age and are never used to the end."""


def most_stored_wh(cost_u: int, price_u_kwh: int, oversize_ppm: int = OVERSIZE_PPM) -> int:
    """How much a member may have stored, in Wh, rounded down: 2 x cost / (oversize x price).

    On average a balance is half its maximum, so a member who pays `cost_u` for storage of
    `oversize x average` at `price_u_kwh` may go up to twice that average.

    Args:
        cost_u: what the storage may cost this member, in micro-units of the currency.
        price_u_kwh: price of one kWh of storage, in micro-units, above 0.
        oversize_ppm: how large the storage is, against what its members may fill; above 0.
    Raises:
        AmountError: a cost below zero, a price or an oversize that is not above zero.
        Overflow: the result needs more than 64 bits.
    """
    if cost_u < 0 or price_u_kwh <= 0 or oversize_ppm <= 0:
        raise AmountError(
            f"storage of {cost_u} u at {price_u_kwh} u/kWh, oversize {oversize_ppm} ppm: "
            "expected a cost of 0 or more, and price and oversize above 0"
        )
    return int64("maximum stored", 2 * cost_u * WH_PER_KWH * PPM // (oversize_ppm * price_u_kwh))


class StorageFee(msgspec.Struct, frozen=True):
    """What the binding says of the storage fee.

    Fields:
        fee_u_kwh: for each kWh that is stored at the end of a settlement period (a quarter of an
            hour), for that period.
        split: (who, ppm), together a million; `owners` among them stands for all who own the storage.
        owners: the name in `split` that is divided further, by contribution.
    """

    fee_u_kwh: int
    split: tuple[tuple[bytes, int], ...]
    owners: bytes

    def __post_init__(self) -> None:
        whole = sum(ppm for _, ppm in self.split)
        if self.fee_u_kwh < 0 or whole != PPM:
            raise AmountError(
                f"storage fee of {self.fee_u_kwh} u/kWh, shares of {whole} ppm: expected 0 or more, and {PPM}"
            )


class Charged(msgspec.Struct, frozen=True):
    """A member's storage fee of one period: paid + added to arrears = due."""

    account: bytes
    stored_wh: int
    due_u: int
    paid_u: int
    arrears_u: int
    after: Standing


class StorageCharges(msgspec.Struct, frozen=True):
    """All members' storage fees of one period, and who receives what was paid; sum(paid) = sum(received)."""

    charged: tuple[Charged, ...]
    received_u: dict[bytes, int]


def charge_storage(
    fee: StorageFee, stored: Iterable[tuple[bytes, int, Standing]], contributions: Mapping[bytes, int]
) -> StorageCharges:
    """Charge one period's storage fee.

    Who cannot pay all of it pays what there is, and owes the rest as arrears; no balance goes below what
    the credit limit allows. Only what was paid is divided: arrears are divided when they are paid.

    Args:
        stored: (account, Wh stored, standing), any order.
        contributions: what each owner put into the storage, any unit.
    Raises:
        AmountError: an account twice, or a fee for owners of whom none has contributed.
    """
    charged: list[Charged] = []
    for account, stored_wh, standing in sorted(stored, key=lambda entry: entry[0]):
        if charged and charged[-1].account == account:
            raise AmountError(f"account {account.hex()} is charged twice; add up what it stores first")
        due_u = value(fee.fee_u_kwh, stored_wh)
        after, paid_u = charge(standing, due_u)
        charged.append(Charged(account, stored_wh, due_u, paid_u, due_u - paid_u, after))
    return StorageCharges(tuple(charged), divide_fee(fee, sum(one.paid_u for one in charged), contributions))


def divide_fee(fee: StorageFee, paid_u: int, contributions: Mapping[bytes, int]) -> dict[bytes, int]:
    """Divide what was paid: by the binding's shares, the owners' part by contribution.

    Returns:
        Money by account, in account id order; the sum is what was paid.
    """
    received_u: dict[bytes, int] = {}
    for name, amount_u in split(paid_u, fee.split).items():
        parts_u = split(amount_u, contributions.items()) if name == fee.owners else {name: amount_u}
        for account, part_u in parts_u.items():
            received_u[account] = received_u.get(account, 0) + part_u
    return dict(sorted(received_u.items()))
