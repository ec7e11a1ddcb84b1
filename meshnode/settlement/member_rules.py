"""Member rules: what a binding says of membership and bills, resolved once."""

from __future__ import annotations

from typing import Any

import msgspec

from meshnode.local_time import Zone
from zencode.binding import Binding
from zencode.catalogue import ids
from zencode.terms import Terms


class MemberRules(msgspec.Struct, frozen=True):
    """Membership and bills under one binding.

    Attributes:
        zone: offsets from UTC, for months and days.
        roles: that somebody may have without asking to join as them.
        substation: whose area the community lies in, None where it is not said.
        company: that collects bills, "" where there is none.
        billing: bills are for so many calendar months, or so many seconds; one of the two is 0.
        rounds: whether what a bill comes to is rounded to cents.
        tax_ppm: value added tax by name of the member; who is not in it pays none.
        fee_split: of membership fees, (recipient, ppm).
    """

    zone: Zone
    roles: frozenset[str]
    substation: str | None
    company: str
    billing: tuple[int, int]
    rounds: bool
    tax_ppm: dict[str, int]
    fee_split: tuple[tuple[str, int], ...]


def member_rules(binding: Binding, terms: Terms, zone: Zone) -> MemberRules:
    """What a binding says of membership and bills."""
    rates = {slots[0]: slots[1] for slots in _given(binding, ids.VAT_RATE)}
    substation, company = binding.given(ids.SUBSTATION), binding.given(ids.COLLECTING)
    return MemberRules(
        zone=zone,
        roles=frozenset(terms.roles),
        substation=None if substation is None else str(substation.slots[0]),
        company="" if company is None else str(company.slots[0]),
        billing=(terms.billing_months, terms.billing_s),
        rounds=binding.given(ids.ROUNDING) is not None,
        tax_ppm={slots[0]: rates.get(slots[1], 0) for slots in _given(binding, ids.VAT_CATEGORY)},
        fee_split=terms.member_fee_split,
    )


def _given(binding: Binding, wanted: int) -> list[Any]:
    return [given.slots for given in binding.givens if given.id == wanted]
