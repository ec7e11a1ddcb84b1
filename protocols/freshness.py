"""Freshness: how a node that does not vote learns a height that everything final until now lies below.

    learner -> validator   HeightRequest
    validator -> learner   HeightAnswer   after its leader has had its leadership confirmed

A stream carries one request after the other. No I/O here: what a message says, not when.
"""

from __future__ import annotations

from typing import Annotated

from protocols.records.schema import Field, Record, Uint, register

# Either message is a map of at most three numbers.
MAX_MESSAGE_BYTES = 64


@register(61)
class HeightRequest(Record, frozen=True, kw_only=True):
    """Which height must a ledger have reached so that it misses nothing that is final now?"""

    number: Annotated[int, Field(1, Uint(), "of the question on its stream, to know the answer by")]


@register(62)
class HeightAnswer(Record, frozen=True, kw_only=True):
    """That height, confirmed after the request came. Without one, no majority could be asked in time."""

    number: Annotated[int, Field(1, Uint(), "as in the request")]
    height: Annotated[int, Field(2, Uint(), "final at the leader")] = 0
