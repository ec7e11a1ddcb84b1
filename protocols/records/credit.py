"""Credit: the records that bound what a member may owe, and about what it leaves as a security."""

from __future__ import annotations

from typing import Annotated

from protocols.records.schema import Field, OneOf, Table, Uint, register
from protocols.records.statements import MAX_AMOUNT, AccountId, RecordId, Spoken
from protocols.records.tokens import Amount, Code


class CreditLimit(Table, frozen=True, kw_only=True):
    """How far what a member owes and has promised may go beyond what it has.

    Said by an administrator it is the community's; by a supplier under a signed contract it is
    the supplier's, for as long as that contract holds. The smaller of the two counts.
    """

    account: Annotated[bytes | None, Field(1, AccountId, "whose; every member's without one of its own, if none")] = (
        None
    )
    limit_u: Annotated[int | None, Field(2, Uint(MAX_AMOUNT), "micro-units of the currency; no limit, if none")] = None


class DepositPlace(Table, frozen=True, kw_only=True):
    """The signer leaves an amount as a security; it is held until it is given back."""

    asset: Annotated[str, Field(1, Code, "asset code")]
    amount: Annotated[int, Field(2, Amount, "how much of it")]
    to: Annotated[bytes, Field(3, AccountId, "an administrator, or a supplier of the signer, who may give it back")]


class DepositRelease(Table, frozen=True, kw_only=True):
    """A deposit is given back; what its owner owes is paid out of it first."""

    deposit: Annotated[bytes, Field(1, RecordId, "record id of the deposit")]


@register(80)
class MemberCredit(Spoken, frozen=True, kw_only=True):
    """What a member may owe, and its security for it; signed by the member key."""

    step: Annotated[
        CreditLimit | DepositPlace | DepositRelease,
        Field(3, OneOf(limit=(0, CreditLimit), deposit=(1, DepositPlace), release=(2, DepositRelease)), "what is done"),
    ]
