"""Machine: the replicated state machine. Blocks in, events out, the same on every node.

`apply` asks no clock, no random number, no disk and no text parser: what time it is
stands in the block's header, what the rules are in the tree of the binding. Every
record of a final block gets a verdict; one that loses a conflict stays in the block.
"""

from __future__ import annotations

import msgspec

from meshnode.execution import EXECUTED, Call, agents, auctions, governance, happenings, orders, watching
from meshnode.execution.auctions import AuctionClosed
from meshnode.execution.call import boundary_s
from meshnode.execution.floor import Floor, Moment, OrderGone, OrderReversed, OrderTraded, Pair
from meshnode.execution.joining import Admitted
from meshnode.ledger import (
    assets,
    certificates,
    contracts,
    credit,
    holds,
    installations,
    members,
    minting,
    proposals,
    rows,
    standing,
    validators,
)
from meshnode.ledger.certificates import CertificatesMoved
from meshnode.ledger.findings import FoundOut
from meshnode.ledger.governance_rows import Proposal
from meshnode.ledger.holds import HoldEnded
from meshnode.ledger.movements import Moved
from meshnode.ledger.proposals import BindingMoved
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Band, Mechanisms
from meshnode.market.mechanism import ability_text
from meshnode.rules import Rules, rules_of, zone_said
from meshnode.settlement import (
    billing_periods,
    closing,
    delivering,
    driven,
    introducing,
    parameters,
    storage_terms,
    storing,
)
from meshnode.settlement.bills import BillIssued
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected, PeriodFinal
from meshnode.settlement.delivering import DeliveryEnded
from meshnode.settlement.dues import DuesPosted
from meshnode.settlement.restoring import Taken
from meshnode.settlement.storing import FeeCharged
from protocols.block import Block, SignedRecord
from protocols.certificate import QuorumConfig
from protocols.cose import Verifier
from protocols.evidence import Case, judge
from protocols.records import Evidence, Genesis, QuorumChange, Record, Spoken, genesis_faults
from protocols.records.feeds import PRICES
from protocols.roll import Roll
from protocols.trial import EvidenceError
from zencode.binding import decode
from zencode.sentences import CATALOGUE_VERSION

# State hashes are remembered this far back: a header names a state height that is
# never older than the leader's window of uncertified blocks.
STATE_HASHES_KEPT = 2048


class RecordDone(msgspec.Struct, frozen=True):
    """What became of a record of a block."""

    record_id: bytes
    position: int
    verdict: Verdict
    account: bytes
    record: Record


Ended = HoldEnded | DeliveryEnded
MarketDone = OrderTraded | OrderGone | OrderReversed | AuctionClosed
PeriodDone = PeriodClosed | PeriodCorrected | PeriodFinal | FeeCharged | billing_periods.Event
MemberDone = Admitted | DuesPosted | BillIssued | BindingMoved
Event = RecordDone | CertificatesMoved | FoundOut | Moved | Taken | Ended | MarketDone | PeriodDone | MemberDone


class StateMismatch(Exception):
    """Two executions of one chain differ; the node must stop acknowledging and say so."""


# How a person has a node that stopped go on.
UPGRADE = "start the node again: it then catches up by itself"


class Lacking(Exception):
    """A binding begins that this version cannot carry out; the node stops before it, and goes on once upgraded."""


