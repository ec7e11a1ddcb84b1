"""Village: a small microgrid on paper - genesis, elections, blocks, acks, certificates, all really signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from protocols import block as blocks
from protocols import cose
from protocols.block import Block, Parent, SignedRecord
from protocols.certificate import QuorumConfig
from protocols.cose import FORMAT_VERSION
from protocols.locks import tip_of
from protocols.records import (
    DEFAULT_LIMITS,
    PHASE_COMMIT,
    QUORUM_MAJORITY,
    SIDE_BUY,
    Ack,
    Certificate,
    Clock,
    Election,
    Genesis,
    Header,
    MemberEntry,
    MeterEntry,
    OpenCounters,
    Order,
    Reading,
    Record,
    Tip,
    ValidatorEntry,
    Vote,
    chain_id,
    meter_id_of,
    to_payload,
)
from tests.protocols.keys import KeyPair, key_pair, verify

START_S = 1_800_000_000
HOMES = ("anna", "bela", "carla", "dora", "emil", "fritz", "gina", "hanna", "ivan", "jana")


def device(home: str) -> KeyPair:
    """The key pair of a home's node."""
    return key_pair(f"{home} device")


def meter(home: str) -> KeyPair:
    """The key pair of a home's meter."""
    return key_pair(f"{home} meter")


