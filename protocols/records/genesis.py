"""Genesis: what a microgrid is founded on. Not signed; its hash is the chain id."""

from __future__ import annotations

import hashlib
from typing import Annotated

from protocols.cose import PUBLIC_KEY_BYTES
from protocols.records.schema import (
    UINT32_MAX,
    Bytes,
    Field,
    Int,
    ListOf,
    Name,
    Nested,
    Record,
    Row,
    Table,
    Uint,
    register,
    to_payload,
)

# A microgrid is a neighbourhood; a thousand homes in one genesis is a town.
MAX_MEMBERS = 1000
MAX_VALIDATORS = 10
MAX_METERS_PER_MEMBER = 16
MAX_ROLES_PER_MEMBER = 8
# Text limit of a binding (32 KiB) and twice that for its tree.
MAX_BINDING_TEXT_BYTES = 32 * 1024
MAX_BINDING_TREE_BYTES = 64 * 1024
# Two changes a year for fifty years.
MAX_ZONE_CHANGES = 100

QUORUM_MAJORITY = 0
QUORUM_BYZANTINE = 1
CLOCK_REAL = 0
CLOCK_DEMONSTRATION = 1
# A day in ten seconds; faster, and a period would be shorter than a consensus round.
MAX_CLOCK_SPEED = 8640

Key = Bytes(PUBLIC_KEY_BYTES)


class MeterEntry(Table, frozen=True, kw_only=True):
    """A meter that a member brings."""

    meter_key: Annotated[bytes, Field(1, Key, "Ed25519 public key that signs its readings")]
    metering_point: Annotated[str, Field(2, Name(48), "the grid operator's name for the point")]


class MemberEntry(Table, frozen=True, kw_only=True):
    """A member as admitted."""

    name: Annotated[str, Field(1, Name(48), "unique in the microgrid")]
    roles: Annotated[tuple[str, ...], Field(2, ListOf(Name(48), MAX_ROLES_PER_MEMBER, 1), "sorted")]
    member_key: Annotated[bytes, Field(3, Key, "signs orders, votes and transfers")]
    device_key: Annotated[bytes | None, Field(4, Key, "libp2p identity and consensus key of its node")] = None
    meters: Annotated[
        tuple[MeterEntry, ...], Field(5, ListOf(Nested(MeterEntry), MAX_METERS_PER_MEMBER), "its meters")
    ] = ()


class ValidatorEntry(Table, frozen=True, kw_only=True):
    """A device that votes."""

    device_key: Annotated[bytes, Field(1, Key, "of a member's node")]
    epoch: Annotated[int, Field(2, Uint(UINT32_MAX), "session: raised when it is removed and added again")] = 0


class Clock(Table, frozen=True, kw_only=True):
    """Which clock the microgrid lives by.

    A demonstration clock shows `origin_s + (real time - origin_s) * speed`.
    """

    kind: Annotated[int, Field(1, Uint(1), "0 real, 1 demonstration")]
    speed: Annotated[int, Field(2, Int(1, MAX_CLOCK_SPEED), "seconds shown per real second")] = 1
    origin_s: Annotated[int, Field(3, Uint(), "real time at which the demonstration begins")] = 0


class Limits(Table, frozen=True, kw_only=True):
    """Bounds that are part of the rules: all nodes must refuse at the same place."""

    max_block_bytes: Annotated[int, Field(1, Int(4096, 1 << 19), "header, records and election certificate")]
    max_block_records: Annotated[int, Field(2, Int(1, 4096), "records in one block")]
    max_periods_per_block: Annotated[int, Field(3, Int(1, 96), "periods that one block closes")]
    max_validity_s: Annotated[int, Field(4, Int(60, 31 * 86400), "how far ahead valid_until_s may lie")]
    max_order_ahead_s: Annotated[int, Field(5, Int(0, 31 * 86400), "how far ahead an order's period may lie")]


DEFAULT_LIMITS = Limits(
    # A quarter of a frame: a batch of blocks always holds several.
    max_block_bytes=256 * 1024,
    # What a Raspberry Pi verifies in about half a second.
    max_block_records=1024,
    # After an outage of a day, six blocks close what is due.
    max_periods_per_block=16,
    # A week without internet must not void what was signed before it.
    max_validity_s=7 * 86400,
    max_order_ahead_s=2 * 86400,
)


@register(1)
class Genesis(Record, frozen=True, kw_only=True):
    """The founding of a microgrid; block height 0."""

    format_version: Annotated[int, Field(1, Uint(255), "of the wire format")]
    community: Annotated[str, Field(2, Name(64), "name of the community")]
    start_s: Annotated[int, Field(3, Uint(), "UTC second of height 0, on the microgrid's clock")]
    quorum_mode: Annotated[int, Field(4, Uint(1), "0 majority, 1 byzantine")]
    limits: Annotated[Limits, Field(5, Nested(Limits), "bounds that all nodes share")]
    clock: Annotated[Clock, Field(6, Nested(Clock), "real or demonstration")]
    zone: Annotated[str, Field(7, Name(48), "name of the time zone, for screens")]
    zone_changes: Annotated[
        tuple[tuple[int, int], ...],
        Field(
            8,
            ListOf(Row(utc_s=Uint(), offset_s=Int(-64800, 64800)), MAX_ZONE_CHANGES, 1),
            "from which UTC second which offset holds, ascending",
        ),
    ]
    max_drift_s: Annotated[int, Field(9, Int(1, 3600 * 24), "how far a header may lie ahead of a clock")]
    members: Annotated[tuple[MemberEntry, ...], Field(10, ListOf(Nested(MemberEntry), MAX_MEMBERS, 1), "founders")]
    validators: Annotated[
        tuple[ValidatorEntry, ...], Field(11, ListOf(Nested(ValidatorEntry), MAX_VALIDATORS, 1), "who votes")
    ]
    binding: Annotated[bytes, Field(12, Bytes(1, MAX_BINDING_TREE_BYTES), "canonical tree of the binding")]
    binding_text: Annotated[bytes, Field(13, Bytes(1, MAX_BINDING_TEXT_BYTES), "the same as its author wrote it")]


def chain_id(genesis: Genesis) -> bytes:
    """The identity of a microgrid: SHA-256 of the canonical bytes of its genesis."""
    return hashlib.sha256(to_payload(genesis)).digest()
