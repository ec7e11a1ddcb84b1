"""Findings: what evidence does on the ledger, and that everybody computes the same from it."""

from __future__ import annotations

from meshnode.ledger import rows
from meshnode.ledger.findings import FoundOut
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.block import Parent
from protocols.cose import Envelope
from protocols.evidence import EvidenceKind
from protocols.records import Tip, to_payload
from tests.ledger.chain import Chain
from tests.protocols.keys import key_pair
from tests.protocols.village import device

BELA = device("bela").key_id


def test_a_proved_lie_is_entered_once_with_an_event_and_changes_the_state_hash() -> None:
    chain = Chain()
    before = chain.machine.state_hash()
    lie = (chain.vote("bela", 3, "carla"), chain.vote("bela", 3, "anna"))
    record = chain.evidence(EvidenceKind.VOTES, "bela", *lie, signer="anna")
    chain.block(record)
    found = [event for event in chain.events[chain.machine.height] if isinstance(event, FoundOut)]
    assert [(event.case.accused, event.case.kind, event.case.term) for event in found] == [
        (BELA, EvidenceKind.VOTES, 3)
    ]
    (entry,) = chain.machine.state.findings.items()
    assert entry == (
        (BELA, int(EvidenceKind.VOTES), 3),
        rows.Finding(rows.FINDING_PROVED, 0, record.record_id, chain.machine.height),
    )
    assert chain.machine.state_hash() != before
    # It survives a snapshot.
    restored = State.restore(chain.machine.state.dump())
    assert restored.state_hash() == chain.machine.state.state_hash()
    # In another term it is another lie.
    other = (chain.vote("bela", 4, "carla"), chain.vote("bela", 4, "anna"))
    chain.block(chain.evidence(EvidenceKind.VOTES, "bela", *other, signer="carla"))
    assert len(chain.machine.state.findings) == 2


def test_only_a_device_hands_in_evidence() -> None:
    chain = Chain()
    lie = (chain.vote("bela", 3, "carla"), chain.vote("bela", 3, "anna"))
    record = chain.evidence(EvidenceKind.VOTES, "bela", *lie, signer="anna").record
    assert chain.machine.check_record(chain.sign(record, key_pair("anna")), chain.now_s) == Verdict.WRONG_KEY


def test_a_question_stays_open_until_it_is_answered() -> None:
    chain = Chain()
    chain.block()
    first = chain.blocks[-1]
    parent = Parent.of(first)
    lost = chain.village.block(parent, "carla", 2)
    tip = Tip(term=parent.term, height=parent.height, block=parent.block_hash)
    key_id, ack, signature = chain.village.ack(lost, "bela")
    question = (
        Envelope(key_id, to_payload(ack), signature).encode(),
        lost.header_envelope.encode(),
        chain.vote("bela", 9, "anna", tip),
    )
    place = (BELA, int(EvidenceKind.OLDER_TIP), 9)

    def hand_in(kind: EvidenceKind, *statements: bytes, signer: str) -> Verdict:
        said = chain.say(chain.evidence(kind, "bela", *statements, signer=signer))
        assert isinstance(said, Verdict)
        return said

    assert hand_in(EvidenceKind.OLDER_TIP, *question, signer="anna") == Verdict.ACCEPTED
    assert chain.machine.state.findings[place].status == rows.FINDING_ASKED
    assert hand_in(EvidenceKind.OLDER_TIP, *question, signer="carla") == Verdict.KNOWN_EVIDENCE
    bad = to_payload(chain.village.election("anna", 9, parent))
    assert hand_in(EvidenceKind.ANSWER, *question, bad, signer="bela") == Verdict.NOT_PROVED
    good = to_payload(chain.village.election("anna", 5, parent))
    assert hand_in(EvidenceKind.ANSWER, *question, good, signer="bela") == Verdict.ACCEPTED
    assert chain.machine.state.findings[place].status == rows.FINDING_ANSWERED
    # Asked again, it need not answer again.
    assert hand_in(EvidenceKind.OLDER_TIP, *question, signer="carla") == Verdict.KNOWN_EVIDENCE
    assert hand_in(EvidenceKind.ANSWER, *question, good, signer="carla") == Verdict.KNOWN_EVIDENCE
