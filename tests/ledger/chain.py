"""Chain: a small real microgrid that runs on paper - valid blocks with given records, really signed.

    chain = Chain()                                       # anna administers; all three homes vote
    chain.block(chain.reading("anna", 0, 1000), ...)      # makes, executes and certifies a block
    chain.store(directory)                                # the same as a ledger on disk

`Chain.block` plays leader and followers at once; nothing here is a shortcut that the
checks of the product would not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from meshnode.keys import verify
from meshnode.ledger import validators
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event, Machine, RecordDone
from meshnode.market import Mechanisms
from meshnode.market.registry import installed_mechanisms
from meshnode.store import Batch, Entry, HardState, SignState, Store, microgrid_directory
from protocols.block import Block, Parent, SignedRecord
from protocols.evidence import EvidenceKind
from protocols.raft import EntryType
from protocols.records import (
    SIDE_BUY,
    SIDE_SELL,
    AssetIssue,
    Cancel,
    Certificate,
    Evidence,
    Genesis,
    Join,
    KeyChange,
    Leave,
    MemberEntry,
    MeterEntry,
    OpenCounters,
    Order,
    QuorumChange,
    Reading,
    Record,
    Spoken,
    Tip,
    Transfer,
    Vote,
    account_id_of,
    join_request_bytes,
    meter_id_of,
    to_payload,
)
from tests.protocols.keys import KeyPair, key_pair
from tests.protocols.village import START_S, Village, device, meter
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

PERIOD_S = 900
VALID_S = 3600


def account(home: str) -> bytes:
    """The account id of a home."""
    return account_id_of(key_pair(home).public)


def meter_id(home: str, number: int = 0) -> bytes:
    """The id of a home's meter."""
    return meter_id_of(meter_key(home, number).public)


def meter_key(home: str, number: int = 0) -> KeyPair:
    """The key pair of one of a home's meters; 0 is the one everybody has."""
    return meter(home) if number == 0 else key_pair(f"{home} meter {number}")


def member(home: str, roles: Sequence[str] = ("prosumer",), meters: int = 1) -> MemberEntry:
    """A home as it stands in a genesis or a Join."""
    return MemberEntry(
        name=home,
        roles=tuple(sorted(roles)),
        member_key=key_pair(home).public,
        device_key=device(home).public,
        meters=tuple(
            MeterEntry(meter_key=meter_key(home, number).public, metering_point=f"AT-{home}-{number}")
            for number in range(meters)
        ),
    )


