"""Governance: what is said of bindings besides proposals and votes - withdrawn ones, and matching that is paused."""

from __future__ import annotations

from typing import Annotated

from protocols.records.schema import Field, Name, OneOf, Second, Table, register
from protocols.records.statements import RecordId, Spoken

# A line that every member reads.
MAX_REASON_BYTES = 120


@register(93)
class BindingWithdraw(Spoken, frozen=True, kw_only=True):
    """A proposal is taken back before it is adopted; signed by the member key of whoever made it."""

    proposal: Annotated[bytes, Field(3, RecordId, "record id of the proposal")]


class PauseBegin(Table, frozen=True, kw_only=True):
    """From now on no orders meet; everything else goes on."""

    until_s: Annotated[int, Field(1, Second(), "UTC second at which it ends by itself")]
    reason: Annotated[str, Field(2, Name(MAX_REASON_BYTES), "why, for everybody to read")]


class PauseEnd(Table, frozen=True, kw_only=True):
    """Orders meet again."""


@register(94)
class MatchingPause(Spoken, frozen=True, kw_only=True):
    """The emergency stop of the market begins or ends; signed by an administrator."""

    step: Annotated[PauseBegin | PauseEnd, Field(3, OneOf(begin=(0, PauseBegin), end=(1, PauseEnd)), "what is done")]
