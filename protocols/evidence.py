"""Evidence: what proves that a validator signed what an honest one never signs.

An accusation names a rule, the accused, and the statements that prove the case to
anyone who has the genesis (and the quorum configurations since): no node, no network,
no trust in the accuser. Nothing but signatures of the accused convicts; what stands
beside them is held to them by hashes.

Why no honest node is ever convicted: it makes its blocks of one term in one chain and
never goes on in a term after a restart; it acknowledges in one term only what one
leader appended to one chain; it votes once in a term, with the true tip of its own
log; it checks every block and election before it builds on it. All of that is on its
disk before it signs. What it may do, and what therefore proves nothing: sign the same
again, acknowledge one block in two phases or in several terms, drop uncertified blocks
for those of a later leader.

In byzantine mode what a voter must still have is not the block but the lock on it, which its vote
names (`protocols.locks`): there OLDER_TIP asks for the lock, and ANSWER shows an election with a lower one.

The last is why OLDER_TIP alone is a question and not a verdict: who acknowledged a
block and later voted as if it had never had it must answer with an election that was
held between the two, and without that block. Then the question goes to who voted in
that one. Terms are numbers, so it ends, and the first who voted like that has nothing
to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import msgspec

from protocols import cbor, cose, merkle
from protocols.block import FormError, check_header
from protocols.certificate import check_election
from protocols.cose import HASH_BYTES, EnvelopeError
from protocols.locks import Place, place_of, place_of_tip
from protocols.records import (
    BLOCK_RECORDS,
    KINDS,
    PHASE_COMMIT,
    QUORUM_BYZANTINE,
    Ack,
    Election,
    Evidence,
    Header,
    RecordError,
    Tip,
    Vote,
    from_payload,
    kind_of,
)
from protocols.roll import Roll
from protocols.trial import EvidenceError, Trial


class EvidenceKind(IntEnum):
    """Which rule was broken. The numbers are part of the format."""

    HEADERS = 1
    ACKS = 2
    VOTES = 3
    FORM = 4
    TIP = 5
    EXTENSION = 6
    OLDER_TIP = 7
    ANSWER = 8


CONVICTING = frozenset(EvidenceKind) - {EvidenceKind.OLDER_TIP, EvidenceKind.ANSWER}
"""Kinds that leave nothing to say. OLDER_TIP asks for an answer, ANSWER is one."""


class Case(msgspec.Struct, frozen=True):
    """What an accusation comes to.

    Attributes:
        accused: device key id.
        term: in which the rule was broken; of OLDER_TIP and ANSWER that of the vote.
        height: which it is about.
        words: what the accused did, as the end of a sentence that begins with its name.
    """

    kind: EvidenceKind
    accused: bytes
    term: int
    height: int
    words: str

    @property
    def convicts(self) -> bool:
        """Whether this is a verdict, not a question or an answer."""
        return self.kind in CONVICTING


def check_evidence(evidence: Evidence, roll: Roll, verifier: cose.Verifier) -> str | None:
    """Why evidence does not prove its case; None if it does. Of OLDER_TIP: if the question must be answered."""
    try:
        judge(evidence, roll, verifier)
    except EvidenceError as error:
        return str(error)
    return None


def judge(evidence: Evidence, roll: Roll, verifier: cose.Verifier) -> Case:
    """Hear a case.

    The signature of whoever hands it in is for the caller to check; it proves nothing here.

    Raises:
        EvidenceError: what is missing to the proof.
    """
    try:
        kind = EvidenceKind(evidence.evidence_kind)
    except ValueError as error:
        raise EvidenceError(f"evidence of kind {evidence.evidence_kind} is unknown to this version") from error
    if roll.key_of(evidence.accused) is None:
        raise EvidenceError(f"{evidence.accused.hex()} never was a validator of this microgrid")
    trial = Trial(evidence, roll, verifier)
    term, height, words = _RULES[kind](trial)
    trial.end()
    return Case(kind, evidence.accused, term, height, words)


Found = tuple[int, int, str]
"""(term, height, words) of a case."""


def _headers(trial: Trial) -> Found:
    """[header, header]: two of one term, for one height or both to begin the term.

    Two chains of one leader in one term part either within the term, at one height, or
    before it, and then the term begins twice. So no links are needed.
    """
    one, two = trial.header_by_accused(), trial.header_by_accused()
    first, second = one.header, two.header
    if first.term != second.term:
        raise EvidenceError(f"headers of the terms {first.term} and {second.term}")
    if one.block_hash == two.block_hash:
        raise EvidenceError("both headers are one and the same")
    if first.height == second.height:
        return first.term, first.height, f"signed two different blocks for height {first.height} in term {first.term}"
    if not (first.election and second.election):
        raise EvidenceError(f"heights {first.height} and {second.height}: one block may follow from the other")
    low, high = sorted((first.height, second.height))
    return first.term, low, f"began term {first.term} twice, at heights {low} and {high}"


def _acks(trial: Trial) -> Found:
    """[ack, ack, header ...]: of one term, lower height first; headers from the higher block down to
    the one above the lower height, whose parent is another block."""
    low, high = trial.by_accused(Ack), trial.by_accused(Ack)
    if low.ack_term != high.ack_term:
        raise EvidenceError(f"acknowledged in the terms {low.ack_term} and {high.ack_term}")
    if low.height > high.height:
        raise EvidenceError("the ack of the lower height comes first")
    ancestor = high.block
    for height in range(high.height, low.height, -1):
        link = trial.header()
        if (link.block_hash, link.header.height) != (ancestor, height):
            raise EvidenceError(f"header {link.header.height}: does not link the two blocks")
        ancestor = link.header.parent
    if ancestor == low.block:
        raise EvidenceError(f"block {high.height} follows from block {low.height}, or is the same")
    words = f"acknowledged two histories in term {low.ack_term}, at heights {low.height} and {high.height}"
    return low.ack_term, low.height, words


def _votes(trial: Trial) -> Found:
    """[vote, vote]: for two candidates in one term. Whoever votes again for the same one only repeats itself."""
    one, two = trial.by_accused(Vote), trial.by_accused(Vote)
    if one.term != two.term:
        raise EvidenceError(f"votes of the terms {one.term} and {two.term}")
    if one.candidate == two.candidate:
        raise EvidenceError("both votes are for one candidate")
    return one.term, one.voter_tip.height, f"voted for two candidates in term {one.term}"


def _form(trial: Trial) -> Found:
    """[header, more]: the header breaks a rule of form, and `more` is what it is held against.

    Nothing, for a first block, or its parent's header; or its election certificate; or
    one record with its Merkle path that cannot be read, or two that are the same.
    """
    accused = trial.header_by_accused()
    head = accused.header
    more = trial.peek()[:1]
    if more == cose.TAG_COSE_SIGN1 or not more:
        try:
            check_header(head, accused.signer, trial.parent_of(accused), trial.roll.genesis.limits)
        except FormError as error:
            return head.term, head.height, f"signed a block that breaks the rules: {error}"
        raise EvidenceError(f"block {head.height} keeps the rules against its parent")
    if _is_array(more):
        return head.term, head.height, _bad_records(trial, head)
    election, election_hash = trial.election()
    if election_hash != head.election:
        raise EvidenceError(f"block {head.height} names another election certificate")
    config = trial.roll.config(head.validators)
    if config is None:
        raise EvidenceError(f"block {head.height}: nobody here knows its quorum configuration")
    tip = _Head.of_tip(election.candidate_tip)
    chain = trial.roll.chain_id
    fault = check_election(election, accused.signer, head.term, tip, config, chain, trial.verifier)
    if fault is None:
        raise EvidenceError(f"block {head.height}: its election certificate holds")
    return head.term, head.height, f"began a term without being elected: {fault}"


def _bad_records(trial: Trial, head: Header) -> str:
    place, data = _proved_record(trial, head)
    if trial.has_more():
        again, copy = _proved_record(trial, head)
        if again <= place:
            raise EvidenceError("two records are given in the order of their places")
        try:
            same = record_id_of(data, trial.roll.chain_id) == record_id_of(copy, trial.roll.chain_id)
        except (EnvelopeError, RecordError) as error:
            raise EvidenceError(f"records {place} and {again}: {error}") from error
        if not same:
            raise EvidenceError(f"records {place} and {again} are not the same")
        return f"put one record into block {head.height} twice"
    fault = record_fault(data)
    if fault is None:
        raise EvidenceError(f"record {place} of block {head.height} can be read")
    return f"put into block {head.height} what is no record: {fault}"


def _proved_record(trial: Trial, head: Header) -> tuple[int, bytes]:
    try:
        proof = cbor.decode(trial.take())
    except cbor.CborError as error:
        raise EvidenceError(f"record with its path: {error}") from error
    if type(proof) is not list or [type(part) for part in proof] != [int, bytes, list]:
        raise EvidenceError("record with its path: expected [place, record, path]")
    place, data, path = proof
    if any(type(sibling) is not bytes or len(sibling) != HASH_BYTES for sibling in path):
        raise EvidenceError("record with its path: a path consists of hashes")
    if not merkle.verify_path(merkle.leaf_hash(data), place, head.tx_count, path, head.tx_root):
        raise EvidenceError(f"record {place}: the path does not lead to the Merkle root of block {head.height}")
    return place, data


def record_id_of(data: bytes, chain_id: bytes) -> bytes:
    """The record id of an envelope whose signature nobody has checked. Raises EnvelopeError, RecordError."""
    envelope = cose.decode(data)
    return cose.record_id(envelope.to_be_signed(kind_of(envelope.payload), chain_id))


def record_fault(data: bytes) -> str | None:
    """Why bytes in a block are no record that it may carry.

    A kind that this version does not know may be one of a newer version: no fault.
    """
    try:
        payload = cose.decode(data).payload
        kind = kind_of(payload)
        if kind not in KINDS:
            return None
        if kind not in BLOCK_RECORDS:
            return f"{KINDS[kind].__name__} does not belong into a block"
        from_payload(payload)
    except (EnvelopeError, RecordError) as error:
        return str(error)
    return None


def _tip(trial: Trial) -> Found:
    """[vote, header]: the accused voted with a tip of its own whose block is of another height or term.

    [vote]: the same where the tip names height 0 or the genesis, which open by themselves.
    A candidate's vote for itself names its tip twice; of other votes only the voter's own counts:
    what a candidate claimed is repeated, not vouched for, by those who vote for it.
    """
    vote = trial.by_accused(Vote)
    chain_id = trial.roll.chain_id
    tips = [vote.voter_tip, *([vote.candidate_tip] if vote.candidate == trial.accused else [])]
    if not trial.has_more():
        for tip in tips:
            if (tip.block == chain_id) != ((tip.term, tip.height) == (0, 0)):
                return vote.term, tip.height, f"voted in term {vote.term} with a tip that cannot be"
        raise EvidenceError("the tips do not contradict themselves")
    opened = trial.header()
    head = opened.header
    for tip in tips:
        if tip.block == opened.block_hash and (tip.term, tip.height) != (head.term, head.height):
            words = (
                f"voted in term {vote.term} with a false tip: its block is {head.height} of term {head.term}, "
                f"not {tip.height} of term {tip.term}"
            )
            return vote.term, tip.height, words
    raise EvidenceError("no tip of the accused names that block falsely")


def _extension(trial: Trial) -> Found:
    """[header, election] or [header, election, parent header]: the first block of a term extends another
    block than the one its leader was elected with."""
    accused = trial.header_by_accused()
    head = accused.header
    election, election_hash = trial.election()
    if election_hash != head.election:
        raise EvidenceError(f"block {head.height} names another election certificate")
    tip = election.candidate_tip
    words = f"was elected in term {head.term} with one tip and went on from another"
    if tip.block != head.parent or tip.height != head.height - 1 or tip.term >= head.term:
        return head.term, head.height, words
    parent = trial.parent_of(accused)
    if (tip.term, tip.height) != (parent.term, parent.height):
        return head.term, head.height, words
    raise EvidenceError(f"block {head.height} extends the tip that its election certificate names")


def _older_tip(trial: Trial) -> Found:
    """[ack, header of its block, vote]: acknowledged a block in its own term, and later voted with less."""
    _, vote, head = _lost_block(trial)
    term, height = kept_by(vote, head, trial.roll)
    words = (
        f"acknowledged block {head.height} of term {head.term} and voted in term {vote.term} "
        f"with height {height} of term {term}"
    )
    return vote.term, head.height, words


def _answer(trial: Trial) -> Found:
    """[ack, header, vote, election]: what OLDER_TIP asks, with an election between the two without that block."""
    _, vote, head = _lost_block(trial)
    election, _ = trial.election()
    fault = check_answer(election, head, vote, trial.roll, trial.verifier)
    if fault is not None:
        raise EvidenceError(fault)
    words = f"dropped block {head.height} of term {head.term} for the leader elected in term {election.term}"
    return vote.term, head.height, words


def check_answer(election: Election, lost: Header, vote: Vote, roll: Roll, verifier: cose.Verifier) -> str | None:
    """Why an election does not explain that a voter had `lost` no longer; None if it does.

    It was held after that block's term and before the vote, and whoever voted in it had
    less than that block: they are to be asked next.
    """
    tip = election.candidate_tip
    place = f"election certificate of term {election.term}"
    if not lost.term < election.term < vote.term:
        return f"{place}: expected one between the terms {lost.term} and {vote.term}"
    if _locks(lost, roll):
        if place_of(election.lock) >= (lost.term, lost.height):
            return f"{place}: its lock does not exclude block {lost.height}"
    elif (tip.term, tip.height) >= (lost.term, lost.height):
        return f"{place}: its tip, height {tip.height} of term {tip.term}, does not exclude block {lost.height}"
    fault: str | None = None
    for config in roll.configs:
        fault = check_election(
            election, election.candidate, election.term, _Head.of_tip(tip), config, roll.chain_id, verifier
        )
        if fault is None:
            return None
    return fault


def _lost_block(trial: Trial) -> tuple[Ack, Vote, Header]:
    ack, opened, vote = trial.by_accused(Ack), trial.header(), trial.by_accused(Vote)
    head = opened.header
    if (ack.block, ack.height) != (opened.block_hash, head.height):
        raise EvidenceError("the ack is for another block than the header's")
    # Only such acks make a block final. An older block, acknowledged again in a later term, may go.
    if ack.phase != PHASE_COMMIT or ack.ack_term != head.term:
        raise EvidenceError(f"the ack, of term {ack.ack_term} and phase {ack.phase}, does not certify the block")
    if vote.term <= ack.ack_term:
        raise EvidenceError(f"the vote, of term {vote.term}, was not given after the ack of term {ack.ack_term}")
    if _locks(head, trial.roll) and not trial.roll.is_newest(head.validators):
        raise EvidenceError(f"block {head.height}: others were decided since, and locks end with their validators")
    term, height = kept_by(vote, head, trial.roll)
    if (term, height) >= (head.term, head.height):
        raise EvidenceError(f"what the voter has, height {height} of term {term}, is not older than the block")
    return ack, vote, head


def kept_by(vote: Vote, acknowledged: Header, roll: Roll) -> Place:
    """(term, height) of what a voter says that it still has: its tip, or where blocks are locked on, its lock."""
    if _locks(acknowledged, roll):
        return place_of_tip(vote.lock)
    return vote.voter_tip.term, vote.voter_tip.height


def _locks(header: Header, roll: Roll) -> bool:
    """Whether a block becomes final in two phases."""
    config = roll.config(header.validators)
    return config is not None and config.mode == QUORUM_BYZANTINE


class _Head(msgspec.Struct, frozen=True):
    """A tip where an election certificate is held against its block."""

    height: int
    term: int
    block_hash: bytes

    @staticmethod
    def of_tip(tip: Tip) -> _Head:
        return _Head(tip.height, tip.term, tip.block)


def _is_array(first: bytes) -> bool:
    """Whether CBOR that begins with this byte is an array (RFC 8949, section 3.1: major type 4)."""
    return bool(first) and first[0] >> 5 == 4


_RULES: dict[EvidenceKind, Callable[[Trial], Found]] = {
    EvidenceKind.HEADERS: _headers,
    EvidenceKind.ACKS: _acks,
    EvidenceKind.VOTES: _votes,
    EvidenceKind.FORM: _form,
    EvidenceKind.TIP: _tip,
    EvidenceKind.EXTENSION: _extension,
    EvidenceKind.OLDER_TIP: _older_tip,
    EvidenceKind.ANSWER: _answer,
}
