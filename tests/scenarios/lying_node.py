"""Lying node: `python -m tests.scenarios.lying_node run DIR ...` - the real program, lying when told to.

As long as a file `lie` lies in its directory, the validator signs a second block for every height
that it makes, and sends it to its last neighbour behind the first. Everything else is the
product's own code. No part of the product imports this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from meshnode import keys
from meshnode.cli.main import main
from meshnode.config import KEYS_DIRECTORY
from meshnode.network.validator import Validator
from meshnode.network.work import Outgoing, Work
from protocols import block as blocks
from protocols.parcel import Parcel, RaftMessage
from protocols.raft import MessageKind, Role

FLAG = "lie"


def lie_in(directory: Path) -> None:
    """Make the validator of this process a liar, while the flag is there."""
    key = keys.load(directory / KEYS_DIRECTORY / keys.DEVICE_KEY)

    def twin(validator: Validator, data: bytes) -> bytes | None:
        """Another block for the same place."""
        chain_id = validator.machine.chain_id
        block = blocks.read(data, chain_id)
        if block.leader != key.key_id or block.election is not None:
            return None
        header = msgspec.structs.replace(block.header, time_s=block.header.time_s + 1)
        return blocks.make(header, block.records, None, chain_id, key.public, key.sign).encoded

    def doubled(validator: Validator, sent: Iterable[Outgoing]) -> tuple[Outgoing, ...]:
        found = list(sent)
        if validator.role is not Role.LEADER or not (directory / FLAG).exists():
            return tuple(found)
        victim = max(number for _, number in validator.peers())
        for outgoing in tuple(found):
            message = outgoing.parcel.message
            if outgoing.to != victim or message is None or message.kind != MessageKind.APP or not message.entries:
                continue
            term, index, data = message.entries[-1]
            other = twin(validator, data)
            if other is not None:
                found.append(Outgoing(victim, _behind(outgoing, message, (term, index, other))))
        return tuple(found)

    honest_poll: Callable[[Validator], Work | None] = Validator.poll
    honest_persisted: Callable[[Validator], tuple[Outgoing, ...]] = Validator.persisted
    honest_urgent: Callable[[Validator], tuple[Outgoing, ...]] = Validator.urgent

    def poll(validator: Validator) -> Work | None:
        work = honest_poll(validator)
        return None if work is None else Work(doubled(validator, work.now), work.batch)

    Validator.poll = poll  # type: ignore[method-assign]
    Validator.persisted = lambda validator: doubled(validator, honest_persisted(validator))  # type: ignore[method-assign]
    Validator.urgent = lambda validator: doubled(validator, honest_urgent(validator))  # type: ignore[method-assign]


def _behind(outgoing: Outgoing, message: RaftMessage, entry: tuple[int, int, bytes]) -> Parcel:
    """The parcel again, with only the last entry, and that one exchanged."""
    before = message.entries[-2][0] if len(message.entries) > 1 else message.log_term
    raft = msgspec.structs.replace(message, index=entry[1] - 1, log_term=before, entries=(entry,))
    return msgspec.structs.replace(outgoing.parcel, message=raft)


if __name__ == "__main__":
    lie_in(Path(sys.argv[2]))
    main()
