"""Wishes: what a member says once and the ledger then heeds - an agent's targets, partners who go first."""

from __future__ import annotations

from typing import Annotated

from protocols.records.schema import Field, Int, Name, OneOf, Table, Uint, register
from protocols.records.statements import MAX_AMOUNT, MAX_ASSET_BYTES, MAX_PRICE_U_KWH, AccountId, Spoken

Code = Name(MAX_ASSET_BYTES)
Price = Int(0, MAX_PRICE_U_KWH)
Units = Uint(MAX_AMOUNT)
Side = Int(1, 2)


class AgentSet(Table, frozen=True, kw_only=True):
    """From now on the ledger orders for the member; what was set for the same asset before ends."""

    asset: Annotated[str, Field(1, Code, "code of the asset that is bought and sold")]
    paid_with: Annotated[str, Field(2, Code, "code of the asset that pays, another one")]
    buy_price_u_kwh: Annotated[int, Field(3, Price, "highest price that it buys at, micro-units for 1000 units")]
    sell_price_u_kwh: Annotated[int, Field(4, Price, "lowest price that it sells at")]
    low: Annotated[int, Field(5, Units, "with so many units or fewer, it buys up to the target")]
    target: Annotated[int, Field(6, Units, "how many units there should be; above low")]
    high: Annotated[int, Field(7, Units, "with so many units or more, it sells down to the target; above it")]


class AgentOff(Table, frozen=True, kw_only=True):
    """The ledger orders nothing any more; the agent's open order is taken out."""

    asset: Annotated[str, Field(1, Code, "code of the asset")]


@register(85)
class Agent(Spoken, frozen=True, kw_only=True):
    """A member's automatic agent is set or ended; signed by the member key."""

    step: Annotated[AgentSet | AgentOff, Field(3, OneOf(set=(0, AgentSet), off=(1, AgentOff)), "what is done")]


class PartnerFirst(Table, frozen=True, kw_only=True):
    """Orders of one side that are given from now on serve a partner before all others, at a limit of its own."""

    side: Annotated[int, Field(1, Side, "of the member's orders: 1 buy, 2 sell")]
    partner: Annotated[bytes, Field(2, AccountId, "who is served first")]
    price_u_kwh: Annotated[int, Field(3, Price, "limit towards the partner, micro-units per kWh or 1000 units")]
    asset: Annotated[str | None, Field(4, Code, "which asset; none: energy of settlement periods")] = None
    paid_with: Annotated[str | None, Field(5, Code, "what pays for the asset; given if an asset is")] = None


class PartnerNobody(Table, frozen=True, kw_only=True):
    """Orders that are given from now on serve nobody first, unless they say so themselves."""

    side: Annotated[int, Field(1, Side, "of the member's orders: 1 buy, 2 sell")]
    asset: Annotated[str | None, Field(2, Code, "which asset; none: energy of settlement periods")] = None
    paid_with: Annotated[str | None, Field(3, Code, "what pays for the asset; given if an asset is")] = None


@register(86)
class Partner(Spoken, frozen=True, kw_only=True):
    """A member's preference for a partner is set or ended; signed by the member key."""

    step: Annotated[
        PartnerFirst | PartnerNobody,
        Field(3, OneOf(first=(0, PartnerFirst), nobody=(1, PartnerNobody)), "what is done"),
    ]