class Machine:
    """One microgrid's ledger.

    Attributes:
        state: the tables; read them, never write.
        height: of the last applied block.
        mechanisms: what this node has.
        verifier: checks Ed25519 signatures.
        floor: the books of standing orders.
    """

    def __init__(
        self,
        genesis: Genesis,
        chain_id: bytes,
        mechanisms: Mechanisms,
        verifier: Verifier,
        state: State | None = None,
        catalogue: int = CATALOGUE_VERSION,
    ) -> None:
        """Found the ledger, or take it up from a snapshot's state.

        Args:
            mechanisms: what this node supports.
            verifier: checks Ed25519 signatures.
            state: of a snapshot whose hash the caller has checked.
            catalogue: newest catalogue version of bindings that this node has.
        Raises:
            BindingTreeError: the genesis has no binding that this version understands.
            MechanismError: the binding chooses a mechanism that this node lacks.
            Lacking: it needs a newer catalogue.
            ValueError: the genesis contradicts itself, with all that is wrong.
        """
        self.genesis = genesis
        self.chain_id = chain_id
        self.mechanisms = mechanisms
        self._catalogue = catalogue
        self.verifier = verifier
        self._rules: dict[bytes, Rules] = {}
        self.state = State() if state is None else state
        if state is None:
            self._found()
        self.floor = Floor(self.state)
        self._hashes: dict[int, bytes] = {self.height: self.state.state_hash()}

    @property
    def roll(self) -> Roll:
        """Everybody who votes or has voted, for judging what they signed."""
        return Roll(self.genesis, self.chain_id, tuple(one.config for one in validators.decisions(self.state)))

    def hear(self, evidence: Evidence) -> Case | None:
        """What evidence comes to; None if it proves nothing."""
        try:
            return judge(evidence, self.roll, self.verifier)
        except EvidenceError:
            return None

    @property
    def abilities(self) -> rows.NodeSupport:
        """What this node can execute, as it declares it on the ledger."""
        return rows.NodeSupport(self._catalogue, self.mechanisms.declared())

    @property
    def height(self) -> int:
        """Height of the last applied block."""
        return self.state.meta.row.height

    @property
    def time_s(self) -> int:
        """Time of the last applied block."""
        return self.state.meta.row.time_s

    @property
    def next_period_s(self) -> int:
        """Start of the oldest period that is not closed."""
        return self.state.meta.row.next_period_s

    @property
    def quorum(self) -> QuorumConfig:
        """The quorum configuration of the next height."""
        return validators.at(self.state, self.height + 1)

    def quorum_of(self, config_hash: bytes) -> QuorumConfig | None:
        """The configuration of a hash, if it is that of the next height or has been decided to follow it.

        No other one can agree on anything that is not executed yet; what an older one signs for it is worth nothing.
        """
        for config in (self.quorum, validators.decided(self.state)):
            if config.config_hash() == config_hash:
                return config
        return None

    def state_hash(self, height: int | None = None) -> bytes | None:
        """The state hash after `height` (default: now); None if it is not remembered."""
        return self._hashes.get(self.height if height is None else height)

    def rules(self, period_start_s: int | None = None) -> Rules:
        """The rules in force for a period (default: the oldest open one)."""
        return self._rules_of(self._binding(self.next_period_s if period_start_s is None else period_start_s))

    def binding_hash(self) -> bytes:
        """Hash of the binding in force for the oldest open period."""
        return self._binding(self.next_period_s)

    def close_due_s(self) -> int:
        """From which block time on the oldest open period closes even if readings are missing."""
        rules = self.rules().period
        return self.next_period_s + rules.length_s + rules.grace_s

    def close_possible(self, time_s: int) -> bool:
        """Whether a block with this time, even without records, would close a period."""
        start, rules = self.next_period_s, self.rules().period
        end = start + rules.length_s
        return time_s >= end + rules.grace_s or (time_s >= end and closing.is_complete(self.state, start))

    def check_view(self, block: Block) -> str | None:
        """The gate of view: membership, signatures and validity against the state at the header's state height.

        Needs that height to be applied; what was applied later does not change the
        answer, so all nodes agree on it whenever they ask.

        Returns:
            Why the block must not be acknowledged; None if nothing speaks against it.
        """
        height = block.header.state_height
        if height > self.height:
            return f"block {block.header.height}: state height {height} is not applied here yet"
        if block.header.next_validators != validators.announced(self.state, height).config_hash():
            return f"block {block.header.height}: announces other validators than the state says: OTHER_VALIDATORS"
        for position, signed in enumerate(block.records):
            verdict = self.check_record(signed, block.header.time_s, height)
            if verdict != Verdict.ACCEPTED:
                return f"block {block.header.height}, record {position}: {verdict.name}"
        return None

    def check_record(
        self, signed: SignedRecord, time_s: int, height: int | None = None, *, verified: bool = False
    ) -> Verdict:
        """What stands against a record before any block carries it: key, signature, validity.

        Args:
            time_s: of the block, or the node's clock for a record that came by gossip.
            height: state to look at; default the last applied.
            verified: the signature was checked before; only membership and time can have changed.
        """
        record = signed.record
        key = members.signer(self.state, signed.key_id, self.height if height is None else height)
        fault = _fault_of_key(record, key)
        if key is None or fault != Verdict.ACCEPTED:
            return fault
        if isinstance(record, Spoken):
            if record.valid_until_s < time_s:
                return Verdict.EXPIRED
            if record.valid_until_s > time_s + self.genesis.limits.max_validity_s:
                return Verdict.VALID_TOO_LONG
        if isinstance(record, QuorumChange):
            fault = validators.fault_in_view(self.state, record, key, self.height if height is None else height)
            if fault != Verdict.ACCEPTED:
                return fault
        if not verified and not signed.envelope.verify(record.KIND, self.chain_id, key.public_key, self.verifier):
            return Verdict.BAD_SIGNATURE
        return Verdict.ACCEPTED

    def apply(self, block: Block) -> tuple[Event, ...]:
        """Execute the next final block.

        Returns:
            What was held or delivered and whose time has passed, what became of orders and auctions by then, a
            verdict for each record in order, then the periods that closed.
        Raises:
            StateMismatch: the header's state hash is not ours for its state height.
            Lacking: a binding begins with this block that this node cannot carry out. Nothing was changed.
        """
        head = block.header
        if head.height != self.height + 1:
            raise ValueError(f"block {head.height} after height {self.height}")
        expected = self._hashes.get(head.state_height)
        if expected is not None and expected != head.state_hash:
            raise StateMismatch(
                f"state after height {head.state_height}: ours is {expected.hex()}, "
                f"the leader {block.leader.hex()} signed {head.state_hash.hex()}"
            )
        self._check_able(head.height, head.time_s)
        events: list[Event] = [*holds.expire(self.state, head.time_s), *delivering.lapse(self.state, head.time_s)]
        moment = Moment(head.height, head.time_s, events)
        governance.begin(self, moment)
        happenings.begin(self, self.time_s, moment)
        watching.begin(self, self.time_s, moment)
        self._begin_periods(head.time_s)
        for code in self._introduce(head.time_s):
            self.floor.stored(code)
        self.floor.expire(moment)
        if parameters.cap_begins(self.state, self.time_s, head.time_s):
            self._keep_within(moment)
        auctions.close_due(self.state, self.floor, moment)
        self.floor.look_again(moment)
        for position, signed in enumerate(block.records):
            verdict, account = self._execute(signed, head.height, position, head.time_s, events)
            self.floor.look_again(moment)
            events.append(RecordDone(signed.record_id, position, verdict, account, signed.record))
        validators.apply_header(self.state, head.height, head.state_height)
        governance.review(self, moment, block.records)
        next_period_s, next_final_s = self._close_periods(head.time_s, events)
        self.floor.look_again(moment)
        agents.act_all(self, moment, len(block.records))
        self.floor.look_again(moment)
        self.state.meta.put(0, rows.Meta(head.height, head.time_s, next_period_s, next_final_s))
        self._hashes[head.height] = self.state.state_hash()
        self._hashes.pop(head.height - STATE_HASHES_KEPT, None)
        return tuple(events)

    def check_invariants(self) -> None:
        """Assert conservation over the whole state; slow, for tests and verification."""
        assets.check_conservation(self.state)
        closing.check_claims(self.state)
        billing_periods.check(self.state)
        minting.check(self.state)
        self.floor.check()
        auctions.check(self.state)
        agents.check(self.state)
        delivering.check(self.state)
        storing.check(self.state)
        driven.check(self.state)
        certificates.check(self.state)
        proposals.check(self.state)

    def _found(self) -> None:
        genesis, state = self.genesis, self.state
        faults = genesis_faults(genesis)
        if faults:
            raise ValueError("genesis: " + "; ".join(faults))
        zone = zone_said(decode(genesis.binding))
        if zone not in (None, genesis.zone):
            raise ValueError(f"genesis: the times of day of the binding are those of {zone}, not of {genesis.zone}")
        rules = rules_of(genesis.binding, genesis.limits, self.mechanisms, genesis.zone_changes)
        self._rules[rules.binding] = rules
        if rules.catalogue > self._catalogue:
            raise Lacking(
                f"the founding binding needs catalogue version {rules.catalogue}, this node has {self._catalogue}; "
                f"upgrade meshnode and {UPGRADE}"
            )
        first_period_s = boundary_s(genesis.start_s, rules.period.length_s)
        state.meta.put(0, rows.Meta(0, genesis.start_s, first_period_s, first_period_s))
        state.bindings.put(rules.binding, rows.BindingTree(genesis.binding))
        state.schedule.put(0, rows.Scheduled(rules.binding))
        for entry in genesis.members:
            members.found(state, entry, 0, genesis.start_s, first_period_s)
        validators.found(state, genesis)
        self._introduce(genesis.start_s)

    def _binding(self, period_start_s: int) -> bytes:
        in_force = b""
        for from_s, row in self.state.schedule.items():
            if from_s > period_start_s:
                break
            in_force = row.binding
        return in_force

    def _rules_of(self, binding: bytes) -> Rules:
        known = self._rules.get(binding)
        if known is None:
            tree = self.state.bindings[binding].tree
            known = self._rules[binding] = rules_of(
                tree, self.genesis.limits, self.mechanisms, self.genesis.zone_changes
            )
        return known

    def _execute(
        self, signed: SignedRecord, height: int, position: int, time_s: int, events: list[Event]
    ) -> tuple[Verdict, bytes]:
        record = signed.record
        key = members.signer(self.state, signed.key_id, height - 1)
        fault = _fault_of_key(record, key)
        if key is None or fault != Verdict.ACCEPTED:
            return fault, b"" if key is None else key.account
        if isinstance(record, Spoken):
            used = self.state.nonces.get((signed.key_id, record.nonce))
            if used is not None:
                repeated = used.record_id == signed.record_id
                return Verdict.REPEATED if repeated else Verdict.NONCE_TAKEN, key.account
            self.state.nonces.put(
                (signed.key_id, record.nonce), rows.Nonce(signed.record_id, record.valid_until_s, height)
            )
        if key.account in self.state.frozen and isinstance(record, happenings.ACTS):
            return Verdict.FROZEN, key.account
        _, handler = EXECUTED[type(record)]
        call = Call(
            ledger=self,
            record_id=signed.record_id,
            account=key.account,
            height=height,
            position=position,
            time_s=time_s,
            events=events,
            signed=signed,
            key=key,
        )
        return handler(call, record), key.account

    def _keep_within(self, moment: Moment) -> None:
        """Other prices are allowed: what stands in books and auctions and is outside goes."""
        allowed = self.rules(moment.time_s).book.unbound()

        def band_of(pair: Pair) -> Band:
            return orders.band(self.state, allowed, moment.time_s, pair)

        self.floor.keep_within(moment, band_of)
        auctions.keep_within(self.state, moment, band_of)

    def _check_able(self, height: int, time_s: int) -> None:
        row = governance.due(self, height, time_s)
        missing = () if row is None else self.lacks(row)
        if row is not None and missing:
            raise Lacking(
                f"block {height} begins the binding {row.binding.hex()[:16]}, which this node cannot carry out: it "
                f"lacks {', '.join(missing)}; its ledger up to height {height - 1} is kept; upgrade meshnode (or "
                f"install the package with what is missing) and {UPGRADE}"
            )

    def lacks(self, row: Proposal) -> tuple[str, ...]:
        """What this node would need to carry out a binding that was proposed, and has not; empty if nothing."""
        supported = self.mechanisms.declared()
        catalogue = [f"catalogue version {row.catalogue} (it has {self._catalogue})"]
        mechanisms = [ability_text(pin) for pin in row.mechanisms]
        absent = [text for text, pin in zip(mechanisms, row.mechanisms, strict=True) if pin not in supported]
        return (*(catalogue if row.catalogue > self._catalogue else ()), *absent)

    def _begin_periods(self, time_s: int) -> None:
        """Write down the prices of the periods that have begun since the block before."""
        if not any(feed.drives in PRICES for _, feed in self.state.feeds.items()):
            return
        start = self.next_period_s
        while start <= time_s:
            if start > self.time_s:
                driven.begin(self.state, start)
            start += self._rules_of(self._binding(start)).period.length_s

    def _introduce(self, time_s: int) -> list[str]:
        """What exists by the binding's word alone is there, on the terms of the period that runs."""
        rules = self.rules(time_s).period
        start_s, next_s = time_s - time_s % rules.length_s, boundary_s(time_s, rules.length_s)
        return introducing.introduce(self.state, rules.agreed, rules.tariff, start_s, next_s, time_s)

    def _close_periods(self, time_s: int, events: list[Event]) -> tuple[int, int]:
        meta = self.state.meta.row
        start, final = meta.next_period_s, meta.next_final_s
        for _ in range(self.genesis.limits.max_periods_per_block):
            binding = self._binding(start)
            rules = self._rules_of(binding).period
            end = start + rules.length_s
            if time_s < end or (time_s < end + rules.grace_s and not closing.is_complete(self.state, start)):
                break
            closed = closing.close(self.state, start, rules, binding, lambda other: self._rules_of(other).period)
            events += [closed, *billing_periods.closed(self.state, closed, rules, self.genesis.zone_changes)]
            introducing.note_cover(self.state, start, closed.settlement.lines)
            events += storing.charge_fees(self.state, storage_terms.fees(self.state, rules, start))
            events += happenings.period_closed(self, start, self._rules_of(binding))
            moment = Moment(meta.height + 1, time_s, events)
            watching.period_closed(self, start, self._rules_of(binding), closed.metered, moment)
            start = end
        if start > meta.next_period_s:
            # No block may carry their records any more.
            self.state.nonces.drop(time_s)
            contracts.forget(self.state, start)
            credit.forget(self.state, time_s)
            standing.forget(self.state, time_s)
        while final < start:
            rules = self._rules_of(self._binding(final)).period
            if time_s <= final + rules.length_s + rules.correction_s:
                break
            events.append(closing.finish(self.state, final, rules))
            installations.forget(self.state, final + rules.length_s)
            final += rules.length_s
            history_s = max(rules.estimate_days * closing.DAY_S, closing.RECENT_PERIODS * rules.length_s)
            closing.forget(self.state, final - history_s, rules.length_s)
        if final > meta.next_final_s:
            self.floor.close(final)
            events += billing_periods.finish(self.state, final)
            parameters.forget(self.state, final)
        return start, final


def _fault_of_key(record: Record, key: rows.Key | None) -> Verdict:
    """Whether this version executes such records, and this key may sign them."""
    executed = EXECUTED.get(type(record))
    if executed is None:
        return Verdict.NOT_EXECUTED
    if key is None:
        return Verdict.UNKNOWN_KEY
    purpose, _ = executed
    return Verdict.ACCEPTED if key.purpose == purpose else Verdict.WRONG_KEY