class Chain:
    """A microgrid and its ledger so far.

    Attributes:
        village: genesis and keys.
        machine: the state after the last certified block.
        blocks: all of them, also those that are not certified.
        certificates: by height.
        events: of each executed block, by height.
    """

    def __init__(
        self,
        homes: int = 3,
        binding: str | None = None,
        meters: int = 1,
        mechanisms: Mechanisms | None = None,
        **changes: Any,
    ) -> None:
        """Found it.

        Args:
            binding: its text; else the preset neighbour market.
            meters: of each home.
            changes: fields of the genesis.
        """
        text = preset("neighbour_market") if binding is None else binding
        names = Village(homes).homes
        genesis = {
            "members": tuple(
                member(home, ("administrator", "prosumer") if home == "anna" else ("prosumer",), meters)
                for home in names
            ),
            "binding": encode(read(text)),
            "binding_text": text.encode(),
        }
        self.village = Village(homes, **(genesis | changes))
        self.mechanisms = mechanisms or installed_mechanisms()
        self.machine = self.replay()
        self.blocks: list[Block] = []
        self.certificates: dict[int, Certificate] = {}
        self.events: dict[int, tuple[Event, ...]] = {}
        self.leader = "anna"
        self.term = 1
        self._nonce = 0

    @property
    def genesis(self) -> Genesis:
        return self.village.genesis

    @property
    def chain_id(self) -> bytes:
        return self.village.chain_id

    @property
    def head(self) -> Parent:
        """What the next block follows."""
        return Parent.of(self.blocks[-1]) if self.blocks else self.village.root

    @property
    def now_s(self) -> int:
        """Time of the last block."""
        return self.head.time_s

    def replay(self) -> Machine:
        """A machine at the genesis of this microgrid."""
        return Machine(self.genesis, self.chain_id, self.mechanisms, verify)

    # --- blocks

    def elect(self, leader: str) -> None:
        """The next block begins a new term with this leader."""
        self.leader, self.term = leader, self.term + 1

    def block(self, *records: SignedRecord, time_s: int | None = None, certify: bool = True, **changes: Any) -> Block:
        """Make the next block; unless told otherwise, certify it, and with it those before it.

        Args:
            time_s: of the block; default five seconds after the last.
            changes: fields of its header.
        """
        state_hash = self.machine.state_hash()
        assert state_hash is not None
        quorum = self.machine.quorum_of(self.head.next_validators)
        assert quorum is not None
        self.village.quorum = quorum
        fields = {
            "next_validators": validators.announced(self.machine.state, self.machine.height).config_hash(),
            "time_s": self.now_s + 5 if time_s is None else time_s,
            "state_height": self.machine.height,
            "state_hash": state_hash,
        }
        block = self.village.block(self.head, self.leader, self.term, records, head=fields | changes)
        self.village.check(block, self.head)
        self.blocks.append(block)
        if certify:
            self.certify()
        return block

    def certify(self) -> None:
        """A quorum acknowledges the last block; all blocks up to it are final and executed."""
        block = self.blocks[-1]
        self.certificates[block.header.height] = self.village.certificate(block)
        for final in self.blocks[self.machine.height :]:
            fault = self.machine.check_view(final)
            assert fault is None, fault
            self.events[final.header.height] = self.machine.apply(final)
            self.machine.check_invariants()

    def verdicts(self, height: int | None = None) -> list[Verdict]:
        """Verdicts of a block's records; default the last one's."""
        events = self.events[self.machine.height if height is None else height]
        return [event.verdict for event in events if isinstance(event, RecordDone)]

    def say(self, *records: SignedRecord, time_s: int | None = None) -> Verdict | list[Verdict]:
        """What became of a record (or of several) in a block of its own."""
        self.block(*records, time_s=time_s)
        found = self.verdicts()
        return found[0] if len(records) == 1 else found

    def claims(self) -> dict[bytes, int]:
        """All claims, in micro-units."""
        return {key: row.amount_u for key, row in self.machine.state.claims.items()}

    # --- records

    def sign(self, record: Record, key: KeyPair) -> SignedRecord:
        """A record with its signature."""
        return self.village.sign(record, key)

    def nonce(self) -> int:
        """A number that was not used before."""
        self._nonce += 1
        return self._nonce

    def spoken(self, **changes: Any) -> dict[str, int]:
        """Nonce and validity of a record made now."""
        return {"nonce": self.nonce(), "valid_until_s": self.now_s + VALID_S} | changes

    def reading(
        self,
        home: str,
        period: int,
        import_wh: int,
        export_wh: int = 0,
        *,
        number: int = 0,
        key: KeyPair | None = None,
        **changes: Any,
    ) -> SignedRecord:
        """Registers at the end of a period, counted from the genesis; -1 is the baseline before the first."""
        values = OpenCounters(import_wh=import_wh, export_wh=export_wh, produced_wh=changes.pop("produced_wh", None))
        fields = {"meter": meter_id(home, number), "period_start_s": period_s(period), "values": values}
        return self.sign(Reading(**(fields | changes)), key or meter_key(home, number))

    def change(self, action: int, home: str | None = None, *, by: str = "anna", **changes: Any) -> SignedRecord:
        """A change of the validators."""
        fields = {
            **self.spoken(),
            "previous": validators.decided(self.machine.state).config_hash(),
            "action": action,
            "device_key": None if home is None else device(home).public,
        }
        return self.sign(QuorumChange(**(fields | changes)), key_pair(by))

    def bid(self, home: str, period: int, energy_wh: int, price_u_kwh: int, **changes: Any) -> SignedRecord:
        """An order to buy."""
        return self._order(home, SIDE_BUY, period, energy_wh, price_u_kwh, **changes)

    def offer(self, home: str, period: int, energy_wh: int, price_u_kwh: int, **changes: Any) -> SignedRecord:
        """An order to sell."""
        return self._order(home, SIDE_SELL, period, energy_wh, price_u_kwh, **changes)

    def _order(self, home: str, side: int, period: int, energy_wh: int, price: int, **changes: Any) -> SignedRecord:
        fields = {"side": side, "period_start_s": period_s(period), "energy_wh": energy_wh, "price_u_kwh": price}
        return self.sign(Order(**(self.spoken() | fields | changes)), key_pair(home))

    def cancel(self, home: str, order: SignedRecord, **changes: Any) -> SignedRecord:
        """An order is withdrawn."""
        return self.sign(Cancel(**self.spoken(**changes), order=order.record_id), key_pair(home))

    def issue(self, home: str, asset: str = "SUN", amount: int = 100, cap: int = 1000, **changes: Any) -> SignedRecord:
        """An asset is created, or more of it minted."""
        fields = {"asset": asset, "asset_kind": 2, "cap": cap, "amount": amount}
        return self.sign(AssetIssue(**(self.spoken() | fields | changes)), key_pair(home))

    def speak(self, home: str, struct: type[Spoken], **fields: Any) -> SignedRecord:
        """A record of any kind that a member signs now."""
        return self.sign(struct(**(self.spoken() | fields)), key_pair(home))

    def transfer(self, home: str, to: str, amount: int, asset: str = "SUN", **changes: Any) -> SignedRecord:
        """Units of an asset go to somebody else."""
        fields = {"to": account(to), "asset": asset, "amount": amount}
        return self.sign(Transfer(**(self.spoken() | fields | changes)), key_pair(home))

    def join(self, newcomer: MemberEntry, by: str = "anna", proof: bytes | None = None, **changes: Any) -> SignedRecord:
        """A newcomer is admitted."""
        invitation = bytes(16)
        if proof is None:
            proof = key_pair(newcomer.name).sign(join_request_bytes(self.chain_id, invitation, newcomer))
        fields = {"member": newcomer, "invitation": invitation, "proof": proof}
        return self.sign(Join(**(self.spoken() | fields | changes)), key_pair(by))

    def leave(self, home: str, by: str | None = None) -> SignedRecord:
        """A membership ends."""
        return self.sign(Leave(**self.spoken(), account=account(home)), key_pair(by or home))

    def change_key(self, home: str, old: KeyPair, new: KeyPair | None, **changes: Any) -> SignedRecord:
        """A key is replaced or, without a new one, revoked."""
        fields = {"old_key_id": old.key_id, "new_key": None if new is None else new.public}
        return self.sign(KeyChange(**(self.spoken() | fields | changes)), key_pair(home))

    # --- lies

    def vote(self, voter: str, term: int, candidate: str, own: Tip | None = None) -> bytes:
        """The envelope of a node's vote, with the genesis as its tip if nothing else is said."""
        tip = own or Tip(term=0, height=0, block=self.chain_id)
        vote = Vote(term=term, candidate=device(candidate).key_id, candidate_tip=tip, voter_tip=tip)
        return self.sign(vote, device(voter)).envelope_bytes

    def evidence(self, kind: EvidenceKind, accused: str, *statements: bytes, signer: str) -> SignedRecord:
        """Evidence that a member's node hands in."""
        found = Evidence(
            **self.spoken(), evidence_kind=int(kind), accused=device(accused).key_id, statements=statements
        )
        return self.sign(found, device(signer))

    # --- on disk

    def store(self, directory: Path) -> Path:
        """Write everything as a node would have; the microgrid's directory."""
        Store.create(directory, to_payload(self.genesis))
        with Store.open(directory, self.chain_id) as store:
            for block in self.blocks:
                height = block.header.height
                final = max((known for known in self.certificates if known <= height), default=0)
                certificate = self.certificates.get(height)
                store.persist(
                    Batch(
                        entries=(entry_of(block),),
                        hard_state=HardState(block.header.term, 1, final),
                        sign_state=SignState(1, b"", block.header.term, height, block.block_hash, height),
                        certificates=() if certificate is None else ((height, to_payload(certificate)),),
                        final_height=final,
                    )
                )
        return microgrid_directory(directory, self.chain_id)


