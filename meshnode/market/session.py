"""Session: what a vehicle pays for charging - reserved in full before, settled by what was delivered."""

from __future__ import annotations

import msgspec

from meshnode.amounts import AmountError, int64, value


class Tariff(msgspec.Struct, frozen=True):
    """What a station asks for: the energy's price and the station's fee per kWh, and a fee for each session.

    All in the smallest unit of one asset, 0 or more.
    """

    price_u_kwh: int
    fee_u_kwh: int
    flat_u: int

    def __post_init__(self) -> None:
        if min(self.price_u_kwh, self.fee_u_kwh, self.flat_u) < 0:
            raise AmountError(f"tariff {self}: expected prices and fees of 0 or more")


class Bill(msgspec.Struct, frozen=True):
    """Who gets what of an escrow; the three add up to it."""

    energy_u: int
    fee_u: int
    refund_u: int


def escrow_u(tariff: Tariff, cap_wh: int) -> int:
    """What is held before charging begins: the whole purchase, with every fee."""
    fees_u = value(tariff.fee_u_kwh, cap_wh) + tariff.flat_u
    return int64("escrow", value(tariff.price_u_kwh, cap_wh) + fees_u)


def settle(tariff: Tariff, cap_wh: int, delivered_wh: int) -> Bill:
    """Divide the escrow of a session by what was delivered.

    Who was delivered nothing pays nothing: a station that fails before the first Wh earns no fee.

    Raises:
        AmountError: more was delivered than purchased; the meter stops before that.
    """
    if not 0 <= delivered_wh <= cap_wh:
        raise AmountError(f"{delivered_wh} Wh delivered of {cap_wh} purchased: expected at most as much")
    held_u = escrow_u(tariff, cap_wh)
    if not delivered_wh:
        return Bill(0, 0, held_u)
    energy_u = value(tariff.price_u_kwh, delivered_wh)
    fee_u = value(tariff.fee_u_kwh, delivered_wh) + tariff.flat_u
    return Bill(energy_u, fee_u, held_u - energy_u - fee_u)
