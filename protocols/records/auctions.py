"""Auctions: the records that call one and that bid in it; what they commit is held under their record ids."""

from __future__ import annotations

from typing import Annotated

from protocols.records.schema import Field, Int, ListOf, Name, OneOf, Row, Second, Table, Uint, register
from protocols.records.statements import (
    MAX_ASSET_BYTES,
    MAX_ORDER_WH,
    MAX_PRICE_U_KWH,
    RecordId,
    Spoken,
)

# What energy can be asked to be (source, place, kind of meter) needs fewer.
MAX_ATTRIBUTES = 16
MAX_ATTRIBUTE_BYTES = 32
# A day: an auction that goes on for longer is called for longer.
MAX_SNIPE_S = 86_400

Code = Name(MAX_ASSET_BYTES)
Units = Int(1, MAX_ORDER_WH)
Price = Int(0, MAX_PRICE_U_KWH)
Attributes = ListOf(
    Row(name=Name(MAX_ATTRIBUTE_BYTES), value=Name(MAX_ATTRIBUTE_BYTES)), MAX_ATTRIBUTES, ascending=True
)


class AuctionRising(Table, frozen=True, kw_only=True):
    """A lot for who bids most for all of it; it is held from now on."""

    asset: Annotated[str, Field(1, Code, "code of the asset that is sold")]
    paid_with: Annotated[str, Field(2, Code, "code of the asset that pays, another one")]
    units: Annotated[int, Field(3, Units, "the lot")]
    reserve_u_kwh: Annotated[int, Field(4, Price, "lowest first bid, micro-units for 1000 units")]
    step_u_kwh: Annotated[int, Field(5, Price, "by how much a bid outbids the best one at least")]
    closes_s: Annotated[int, Field(6, Second(), "first UTC second at which no bid is taken")]
    snipe_s: Annotated[int, Field(7, Uint(MAX_SNIPE_S), "so long it stays open after a late bid")] = 0
    extends_s: Annotated[int, Field(8, Uint(MAX_SNIPE_S), "by so much late bids move the close at most")] = 0


class AuctionFalling(Table, frozen=True, kw_only=True):
    """A call for units from whoever asks least for them; what they cost at most is held from now on."""

    asset: Annotated[str, Field(1, Code, "code of the asset that is bought")]
    paid_with: Annotated[str, Field(2, Code, "code of the asset that pays, another one")]
    units: Annotated[int, Field(3, Units, "how much; several asks may share it")]
    maximum_u_kwh: Annotated[int, Field(4, Price, "highest price that is paid, micro-units for 1000 units")]
    closes_s: Annotated[int, Field(5, Second(), "first UTC second at which no ask is taken")]
    attributes: Annotated[tuple[tuple[str, str], ...], Field(6, Attributes, "what an ask must say of its energy")] = ()


class AuctionBid(Table, frozen=True, kw_only=True):
    """A bid for the lot of a rising auction, or an ask in a falling one."""

    auction: Annotated[bytes, Field(1, RecordId, "record id of the auction")]
    units: Annotated[int, Field(2, Units, "all of the lot, or as much as is asked to sell")]
    price_u_kwh: Annotated[int, Field(3, Price, "micro-units for 1000 units")]
    attributes: Annotated[tuple[tuple[str, str], ...], Field(4, Attributes, "what the energy is said to be")] = ()


@register(21)
class Auction(Spoken, frozen=True, kw_only=True):
    """An auction is called, or bid in; signed by the member key."""

    step: Annotated[
        AuctionRising | AuctionFalling | AuctionBid,
        Field(3, OneOf(rising=(0, AuctionRising), falling=(1, AuctionFalling), bid=(2, AuctionBid)), "what is done"),
    ]
