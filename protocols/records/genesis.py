"""Genesis: what a microgrid is founded on. Not signed; its hash is the chain id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, TypeVar

from protocols.cose import FORMAT_VERSION, PUBLIC_KEY_BYTES, key_id_of
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
    Second,
    Table,
    Uint,
    register,
    to_payload,
)

# A microgrid is a neighbourhood; a thousand homes in one genesis is a town.
MAX_MEMBERS = 1000
# Certificates name every validator; a byzantine quorum needs 4, 7 or 10 of them.
MAX_VALIDATORS = 10
# A farm with its barns and heat pumps; with more, it is several members.
MAX_METERS_PER_MEMBER = 16
# A binding distinguishes a handful.
MAX_ROLES_PER_MEMBER = 8
# A name fits a line of a phone: 48 Latin letters, or 16 Chinese ones.
MAX_NAME_BYTES = 48
# The community's name is the title of every page.
MAX_COMMUNITY_BYTES = 64
# Text limit of a binding (32 KiB) and twice that for its tree.
MAX_BINDING_TEXT_BYTES = 32 * 1024
MAX_BINDING_TREE_BYTES = 64 * 1024
# Three quarters of a frame: a newcomer gets the genesis in one message. A thousand
# members of the usual size take a third of it.
MAX_GENESIS_BYTES = 768 * 1024
# Half a frame, so that every legal block can be sent; a microgrid may set less.
MAX_BLOCK_BYTES = 1 << 19
MAX_BLOCK_RECORDS = 4096
# Header, election certificate and a few small records: with less, a ledger could stand still.
MIN_BLOCK_BYTES = 4096
# A day of quarter hours.
MAX_PERIODS_PER_BLOCK = 96
# Ids are remembered as long as a record may be valid; a month of them fits a small computer.
MAX_AHEAD_S = 31 * 86400
# Less than a minute, and a record could expire before a slow round of consensus is over.
MIN_VALIDITY_S = 60
# Two changes a year for fifty years.
MAX_ZONE_CHANGES = 100
# No zone has ever been further from UTC.
MAX_OFFSET_S = 18 * 3600
# A clock that is off by more than a day is not drifting but wrong.
MAX_DRIFT_S = 86400

QUORUM_MAJORITY = 0
QUORUM_BYZANTINE = 1
CLOCK_REAL = 0
CLOCK_DEMONSTRATION = 1
# A day in ten seconds; faster, and a period would be shorter than a consensus round.
MAX_CLOCK_SPEED = 8640

Key = Bytes(PUBLIC_KEY_BYTES)

T = TypeVar("T", str, bytes)


class MeterEntry(Table, frozen=True, kw_only=True):
    """A meter that a member brings."""

    meter_key: Annotated[bytes, Field(1, Key, "Ed25519 public key that signs its readings")]
    metering_point: Annotated[str, Field(2, Name(MAX_NAME_BYTES), "the grid operator's name for the point")]


class MemberEntry(Table, frozen=True, kw_only=True):
    """A member as admitted."""

    name: Annotated[str, Field(1, Name(MAX_NAME_BYTES), "unique in the microgrid")]
    roles: Annotated[
        tuple[str, ...], Field(2, ListOf(Name(MAX_NAME_BYTES), MAX_ROLES_PER_MEMBER, 1, ascending=True), "sorted")
    ]
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

    A demonstration clock shows `shows_s + (real time - origin_s) * speed`.
    """

    kind: Annotated[int, Field(1, Uint(1), "0 real, 1 demonstration")]
    speed: Annotated[int, Field(2, Int(1, MAX_CLOCK_SPEED), "seconds shown per real second")] = 1
    origin_s: Annotated[int, Field(3, Second(), "real time at which the demonstration begins")] = 0
    shows_s: Annotated[int, Field(4, Second(), "what the demonstration clock shows at that moment")] = 0


