"""Membership: the records by which members decide about one another - who joins, whose account is open again."""

from __future__ import annotations

from typing import Annotated

from protocols.records.schema import Field, Uint, register
from protocols.records.statements import AccountId, RecordId, Spoken


@register(100)
class JoinVote(Spoken, frozen=True, kw_only=True):
    """What a member says to a request to join that the members are asked about; the newest word counts.

    Signed by the member key.
    """

    request: Annotated[bytes, Field(3, RecordId, "record id of the Join")]
    agrees: Annotated[int, Field(4, Uint(1), "1: the newcomer may join, 0: it may not")]


@register(101)
class Unfreeze(Spoken, frozen=True, kw_only=True):
    """An administrator lifts what froze an account; signed by the member key."""

    account: Annotated[bytes, Field(3, AccountId, "whose account is open again")]
