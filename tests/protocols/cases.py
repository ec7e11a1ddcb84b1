"""Cases: for every kind of evidence some that prove it, made on paper by a liar with its real key, and
some that look like them and are what honest nodes sign."""

from __future__ import annotations

import msgspec

from protocols import block as blocks
from protocols import cbor, cose, merkle
from protocols.block import Block, Parent
from protocols.cose import Envelope
from protocols.evidence import EvidenceKind
from protocols.records import Election, Evidence, Header, Record, Tip, Vote, kind_of, to_payload
from protocols.roll import Roll
from tests.protocols.village import Village, device

VILLAGE = Village(5)
ROLL = Roll.of_genesis(VILLAGE.genesis, VILLAGE.chain_id)

# 1 by anna in term 1; then two branches: bela goes on in term 3, carla (who lacks 2) in term 4.
ONE = VILLAGE.block()
TWO = VILLAGE.block(Parent.of(ONE), "anna", 1)
THREE = VILLAGE.block(Parent.of(TWO), "bela", 3)
FOUR = VILLAGE.block(Parent.of(THREE), "bela", 3)
OTHER_TWO = VILLAGE.block(Parent.of(ONE), "carla", 4)


def signed(record: Record, home: str) -> bytes:
    """The envelope of a statement of a home's node."""
    key = device(home)
    return cose.sign(record.KIND, VILLAGE.chain_id, to_payload(record), key.public, key.sign).encode()


def head(block: Block) -> bytes:
    """The envelope of a block's header."""
    return block.header_envelope.encode()


def ack(block: Block, home: str, **changes: int) -> bytes:
    """The envelope of an ack."""
    key_id, record, signature = VILLAGE.ack(block, home, **changes)
    return Envelope(key_id, to_payload(record), signature).encode()


def tip(block: Block | None) -> Tip:
    """A block as votes name it; None is the genesis."""
    parent = VILLAGE.root if block is None else Parent.of(block)
    return Tip(term=parent.term, height=parent.height, block=parent.block_hash)


def vote(home: str, term: int, candidate: str, own: Tip, claimed: Tip | None = None) -> bytes:
    """The envelope of a vote."""
    return signed(
        Vote(term=term, candidate=device(candidate).key_id, candidate_tip=claimed or own, voter_tip=own), home
    )


def evidence(kind: EvidenceKind, accused: str, *statements: bytes) -> Evidence:
    """An accusation as it stands in a record."""
    return Evidence(
        nonce=1, valid_until_s=1, evidence_kind=int(kind), accused=device(accused).key_id, statements=statements
    )


def election(leader: str, term: int, parent: Block, voters: tuple[str, ...] = ("bela", "carla", "dora")) -> Election:
    """An election certificate."""
    return VILLAGE.election(leader, term, Parent.of(parent), voters)


def with_header(block: Block, home: str, **changes: object) -> Block:
    """The same block with another header, signed by a home's node."""
    header: Header = msgspec.structs.replace(block.header, **changes)  # type: ignore[arg-type]
    key = device(home)
    return blocks.make(header, block.records, block.election, VILLAGE.chain_id, key.public, key.sign)


def with_bodies(*bodies: bytes) -> tuple[Block, list[bytes]]:
    """Anna's second block, with these bytes as records, and the proofs that they stand in it."""
    leaves = [merkle.leaf_hash(body) for body in bodies]
    block = with_header(TWO, "anna", tx_root=merkle.root(leaves), tx_count=len(bodies))
    return block, [cbor.encode([place, body, list(merkle.path(leaves, place))]) for place, body in enumerate(bodies)]


