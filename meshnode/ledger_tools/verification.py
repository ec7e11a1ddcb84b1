"""Verification: a ledger on disk is checked from its genesis on, as if nobody could be trusted.

For every block: the row's checksum, the rules of form with the leader's signature and the
election certificate, every record's signature and right to be there, the state hash that
the leader signed, and the execution itself. For every certificate: all its signatures, not
only a quorum of them. At the end: conservation, and a certificate that covers the last block.

What it cannot see: blocks that were cut off together with all that spoke of them. Compare
height and state hash with a neighbour's to find that.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from meshnode import keys
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine, RecordDone, StateMismatch
from meshnode.market import Mechanisms
from meshnode.store import LedgerReader, Standing, StoreError, chain_of, microgrids, read_genesis
from meshnode.store.place import MICROGRIDS, check_genesis
from meshnode.store.rows import DamagedRow, read_certificate_row, read_log_row
from protocols import block as blocks
from protocols.block import Block, BlockError, FormError, Parent
from protocols.cbor import INT64_MIN
from protocols.certificate import check_certificate
from protocols.raft import EntryType
from protocols.records import Certificate, RecordError, read_as
from zencode.binding import PackageMissing

Progress = Callable[[int, int], None]
"""(blocks checked, blocks in all); called after every block."""


class BadEntry(msgspec.Struct, frozen=True):
    """The first thing that does not hold.

    Attributes:
        height: of the block it belongs to; 0 for the genesis and the ledger as a whole.
        part: which part of the entry.
        found, expected: in words.
    """

    height: int
    part: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"height {self.height}, {self.part}" if self.height else self.part
        return f"{place}: found {self.found}; expected {self.expected}"


class ChainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked in one microgrid's ledger; all counts are of what held.

    Attributes:
        place: the microgrid's directory.
        blocks: final ones and those after them; `records` are of the final ones.
        verdicts: (name, how many records), by number of the verdict.
        signatures: Ed25519 signatures checked, of headers, votes, records and acks.
        state_hash: in hex, after `final_height`; "" if something was bad.
        state_at: the same after the height that was asked for; "" if that is not final here.
        state_proved_height: up to here certified headers name the state hash.
        bad: None if everything holds.
    """

    place: Path
    community: str = ""
    chain_id: str = ""
    blocks: int = 0
    records: int = 0
    verdicts: tuple[tuple[str, int], ...] = ()
    certificates: int = 0
    signatures: int = 0
    final_height: int = 0
    state_hash: str = ""
    state_at: str = ""
    state_proved_height: int = 0
    duration_s: float = 0.0
    bad: BadEntry | None = None


class Verification(msgspec.Struct, frozen=True):
    """The reports of all ledgers that were asked for."""

    chains: tuple[ChainReport, ...]

    @property
    def ok(self) -> bool:
        """Whether everything holds everywhere."""
        return all(chain.bad is None for chain in self.chains)


def verify(
    directory: Path, mechanisms: Mechanisms, progress: Progress | None = None, state_at: int | None = None
) -> Verification:
    """Check the ledgers of a node, or of one microgrid, from their genesis on.

    Args:
        directory: of the node (all its microgrids) or of a microgrid.
        mechanisms: what this node supports.
        state_at: a height whose state hash is wanted, to be compared with another node's.
    Raises:
        StoreError: there is no ledger, or it cannot be opened.
        MechanismError, PackageMissing: a binding uses a mechanism or a package that is not installed here.
    """
    return Verification(
        tuple([_verify_chain(place, mechanisms, progress, state_at) for place in microgrids(directory)])
    )


class _Bad(Exception):
    """Ends the check of one ledger."""

    def __init__(self, height: int, part: str, found: object, expected: str) -> None:
        super().__init__(part)
        self.entry = BadEntry(height, part, str(found), expected)


def _verify_chain(place: Path, mechanisms: Mechanisms, progress: Progress | None, state_at: int | None) -> ChainReport:
    began = time.monotonic()
    with LedgerReader(place) as reader:
        check = _Check(place, reader, mechanisms, progress, state_at)
        bad = None
        try:
            check.run()
        except _Bad as found:
            bad = found.entry
        except DamagedRow as found:
            bad = BadEntry(found.height, f"{found.table} row", f"checksum {found.found.hex()}", found.expected.hex())
        except StoreError as error:
            bad = BadEntry(error.height or 0, "database", str(error).partition("\n")[0], "a readable ledger")
    return check.report(time.monotonic() - began, bad)


