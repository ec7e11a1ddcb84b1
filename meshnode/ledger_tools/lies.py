"""Lies: what a ledger knows of validators that lied, evidence by itself, and two ledgers held against each other.

Nothing but the genesis is trusted; of two ledgers neither is believed more than the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from meshnode import keys
from meshnode.ledger import rows
from meshnode.ledger_tools.inspection import open_ledger
from meshnode.machine import Machine
from meshnode.market import Mechanisms
from meshnode.store import LedgerReader, StoreError, chain_of, microgrids, proofs, read_genesis
from meshnode.store.place import check_genesis
from meshnode.store.rows import DamagedRow, read_certificate_row, read_log_row
from protocols import cose
from protocols.cose import TAG_COSE_SIGN1, EnvelopeError
from protocols.evidence import Case, EvidenceKind, judge
from protocols.histories import History, extract
from protocols.records import Election, Evidence, Genesis, RecordError, read_as, to_payload
from protocols.roll import Roll
from protocols.trial import EvidenceError

_STATUS = {rows.FINDING_PROVED: "proved", rows.FINDING_ASKED: "asked", rows.FINDING_ANSWERED: "answered"}
# More than a microgrid has had in fifty years with an election a minute.
ALL_ELECTIONS = 1 << 25


class Lie(msgspec.Struct, frozen=True):
    """What one validator did.

    Attributes:
        name: of the member whose node it is, as the ledger says, or the genesis where only that is at hand; else empty.
        kind, term, height: see `protocols.evidence`.
        words: the end of a sentence that begins with the node.
        status: "proved", "asked" or "answered".
        source: the file that proves it, or the record id of the evidence on the ledger, in hex.
    """

    accused: str
    name: str
    kind: str
    term: int
    height: int
    words: str
    status: str
    source: str


class Comparison(msgspec.Struct, frozen=True):
    """Two ledgers of one microgrid.

    Attributes:
        parted_at: the first height at which both have a final block, and not the same; 0 if there is none.
        lies: who is convicted by both together; `asked`: who may have an answer that is in neither.
        unreadable: parts of the ledgers that say nothing.
    """

    parted_at: int
    lies: tuple[Lie, ...]
    asked: tuple[Lie, ...]
    evidence: tuple[Evidence, ...]
    unreadable: int


def show_lies(directory: Path, mechanisms: Mechanisms, chain_id: bytes | None = None) -> list[Lie]:
    """Who was found out: on the ledger as executed here, and in the files beside it.

    Args:
        directory: of a node or of a microgrid.
        chain_id: which microgrid; needed if the node has several.
    Raises:
        StoreError: no ledger, several, or a damaged one; or a file beside it that is no evidence.
    """
    with open_ledger(directory, chain_id) as ledger:
        machine, _ = ledger.execute(ledger.reader.standing().final_height, mechanisms)
        roll = machine.roll
        found: dict[tuple[bytes, int, int], Lie] = {}
        for key, row in machine.state.findings.items():
            place = ledger.reader.find_record(row.record_id)
            assert place is not None, "what the state has found out stands in a final block"
            record = ledger.block(place[0]).records[place[1]].record
            assert isinstance(record, Evidence)
            lie = _lie(judge(record, roll, keys.verify), roll, row.record_id.hex(), _STATUS[row.status])
            found[key] = _named(lie, machine)
        kept, faults = proofs.kept(ledger.place)
        if faults:
            raise StoreError("\n".join(faults))
        for path, evidence in kept.items():
            try:
                case = judge(evidence, roll, keys.verify)
            except EvidenceError as error:
                raise StoreError(f"{path}: proves nothing ({error})\n    remove the file") from error
            lie = _named(_lie(case, roll, str(path)), machine)
            found.setdefault((case.accused, int(case.kind), case.term), lie)
    return [found[key] for key in sorted(found)]


def roll_of_genesis(genesis_bytes: bytes) -> Roll:
    """Who votes by the genesis alone. Raises StoreError if it is none."""
    return Roll.of_genesis(check_genesis(genesis_bytes), chain_of(genesis_bytes))


def roll_of_ledger(directory: Path, mechanisms: Mechanisms, chain_id: bytes | None = None) -> Roll:
    """Who votes and has voted, by the ledger of a node or a microgrid as it is executed here.

    Raises:
        StoreError: no ledger, several, or a damaged one.
    """
    with open_ledger(directory, chain_id) as ledger:
        machine, _ = ledger.execute(ledger.reader.standing().final_height, mechanisms)
        return machine.roll


def check_lie(data: bytes, roll: Roll) -> Lie:
    """Check evidence with nothing but a roll of those who could vote.

    Args:
        data: an `Evidence`, or the envelope in which one was handed in.
    Raises:
        EvidenceError: it does not prove its case.
        RecordError: it is no evidence at all.
    """
    if data[:1] == TAG_COSE_SIGN1:
        try:
            data = cose.decode(data).payload
        except EnvelopeError as error:
            raise RecordError(f"not an envelope: {error}") from error
    return _lie(judge(read_as(Evidence, data), roll, keys.verify), roll, "")


def compare(
    directories: Sequence[Path], owners: Sequence[bytes], mechanisms: Mechanisms, chain_id: bytes | None = None
) -> Comparison:
    """Hold ledgers of one microgrid against each other.

    Who votes is taken from what both agree on: the first ledger, executed up to where they part.

    Args:
        owners: for each directory the device key id of the node whose disk it is; empty if unknown.
    Raises:
        StoreError: a ledger is missing or cannot be read, or they are of different microgrids.
    """
    places = [_place(directory, chain_id) for directory in directories]
    genesis_bytes = read_genesis(places[0])
    chain = chain_of(genesis_bytes)
    for place in places[1:]:
        if chain_of(read_genesis(place)) != chain:
            raise StoreError(f"{place}: the ledger of another microgrid than {places[0]}\n    compare two of one")
    readers = [LedgerReader(place) for place in places]
    try:
        different = _first_difference(readers)
        final = min(reader.standing().final_height for reader in readers)
        with open_ledger(places[0], None) as ledger:
            machine, _ = ledger.execute(min(final, different - 1), mechanisms)
        roll = machine.roll
        histories = [
            _history(place, reader, max(1, different - 1), owner)
            for place, reader, owner in zip(places, readers, owners, strict=True)
        ]
    except DamagedRow as damage:
        raise StoreError(f"a ledger is damaged: {damage}\n    verify both: meshnode ledger verify DIR") from damage
    finally:
        for reader in readers:
            reader.close()
    found = extract(histories, roll, keys.verify)
    return Comparison(
        parted_at=different if different <= final else 0,
        lies=tuple(_named(_lie(judge(one, roll, keys.verify), roll, ""), machine) for one in found.evidence),
        asked=tuple(_named(_lie(judge(one, roll, keys.verify), roll, ""), machine) for one in found.open),
        evidence=(*found.evidence, *found.open),
        unreadable=found.unreadable,
    )


def encode(evidence: Evidence) -> bytes:
    """The bytes of an `.evidence` file."""
    return to_payload(evidence)


def _place(directory: Path, chain_id: bytes | None) -> Path:
    places = [place for place in microgrids(directory) if chain_id in (None, chain_of(read_genesis(place)))]
    if len(places) != 1:
        raise StoreError(f"{directory}: {len(places)} ledgers are meant; name the microgrid's own directory")
    return places[0]


def _first_difference(readers: Sequence[LedgerReader]) -> int:
    """The first height at which the logs differ, or one of them ends."""
    last = min(reader.standing().last_height for reader in readers)
    height = 0
    for height, found in enumerate(zip(*(reader.log_rows(1, last + 1) for reader in readers), strict=True), 1):
        if len({read_log_row(row).block_hash for row in found}) != 1:
            return height
    return height + 1


def _history(place: Path, reader: LedgerReader, first: int, owner: bytes) -> History:
    """What a ledger holds from a height on; before it all are the same, and nothing there convicts."""
    kept, _ = proofs.kept(place)
    statements = [data for evidence in kept.values() for data in evidence.statements]
    high = 1 << 62
    return History(
        owner=owner,
        blocks=tuple(read_log_row(row).data for row in reader.log_rows(first, high)),
        certificates=tuple(read_certificate_row(row)[1] for row in reader.certificate_rows(first, high)),
        elections=(*reader.elections_after(0, ALL_ELECTIONS), *filter(_is_election, statements)),
        statements=tuple(data for data in statements if data[:1] == TAG_COSE_SIGN1),
    )


def _is_election(data: bytes) -> bool:
    try:
        read_as(Election, data)
    except RecordError:
        return False
    return True


def _lie(case: Case, roll: Roll, source: str, status: str = "") -> Lie:
    usual = {EvidenceKind.OLDER_TIP: "asked", EvidenceKind.ANSWER: "answered"}.get(case.kind, "proved")
    return Lie(
        accused=case.accused.hex(),
        name=_name(roll.genesis, roll.key_of(case.accused)),
        kind=case.kind.name,
        term=case.term,
        height=case.height,
        words=case.words,
        status=status or usual,
        source=source,
    )


def _named(lie: Lie, machine: Machine) -> Lie:
    """With the member's name by the ledger, which knows more devices than the genesis does."""
    key = machine.state.keys.get(bytes.fromhex(lie.accused))
    return lie if key is None else msgspec.structs.replace(lie, name=machine.state.accounts[key.account].name)


def _name(genesis: Genesis, device_key: bytes | None) -> str:
    return next((member.name for member in genesis.members if member.device_key == device_key), "")