def all_cases() -> dict[str, tuple[Evidence, str]]:
    """Name of the case -> (evidence, what its words must hold)."""
    again = with_header(TWO, "anna", time_s=TWO.header.time_s + 1)
    begun_again = VILLAGE.block(Parent.of(ONE), "bela", 3)
    branch = VILLAGE.block(Parent.of(OTHER_TWO), "carla", 4)
    alone = VILLAGE.block(Parent.of(TWO), "dora", 3, election=election("dora", 3, TWO, ("dora",)))
    astray = VILLAGE.block(Parent.of(TWO), "dora", 3, election=election("dora", 3, ONE))
    lying_tip = msgspec.structs.replace(tip(TWO), height=7)
    deep = VILLAGE.election("dora", 3, msgspec.structs.replace(Parent.of(TWO), term=2))
    deep_block = VILLAGE.block(Parent.of(TWO), "dora", 3, election=deep)
    usurped = VILLAGE.block(Parent.of(TWO), "dora", 1)
    early = with_header(TWO, "anna", time_s=ONE.header.time_s - 1)
    before_all = with_header(ONE, "anna", time_s=VILLAGE.root.time_s - 1)
    garbage, garbage_proofs = with_bodies(VILLAGE.order().envelope_bytes, b"no record")
    misplaced, misplaced_proofs = with_bodies(vote("anna", 3, "bela", tip(ONE)))
    double, double_proofs = with_bodies(VILLAGE.order().envelope_bytes, VILLAGE.order().envelope_bytes)
    kind = EvidenceKind
    return {
        "two headers for one height": (evidence(kind.HEADERS, "anna", head(TWO), head(again)), "two different blocks"),
        "a term begun twice": (evidence(kind.HEADERS, "bela", head(THREE), head(begun_again)), "began term 3 twice"),
        "two acks of one height": (
            evidence(kind.ACKS, "dora", ack(OTHER_TWO, "dora"), ack(TWO, "dora", ack_term=4)),
            "acknowledged two histories in term 4",
        ),
        "two acks of different heights": (
            evidence(
                kind.ACKS,
                "dora",
                ack(TWO, "dora", ack_term=4),
                ack(branch, "dora", phase=1),
                head(branch),
            ),
            "at heights 2 and 3",
        ),
        "two votes": (
            evidence(kind.VOTES, "dora", vote("dora", 3, "bela", tip(TWO)), vote("dora", 3, "carla", tip(ONE))),
            "two candidates in term 3",
        ),
        "a block that goes back in time": (evidence(kind.FORM, "anna", head(early), head(ONE)), "before the parent's"),
        "a first block before the founding": (evidence(kind.FORM, "anna", head(before_all)), "before the parent's"),
        "a term nobody gave": (evidence(kind.FORM, "dora", head(usurped), head(TWO)), "is led by"),
        "an election that one voter makes": (
            evidence(kind.FORM, "dora", head(alone), to_payload(elected_by(alone))),
            "without being elected",
        ),
        "bytes that are no record": (evidence(kind.FORM, "anna", head(garbage), garbage_proofs[1]), "no record"),
        "a vote among the records": (
            evidence(kind.FORM, "anna", head(misplaced), misplaced_proofs[0]),
            "Vote does not",
        ),
        "one record twice": (evidence(kind.FORM, "anna", head(double), *double_proofs), "twice"),
        "a false tip": (
            evidence(kind.TIP, "dora", vote("dora", 3, "bela", lying_tip, tip(TWO)), head(TWO)),
            "not 7 of term 1",
        ),
        "a candidate's false tip": (
            evidence(kind.TIP, "dora", vote("dora", 3, "dora", tip(TWO), lying_tip), head(TWO)),
            "not 7 of term 1",
        ),
        "a tip at height 0 that is not the genesis": (
            evidence(
                kind.TIP, "dora", vote("dora", 3, "bela", msgspec.structs.replace(tip(None), block=bytes(32)), tip(TWO))
            ),
            "cannot be",
        ),
        "another tip than elected with": (
            evidence(kind.EXTENSION, "dora", head(astray), to_payload(elected_by(astray))),
            "went on from another",
        ),
        "a tip of a false term": (
            evidence(kind.EXTENSION, "dora", head(deep_block), to_payload(deep), head(TWO)),
            "went on from another",
        ),
        "an acknowledged block forgotten": (
            evidence(
                kind.OLDER_TIP, "dora", ack(THREE, "dora"), head(THREE), vote("dora", 9, "carla", tip(TWO), tip(TWO))
            ),
            "acknowledged block 3 of term 3 and voted in term 9",
        ),
        "and why": (
            evidence(
                kind.ANSWER,
                "dora",
                ack(THREE, "dora"),
                head(THREE),
                vote("dora", 9, "carla", tip(TWO), tip(TWO)),
                to_payload(election("emil", 5, TWO)),
            ),
            "for the leader elected in term 5",
        ),
    }


