"""Orders: the records that change an order of an asset, commit to its first steps, and take back a trade.

The order itself is an `Order` with `standing`; what it needs is held under its record id.
"""

from __future__ import annotations

from typing import Annotated

from protocols.cose import HASH_BYTES
from protocols.records.schema import UINT32_MAX, UINT63_MAX, Bytes, Field, Int, OneOf, Table, Uint, register
from protocols.records.statements import MAX_ORDER_WH, MAX_PRICE_U_KWH, RecordId, Spoken


@register(19)
class Amend(Spoken, frozen=True, kw_only=True):
    """An order of a period or of an asset is changed; signed by the member key that gave it.

    Less at the same price keeps its place; anything else is a new booking under the same id.
    """

    order: Annotated[bytes, Field(3, RecordId, "record id of the order")]
    energy_wh: Annotated[int, Field(4, Int(1, MAX_ORDER_WH), "all that it wants, with what it has traded")]
    price_u_kwh: Annotated[int, Field(5, Int(0, MAX_PRICE_U_KWH), "limit price, micro-units per kWh; for 1000 units")]


class OrderPrepared(Table, frozen=True, kw_only=True):
    """Step 1 of an order: its attributes are complete; only their hash is said."""

    attributes: Annotated[bytes, Field(1, Bytes(HASH_BYTES), "SHA-256 of the order's attributes")]


class OrderBooked(Table, frozen=True, kw_only=True):
    """Step 2 of an order: it is booked as it was prepared; only the hash of its terms is said."""

    prepared: Annotated[bytes, Field(1, RecordId, "record id of step 1")]
    terms: Annotated[bytes, Field(2, Bytes(HASH_BYTES), "SHA-256 of what the order is going to say")]


class TradeReversed(Table, frozen=True, kw_only=True):
    """A party of a trade wants it undone; once both have said so, both legs go back."""

    height: Annotated[int, Field(1, Uint(UINT63_MAX), "of the block in which it came about")]
    number: Annotated[int, Field(2, Uint(UINT32_MAX), "among the trades of that block")]


@register(20)
class OrderStep(Spoken, frozen=True, kw_only=True):
    """A step of an order's life that is no order; signed by the member key of whose step it is."""

    step: Annotated[
        OrderPrepared | OrderBooked | TradeReversed,
        Field(3, OneOf(prepared=(0, OrderPrepared), booked=(1, OrderBooked), reversed=(2, TradeReversed)), "which"),
    ]