class Village:
    """A microgrid of `homes`, all of whose nodes vote unless `validators` says otherwise.

    keys: gives each name its key pair. administrators: homes that may admit members and create assets.
    """

    def __init__(
        self,
        homes: int = 3,
        *,
        keys: Callable[[str], KeyPair] = key_pair,
        administrators: Sequence[str] = (),
        **changes: Any,
    ) -> None:
        self.homes = HOMES[:homes]
        self.keys = keys
        fields: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "community": "Unterdorf",
            "start_s": START_S,
            "quorum_mode": QUORUM_MAJORITY,
            "limits": DEFAULT_LIMITS,
            "clock": Clock(kind=0),
            "zone": "Europe/Vienna",
            "zone_changes": ((0, 3600), (START_S + 10_000, 7200)),
            "max_drift_s": 10,
            "members": tuple(
                MemberEntry(
                    name=home,
                    roles=("administrator",) * (home in administrators) + ("consumer", "producer"),
                    member_key=keys(home).public,
                    device_key=keys(f"{home} device").public,
                    meters=(MeterEntry(meter_key=keys(f"{home} meter").public, metering_point=f"AT-{home}"),),
                )
                for home in self.homes
            ),
            "validators": tuple(ValidatorEntry(device_key=keys(f"{home} device").public) for home in self.homes),
            "binding": b"\x80",
            "binding_text": b"Surplus is shared.",
        }
        self.genesis = Genesis(**(fields | changes))
        self.chain_id = chain_id(self.genesis)
        self.quorum = QuorumConfig.of_genesis(self.genesis)
        self.root = Parent.of_genesis(self.genesis, self.chain_id)

    def voters(self) -> list[str]:
        """The homes whose nodes vote, as `quorum` says; whoever changes the validators sets it."""
        return [home for home in HOMES if self.quorum.has(self.keys(f"{home} device").public)]

    def sign(self, record: Record, key: KeyPair) -> SignedRecord:
        """A record signed for this microgrid."""
        return blocks.sign_record(record, self.chain_id, key.public, key.sign)

    def reading(self, home: str = "anna", **changes: Any) -> SignedRecord:
        """A signed reading of a home's meter."""
        fields: dict[str, Any] = {
            "meter": meter_id_of(self.keys(f"{home} meter").public),
            "period_start_s": START_S,
            "values": OpenCounters(import_wh=4_200_000, export_wh=17_500),
        }
        return self.sign(Reading(**(fields | changes)), self.keys(f"{home} meter"))

    def order(self, home: str = "anna", nonce: int = 1, **changes: Any) -> SignedRecord:
        """A signed bid of a member."""
        fields: dict[str, Any] = {
            "nonce": nonce,
            "valid_until_s": START_S + 3600,
            "side": SIDE_BUY,
            "period_start_s": START_S + 900,
            "energy_wh": 500,
            "price_u_kwh": 240_000,
        }
        return self.sign(Order(**(fields | changes)), self.keys(home))

    def election(
        self,
        leader: str,
        term: int,
        parent: Parent,
        voters: Sequence[str] | None = None,
        lock: Certificate | None = None,
        **changes: Any,
    ) -> Election:
        """An election certificate: `voters` (else all that may) vote for `leader` to follow `parent`.

        lock: of all of them, in byzantine mode.
        """
        tip = Tip(term=parent.term, height=parent.height, block=parent.block_hash)
        fields: dict[str, Any] = {"term": term, "candidate": device(leader).key_id, "candidate_tip": tip} | changes
        rows = []
        for voter in self.voters() if voters is None else voters:
            vote = Vote(**fields, voter_tip=tip, lock=tip_of(lock))
            rows.append(self.vote_row(vote, device(voter)))
        return Election(**fields, votes=tuple(sorted(rows)), lock=lock)

    def vote_row(self, vote: Vote, key: KeyPair) -> Any:
        """A vote as it stands in an election certificate."""
        envelope = cose.sign(Vote.KIND, self.chain_id, to_payload(vote), key.public, key.sign)
        lock = None if vote.lock is None else vote.lock.row()
        return (key.key_id, vote.voter_tip.row(), lock, envelope.signature)

    def block(
        self,
        parent: Parent | None = None,
        leader: str = "anna",
        term: int | None = None,
        records: Sequence[SignedRecord] = (),
        election: Election | None = None,
        signer: KeyPair | None = None,
        head: Mapping[str, Any] | None = None,
    ) -> Block:
        """A block that follows the rules, but for what `head` changes in its header."""
        parent = parent or self.root
        term = max(parent.term, 1) if term is None else term
        if election is None and term > parent.term:
            election = self.election(leader, term, parent)
        header = Header(
            height=parent.height + 1,
            term=term,
            parent=parent.block_hash,
            tx_root=blocks.tx_root([record.envelope_bytes for record in records]),
            tx_count=len(records),
            state_height=parent.state_height,
            state_hash=bytes(32),
            validators=parent.next_validators,
            next_validators=parent.next_validators,
            time_s=parent.time_s + 5,
            election=b"" if election is None else blocks.election_hash(election),
        )
        header = msgspec.structs.replace(header, **(head or {}))
        key = signer or device(leader)
        return blocks.make(header, records, election, self.chain_id, key.public, key.sign)

    def check(self, block: Block, parent: Parent | None = None, quorum: QuorumConfig | None = None) -> None:
        """The gate of form."""
        blocks.check_form(block, parent or self.root, quorum or self.quorum, self.genesis, self.chain_id, verify)

    def ack(self, block: Block, home: str, **changes: Any) -> tuple[bytes, Ack, bytes]:
        """(key id, ack, signature) of a home's node for a block."""
        head = block.header
        fields: dict[str, Any] = {
            "validators": self.quorum.config_hash(),
            "ack_term": head.term,
            "height": head.height,
            "block": block.block_hash,
            "phase": PHASE_COMMIT,
        }
        ack = Ack(**(fields | changes))
        key = device(home)
        envelope = cose.sign(Ack.KIND, self.chain_id, to_payload(ack), key.public, key.sign)
        return key.key_id, ack, envelope.signature

    def certificate(self, block: Block, homes: Sequence[str] | None = None, **changes: Any) -> Certificate:
        """A certificate of `homes` (else of all that vote) for a block."""
        acks = [self.ack(block, home, **changes) for home in (self.voters() if homes is None else homes)]
        ack = acks[0][1]
        return Certificate(
            validators=ack.validators,
            ack_term=ack.ack_term,
            height=ack.height,
            block=ack.block,
            signatures=tuple(sorted((key_id, signature) for key_id, _, signature in acks)),
            phase=ack.phase,
        )