class _Check:
    """One pass over one ledger, with what it has counted so far."""

    def __init__(
        self,
        place: Path,
        reader: LedgerReader,
        mechanisms: Mechanisms,
        progress: Progress | None,
        state_at: int | None,
    ) -> None:
        self._place = place
        self._reader = reader
        self._mechanisms = mechanisms
        self._progress = progress
        self._wanted = state_at
        self._state_at = b""
        self._signatures = 0
        self._verdicts: Counter[Verdict] = Counter()
        self._blocks = self._records = self._certificates = self._indexed = 0
        self._proved_height = 0
        self._community, self._chain = "", b""
        self._machine: Machine | None = None
        # State hashes from the state height of the last header on: it never decreases.
        self._hashes: dict[int, bytes] = {}

    def report(self, duration_s: float, bad: BadEntry | None) -> ChainReport:
        """What is known now."""
        state_hash = self._machine.state_hash() if self._machine is not None and bad is None else None
        return ChainReport(
            place=self._place,
            community=self._community,
            chain_id=self._chain.hex(),
            blocks=self._blocks,
            records=self._records,
            verdicts=tuple((verdict.name, self._verdicts[verdict]) for verdict in sorted(self._verdicts)),
            certificates=self._certificates,
            signatures=self._signatures,
            final_height=self._machine.height if self._machine is not None else 0,
            state_hash="" if state_hash is None else state_hash.hex(),
            state_at=self._state_at.hex() if bad is None else "",
            state_proved_height=self._proved_height,
            duration_s=duration_s,
            bad=bad,
        )

    def run(self) -> None:
        """Check everything.

        Raises:
            _Bad, DamagedRow, StoreError: the first thing that does not hold.
        """
        machine = self._machine = self._found()
        standing, tail, last_certificate = self._reader.tail()
        self._check_standing(standing, last_certificate)
        certificates = self._certificates_of(standing.final_height)
        certified = next(certificates, None)
        parent = Parent.of_genesis(machine.genesis, self._chain)
        for height, row in self._rows(standing, tail):
            block = self._check_block(machine, height, row, parent)
            if certified is not None and certified.height == height:
                self._check_certificate(machine, certified, block)
                certified = next(certificates, None)
            if height <= standing.final_height:
                self._execute(machine, block)
            self._blocks += 1
            parent = Parent.of(block)
            if self._progress is not None:
                self._progress(height, standing.last_height)
        known = self._reader.count_records(standing.final_height)
        if known != self._indexed:
            raise _Bad(0, "record index", f"{known} records", f"{self._indexed}, as the blocks have")
        try:
            machine.check_invariants()
        except AssertionError as error:
            raise _Bad(machine.height, "state", error, "conservation of every asset and of all claims") from error

    def _found(self) -> Machine:
        genesis_bytes = read_genesis(self._place)
        self._chain = chain_of(genesis_bytes)
        if self._place.parent.name == MICROGRIDS and self._place.name != self._chain.hex():
            raise _Bad(0, "genesis", f"SHA-256 {self._chain.hex()}", f"{self._place.name}, the name of its directory")
        try:
            genesis = check_genesis(genesis_bytes)
            self._community = genesis.community
            machine = Machine(genesis, self._chain, self._mechanisms, self._verify)
        except PackageMissing:
            # The ledger may be fine; this program cannot tell.
            raise
        except (StoreError, ValueError) as error:
            raise _Bad(0, "genesis", error, "one that this version can execute") from error
        self._remember_state(machine, 0)
        return machine

    def _check_standing(self, standing: Standing, last_certificate: int) -> None:
        final = standing.final_height
        if standing.chain_id != self._chain:
            raise _Bad(
                0, "standing row", f"chain {standing.chain_id.hex()}", f"that of the genesis, {self._chain.hex()}"
            )
        if not 0 <= final <= standing.last_height:
            raise _Bad(0, "standing row", f"final height {final}", f"one from 0 to {standing.last_height}")
        if last_certificate < final:
            found = f"the last one at height {last_certificate}"
            raise _Bad(last_certificate + 1, "certificate", found, f"one that makes heights up to {final} final")
        if last_certificate > final:
            raise _Bad(last_certificate, "certificate", "one here", f"none above the final height {final}")

    def _rows(self, standing: Standing, tail: list[tuple[Any, ...]]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """All rows of the log, each with the height that it must have."""
        height = 0
        for source in (self._reader.log_rows(INT64_MIN, standing.final_height + 1), tail):
            for row in source:
                height += 1
                if row[0] != height:
                    raise _Bad(height, "log row", f"one of height {row[0]} in its place", f"one of height {height}")
                yield height, row
        if height != standing.last_height:
            raise _Bad(height + 1, "log row", "none", f"blocks up to height {standing.last_height}")

    def _check_block(self, machine: Machine, height: int, row: tuple[Any, ...], parent: Parent) -> Block:
        entry = read_log_row(row)
        try:
            block = blocks.read(entry.data, self._chain)
        except BlockError as error:
            raise _Bad(height, "block", error, "a block of this format") from error
        for part, found, expected in (
            ("kind in the log row", entry.kind, int(EntryType.NORMAL)),
            ("term in the log row", entry.term, block.header.term),
            ("hash in the log row", entry.block_hash.hex(), block.block_hash.hex()),
        ):
            if found != expected:
                raise _Bad(height, part, found, str(expected))
        quorum = machine.quorum_of(parent.next_validators)
        if quorum is None:
            found = f"the hash {parent.next_validators.hex()} in the header before it"
            raise _Bad(height, "validators", found, "a configuration that the ledger has decided")
        try:
            blocks.check_form(block, parent, quorum, machine.genesis, self._chain, self._verify)
        except FormError as error:
            raise _Bad(height, "block", error, "what the rules of form allow") from error
        state_height = block.header.state_height
        # Blocks fetched with their certificate reach the disk before those below them are
        # executed; until they are final, their state may lie ahead of ours.
        if state_height <= machine.height:
            fault = machine.check_view(block)
            if fault is not None:
                raise _Bad(height, "record", fault, "records that their signers may make at that time")
            self._check_state_hash(block)
        return block

    def _check_state_hash(self, block: Block) -> None:
        head = block.header
        expected = self._hashes[head.state_height]
        if head.state_hash != expected:
            part = f"state hash of height {head.state_height}"
            raise _Bad(head.height, part, head.state_hash.hex(), f"{expected.hex()}, as executed here")
        for stale in [known for known in self._hashes if known < head.state_height]:
            del self._hashes[stale]

    def _certificates_of(self, final: int) -> Iterator[Certificate]:
        """The certificates of final heights, ascending, with their signatures still unchecked."""
        for row in self._reader.certificate_rows(INT64_MIN, final + 1):
            height, data = read_certificate_row(row)
            try:
                certificate = read_as(Certificate, data)
            except RecordError as error:
                raise _Bad(height, "certificate", error, "a certificate of this format") from error
            if certificate.height != height or height < 1:
                raise _Bad(height, "certificate", f"one of height {certificate.height}", f"one of height {height}")
            yield certificate

    def _check_certificate(self, machine: Machine, certificate: Certificate, block: Block) -> None:
        height = certificate.height
        if certificate.block != block.block_hash:
            raise _Bad(height, "certificate", f"block {certificate.block.hex()}", f"block {block.block_hash.hex()}")
        # It comes before its block is executed: the next height is the block's own.
        fault = check_certificate(certificate, block.header.term, machine.quorum, self._chain, self._verify)
        if fault is not None:
            raise _Bad(height, "certificate", fault, "a quorum of valid signatures and no bad one")
        self._certificates += 1
        self._proved_height = block.header.state_height

    def _execute(self, machine: Machine, block: Block) -> None:
        height = block.header.height
        try:
            events = machine.apply(block)
        except StateMismatch as error:
            raise _Bad(height, "state hash", error, "the one that was executed here") from error
        self._remember_state(machine, height)
        self._records += len(block.records)
        self._verdicts.update(event.verdict for event in events if isinstance(event, RecordDone))
        for position, record in enumerate(block.records):
            place = self._reader.find_record(record.record_id)
            # A record may come again in a later block, without effect; the index has the first.
            if place is None or place > (height, position):
                raise _Bad(height, f"record {position}", f"{place} in the record index", f"{(height, position)}")
            self._indexed += place == (height, position)

    def _remember_state(self, machine: Machine, height: int) -> None:
        state_hash = machine.state_hash()
        assert state_hash is not None
        self._hashes[height] = state_hash
        if height == self._wanted:
            self._state_at = state_hash

    def _verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self._signatures += 1
        return keys.verify(public_key, message, signature)
