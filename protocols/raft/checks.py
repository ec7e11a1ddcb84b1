"""Checks: is a peer's message one that any correct node could send to us?

Looks only at the message itself and at our own id, before anything is believed:
decoding has made sure of types, this makes sure of ranges and of shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter

from protocols.raft.errors import BadMessage, Fault
from protocols.raft.membership import MembershipError, restore
from protocols.raft.messages import (
    MAX_INT,
    NO_NODE,
    STORAGE_KINDS,
    TERMLESS,
    TRANSFER_CONTEXT,
    Message,
    MessageKind,
)

_NUMBERED = ("term", "log_term", "index", "commit", "reject_hint", "vote", "epoch")
_NUMBERS = attrgetter(*_NUMBERED)

MAX_CONTEXT_BYTES = 64
"""Longest context of a read or a vote: a node id, a number and room to spare."""


def check(message: Message, own_id: int) -> BadMessage | None:
    """None for a well-formed message, else what is wrong with it."""
    if message.kind in STORAGE_KINDS or message.responses:
        return BadMessage(Fault.LOCAL, f"{message.kind} from {message.sender}")
    if message.to != own_id:
        return BadMessage(Fault.MISDIRECTED, f"{message.kind} from {message.sender} to {message.to}, we are {own_id}")
    for text in _faults(message, own_id):
        return BadMessage(Fault.MALFORMED, f"{message.kind} from {message.sender}: {text}")
    return None


def _faults(message: Message, own_id: int) -> Iterable[str]:
    if message.sender == own_id or not NO_NODE < message.sender <= MAX_INT:
        yield "no possible sender"
    numbers = _NUMBERS(message)
    if min(numbers) < 0 or max(numbers) > MAX_INT:
        for name, value in zip(_NUMBERED, numbers, strict=True):
            if not 0 <= value <= MAX_INT:
                yield f"{name} {value} outside 0..{MAX_INT}"
    if (message.term == 0) != (message.kind in TERMLESS):
        yield f"term {message.term}"
    if len(message.context) > MAX_CONTEXT_BYTES:
        yield f"context of {len(message.context)} bytes, the limit is {MAX_CONTEXT_BYTES}"
    yield from _SHAPES.get(message.kind, _no_cargo)(message)


def _no_cargo(message: Message) -> Iterable[str]:
    if message.entries or message.snapshot is not None:
        yield "carries entries or a snapshot"


def _append(message: Message) -> Iterable[str]:
    if message.snapshot is not None:
        yield "carries a snapshot"
    if message.log_term > message.term or (message.log_term == 0) != (message.index == 0):
        yield f"follows entry {message.log_term}/{message.index} in term {message.term}"
    term, index = max(message.log_term, 1), message.index
    for entry in message.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= message.term:
            yield f"entry {entry.term}/{entry.index} in place of {term}/{index}"
        term = entry.term


def _vote(message: Message) -> Iterable[str]:
    yield from _no_cargo(message)
    if message.log_term > message.term or (message.log_term == 0) != (message.index == 0):
        yield f"log up to {message.log_term}/{message.index} for an election of term {message.term}"
    if message.context not in (b"", TRANSFER_CONTEXT):
        yield "unknown reason to campaign"


def _snapshot(message: Message) -> Iterable[str]:
    snapshot = message.snapshot
    if message.entries:
        yield "carries entries"
    if snapshot is None or not 0 < snapshot.index <= MAX_INT or not 0 < snapshot.term <= message.term:
        yield "no usable snapshot"
        return
    try:
        membership = restore(snapshot.membership)
    except MembershipError as error:
        yield str(error)
        return
    if not membership.quorum.incoming:
        yield "snapshot without voters"


def _proposal(message: Message) -> Iterable[str]:
    if message.snapshot is not None or not message.entries:
        yield "no entries, or a snapshot"


def _read(message: Message) -> Iterable[str]:
    if message.snapshot is not None or len(message.entries) != 1:
        yield f"{len(message.entries)} contexts, expected one"
    elif len(message.entries[0].data) > MAX_CONTEXT_BYTES:
        yield f"context of {len(message.entries[0].data)} bytes, the limit is {MAX_CONTEXT_BYTES}"


_SHAPES: dict[MessageKind, Callable[[Message], Iterable[str]]] = {
    MessageKind.APP: _append,
    MessageKind.VOTE: _vote,
    MessageKind.PRE_VOTE: _vote,
    MessageKind.SNAP: _snapshot,
    MessageKind.PROP: _proposal,
    MessageKind.READ_INDEX: _read,
    MessageKind.READ_INDEX_RESP: _read,
}