def entry_of(block: Block) -> Entry:
    """A block as an entry of the log."""
    head = block.header
    return Entry(head.height, head.term, int(EntryType.NORMAL), block.encoded, block.block_hash)


def period_s(period: int) -> int:
    """When a period begins, counted from the genesis."""
    return START_S + period * PERIOD_S


def a_busy_morning() -> Chain:
    """Two terms, six blocks: readings with a gap, orders with a partial fill, a token, a late correction."""
    chain = Chain()
    homes = ("anna", "bela", "carla")
    chain.block(*(chain.reading(home, -1, 10_000, 500) for home in homes))
    chain.block(
        chain.bid("anna", 0, 400, 200_000),
        chain.bid("bela", 0, 300, 180_000),
        chain.offer("carla", 0, 500, 120_000),
        chain.issue("anna"),
    )
    chain.block(chain.transfer("anna", "bela", 30), chain.transfer("bela", "carla", 500), certify=False)
    chain.block(
        chain.reading("anna", 0, 10_400, 500),
        chain.reading("carla", 0, 10_050, 1100),
        time_s=period_s(1) + 10,
    )
    chain.elect("bela")
    chain.block(time_s=period_s(1) + 130)
    chain.block(chain.reading("bela", 0, 10_350, 500), time_s=period_s(1) + 300)
    return chain


def rewrite(block: Block, **changes: Any) -> Block:
    """A block with other parts, for tests of what must not pass."""
    return msgspec.structs.replace(block, **changes)