class Limits(Table, frozen=True, kw_only=True):
    """Bounds that are part of the rules: all nodes must refuse at the same place."""

    max_block_bytes: Annotated[
        int, Field(1, Int(MIN_BLOCK_BYTES, MAX_BLOCK_BYTES), "header, records and election certificate")
    ]
    max_block_records: Annotated[int, Field(2, Int(1, MAX_BLOCK_RECORDS), "records in one block")]
    max_periods_per_block: Annotated[int, Field(3, Int(1, MAX_PERIODS_PER_BLOCK), "periods that one block closes")]
    max_validity_s: Annotated[int, Field(4, Int(MIN_VALIDITY_S, MAX_AHEAD_S), "how far ahead valid_until_s may lie")]
    max_order_ahead_s: Annotated[int, Field(5, Int(0, MAX_AHEAD_S), "how far ahead an order's period may lie")]


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
    community: Annotated[str, Field(2, Name(MAX_COMMUNITY_BYTES), "name of the community")]
    start_s: Annotated[int, Field(3, Second(), "UTC second of height 0, on the microgrid's clock")]
    quorum_mode: Annotated[int, Field(4, Uint(1), "0 majority, 1 byzantine")]
    limits: Annotated[Limits, Field(5, Nested(Limits), "bounds that all nodes share")]
    clock: Annotated[Clock, Field(6, Nested(Clock), "real or demonstration")]
    zone: Annotated[str, Field(7, Name(MAX_NAME_BYTES), "name of the time zone, for screens")]
    zone_changes: Annotated[
        tuple[tuple[int, int], ...],
        Field(
            8,
            ListOf(Row(utc_s=Second(), offset_s=Int(-MAX_OFFSET_S, MAX_OFFSET_S)), MAX_ZONE_CHANGES, 1, ascending=True),
            "from which UTC second which offset holds, ascending",
        ),
    ]
    max_drift_s: Annotated[int, Field(9, Int(1, MAX_DRIFT_S), "how far a header may lie ahead of a clock")]
    members: Annotated[tuple[MemberEntry, ...], Field(10, ListOf(Nested(MemberEntry), MAX_MEMBERS, 1), "founders")]
    validators: Annotated[
        tuple[ValidatorEntry, ...], Field(11, ListOf(Nested(ValidatorEntry), MAX_VALIDATORS, 1), "who votes")
    ]
    binding: Annotated[bytes, Field(12, Bytes(1, MAX_BINDING_TREE_BYTES), "canonical tree of the binding")]
    binding_text: Annotated[bytes, Field(13, Bytes(1, MAX_BINDING_TEXT_BYTES), "the same as its author wrote it")]


def chain_id(genesis: Genesis) -> bytes:
    """The identity of a microgrid: SHA-256 of the canonical bytes of its genesis."""
    return hashlib.sha256(to_payload(genesis)).digest()


def genesis_faults(genesis: Genesis) -> tuple[str, ...]:
    """What makes a genesis unfit to found a microgrid, beyond its table of fields; empty if nothing does.

    Every node checks it before the first start: nothing could put it right later.

    Raises:
        RecordError: a value outside its table.
    """
    faults = []
    if genesis.format_version != FORMAT_VERSION:
        faults.append(f"genesis.format_version: found {genesis.format_version}, this version reads {FORMAT_VERSION}")
    if genesis.zone_changes[0][0] > genesis.start_s:
        faults.append("genesis.zone_changes: the first offset must hold at start_s already")
    if genesis.clock.kind == CLOCK_REAL and genesis.clock != Clock(kind=CLOCK_REAL):
        faults.append("genesis.clock: a real clock has no speed, no origin and shows the real time")
    size = len(to_payload(genesis))
    if size > MAX_GENESIS_BYTES:
        faults.append(f"genesis: {size} bytes, the limit is {MAX_GENESIS_BYTES}")
    names = [member.name for member in genesis.members]
    faults += [f"genesis.members: the name {name!r} stands twice" for name in _repeated(names)]
    key_ids = [key_id_of(key).hex() for member in genesis.members for key in keys_of(member)]
    faults += [f"genesis.members: two keys have the id {key_id}" for key_id in _repeated(key_ids)]
    devices = {member.device_key for member in genesis.members}
    voters = [entry.device_key for entry in genesis.validators]
    faults += [f"genesis.validators: {key_id_of(key).hex()} stands twice" for key in _repeated(voters)]
    faults += [
        f"genesis.validators: {key_id_of(key).hex()} is no member's device key" for key in voters if key not in devices
    ]
    if genesis.quorum_mode == QUORUM_BYZANTINE and not is_byzantine_size(len(voters)):
        faults.append(f"genesis.validators: byzantine quorums need 4, 7 or 10 validators, found {len(voters)}")
    return tuple(faults)


def is_byzantine_size(validators: int) -> bool:
    """Whether so many validators tolerate a lying minority, and none to spare: 3f + 1 of them, f > 0."""
    return validators >= 4 and validators % 3 == 1


def keys_of(member: MemberEntry) -> tuple[bytes, ...]:
    """All keys that a member brings: its own, its device's, its meters'."""
    device = () if member.device_key is None else (member.device_key,)
    return (member.member_key, *device, *(meter.meter_key for meter in member.meters))


def _repeated(values: Sequence[T]) -> list[T]:
    seen: set[T] = set()
    repeated = []
    for value in values:
        if value in seen and value not in repeated:
            repeated.append(value)
        seen.add(value)
    return repeated