def honest_cases() -> dict[str, tuple[Evidence, str]]:
    """Name of what looks like a lie -> (evidence that proves nothing, what it is refused with)."""
    kind = EvidenceKind
    branch = VILLAGE.block(Parent.of(OTHER_TWO), "carla", 4)
    newer = VILLAGE.block(Parent.of(TWO), "bela", 2)
    record = VILLAGE.order().envelope_bytes
    good, proofs = with_bodies(record, VILLAGE.order(nonce=2).envelope_bytes)
    unknown = to_payload(VILLAGE.order().record).replace(b"\xa7\x00\x05", b"\xa7\x00\x18\xf0", 1)
    assert kind_of(unknown) == 240
    later, later_proofs = with_bodies(_wrapped(unknown))
    return {
        "one block and the next": (evidence(kind.HEADERS, "bela", head(THREE), head(FOUR)), "may follow"),
        "the same block": (evidence(kind.HEADERS, "bela", head(THREE), head(THREE)), "one and the same"),
        "blocks of two terms": (
            evidence(kind.HEADERS, "bela", head(THREE), head(newer)),
            "headers of the terms 3 and 2",
        ),
        "two chained acks": (
            evidence(kind.ACKS, "dora", ack(TWO, "dora", ack_term=3), ack(FOUR, "dora"), head(FOUR), head(THREE)),
            "follows from block 2",
        ),
        "both phases of one block": (
            evidence(kind.ACKS, "dora", ack(THREE, "dora", phase=1), ack(THREE, "dora")),
            "is the same",
        ),
        "one block in two terms": (
            evidence(kind.ACKS, "dora", ack(TWO, "dora"), ack(TWO, "dora", ack_term=3)),
            "terms 1 and 3",
        ),
        "another block in a later term": (
            evidence(kind.ACKS, "dora", ack(TWO, "dora"), ack(OTHER_TWO, "dora")),
            "terms 1 and 4",
        ),
        "links that are missing": (
            evidence(kind.ACKS, "dora", ack(TWO, "dora", ack_term=4), ack(branch, "dora")),
            "statement 2 is missing",
        ),
        "links of another branch": (
            evidence(kind.ACKS, "dora", ack(TWO, "dora", ack_term=4), ack(branch, "dora"), head(THREE)),
            "does not link",
        ),
        "a repeated vote with a newer tip": (
            evidence(kind.VOTES, "dora", vote("dora", 3, "bela", tip(ONE)), vote("dora", 3, "bela", tip(TWO))),
            "for one candidate",
        ),
        "votes of two terms": (
            evidence(kind.VOTES, "dora", vote("dora", 3, "bela", tip(ONE)), vote("dora", 4, "carla", tip(TWO))),
            "terms 3 and 4",
        ),
        "a good block": (evidence(kind.FORM, "bela", head(FOUR), head(THREE)), "keeps the rules"),
        "a good first block": (evidence(kind.FORM, "anna", head(ONE)), "keeps the rules"),
        "a good block with a stranger's parent": (
            evidence(kind.FORM, "bela", head(FOUR), head(TWO)),
            "not the parent of block 4",
        ),
        "a good election": (evidence(kind.FORM, "bela", head(THREE), to_payload(elected_by(THREE))), "its election"),
        "somebody else's election": (
            evidence(kind.FORM, "bela", head(THREE), to_payload(election("bela", 3, TWO, ("bela",)))),
            "names another election",
        ),
        "a good record": (evidence(kind.FORM, "anna", head(good), proofs[0]), "can be read"),
        "two good records": (evidence(kind.FORM, "anna", head(good), *proofs), "are not the same"),
        "one record, proved twice": (evidence(kind.FORM, "anna", head(good), proofs[0], proofs[0]), "order of their"),
        "a record of another block": (evidence(kind.FORM, "anna", head(TWO), proofs[0]), "does not lead to"),
        "a record of a newer version": (evidence(kind.FORM, "anna", head(later), later_proofs[0]), "can be read"),
        "a true tip": (evidence(kind.TIP, "dora", vote("dora", 3, "bela", tip(TWO)), head(TWO)), "no tip"),
        "a true tip at the genesis": (evidence(kind.TIP, "dora", vote("dora", 3, "dora", tip(None))), "contradict"),
        # Who votes repeats what the candidate claims; it cannot know better.
        "a candidate's claim, repeated": (
            evidence(
                kind.TIP,
                "dora",
                vote("dora", 3, "bela", tip(ONE), msgspec.structs.replace(tip(TWO), height=9)),
                head(TWO),
            ),
            "no tip of the accused",
        ),
        "the tip it was elected with": (
            evidence(kind.EXTENSION, "bela", head(THREE), to_payload(elected_by(THREE)), head(TWO)),
            "extends the tip",
        ),
        # Figure 8 of the Raft paper: acknowledged again in a later term, an older block may still go.
        "an old block, acknowledged again, and gone": (
            evidence(
                kind.OLDER_TIP, "dora", ack(TWO, "dora", ack_term=3), head(TWO), vote("dora", 4, "carla", tip(ONE))
            ),
            "does not certify",
        ),
        "a prepared block, and gone": (
            evidence(kind.OLDER_TIP, "dora", ack(TWO, "dora", phase=1), head(TWO), vote("dora", 4, "carla", tip(ONE))),
            "does not certify",
        ),
        "a vote before the ack": (
            evidence(kind.OLDER_TIP, "dora", ack(THREE, "dora"), head(THREE), vote("dora", 2, "bela", tip(TWO))),
            "not given after",
        ),
        "a vote in the term of the ack": (
            evidence(kind.OLDER_TIP, "dora", ack(THREE, "dora"), head(THREE), vote("dora", 3, "bela", tip(TWO))),
            "not given after",
        ),
        "a tip of a newer branch": (
            evidence(kind.OLDER_TIP, "dora", ack(THREE, "dora"), head(THREE), vote("dora", 9, "carla", tip(branch))),
            "is not older",
        ),
    }


def elected_by(block: Block) -> Election:
    """The election certificate in a block."""
    assert block.election is not None
    return block.election


def _wrapped(payload: bytes) -> bytes:
    return cose.sign(240, VILLAGE.chain_id, payload, device("anna").public, device("anna").sign).encode()
