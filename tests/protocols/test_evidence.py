"""Evidence: what convicts, and what looks like it and must not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import block as blocks
from protocols.block import Parent
from protocols.evidence import EvidenceError, EvidenceKind, check_evidence, judge
from protocols.records import BLOCK_RECORDS, Evidence, from_payload, to_payload
from protocols.roll import Roll
from tests.protocols import cases
from tests.protocols.cases import (
    ROLL,
    THREE,
    TWO,
    VILLAGE,
    election,
    evidence,
    head,
    with_header,
)
from tests.protocols.keys import key_pair, verify
from tests.protocols.village import Village, device

CASES = cases.all_cases()


def fault(found: Evidence, roll: Roll = ROLL) -> str:
    return check_evidence(found, roll, verify) or ""


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_lie_is_proved(name: str) -> None:
    found, words = CASES[name]
    case = judge(found, ROLL, verify)
    assert words in case.words and case.accused == found.accused
    # It is an ordinary record, which comes through the wire as it was.
    record = VILLAGE.sign(found, device("emil"))
    assert blocks.read_record(record.envelope_bytes, VILLAGE.chain_id).record == found
    assert from_payload(to_payload(found)) == found and found.KIND in BLOCK_RECORDS


def test_the_cases_hold_every_kind() -> None:
    assert {found.evidence_kind for found, _ in CASES.values()} == set(EvidenceKind)
    questions = {EvidenceKind.OLDER_TIP, EvidenceKind.ANSWER}
    assert {case.kind for found, _ in CASES.values() if not (case := judge(found, ROLL, verify)).convicts} == questions


# --- what an honest node signs


HONEST = cases.honest_cases()


@pytest.mark.parametrize("name", HONEST)
def test_what_an_honest_node_signs_convicts_nobody(name: str) -> None:
    found, why = HONEST[name]
    assert why in fault(found)


def test_an_answer_must_lie_between_and_lack_the_block() -> None:
    question, _ = CASES["an acknowledged block forgotten"]
    for answer, why in (
        (election("emil", 3, TWO), "expected one between the terms 3 and 9"),
        (election("emil", 9, TWO), "expected one between"),
        (election("emil", 5, THREE), "does not exclude block 3"),
        (election("emil", 5, TWO, ("emil", "dora")), "2 votes are not a quorum"),
    ):
        found = evidence(EvidenceKind.ANSWER, "dora", *question.statements, to_payload(answer))
        assert why in fault(found)


# --- who may be accused, and of what


def test_only_validators_are_accused_and_only_with_their_own_signatures() -> None:
    found, _ = CASES["two votes"]
    stranger = msgspec.structs.replace(found, accused=key_pair("a stranger").key_id)
    assert "never was a validator" in fault(stranger)
    other = msgspec.structs.replace(found, accused=device("anna").key_id)
    assert "not by the accused" in fault(other)
    assert "unknown to this version" in fault(msgspec.structs.replace(found, evidence_kind=99))
    elsewhere = Village(5, community="Oberdorf")
    assert "does not hold" in fault(found, Roll.of_genesis(elsewhere.genesis, elsewhere.chain_id))


def test_a_case_has_one_form() -> None:
    for found, _ in CASES.values():
        more = msgspec.structs.replace(found, statements=(*found.statements, found.statements[0]))
        less = msgspec.structs.replace(found, statements=found.statements[:-1])
        assert fault(more), found
        assert fault(less), found


def test_another_validator_set_than_anyone_knows_is_not_judged() -> None:
    strange = VILLAGE.block(Parent.of(TWO), "dora", 3, election=election("dora", 3, TWO, ("dora",)))
    strange = with_header(strange, "dora", validators=bytes(32))
    found = evidence(EvidenceKind.FORM, "dora", head(strange), to_payload(cases.elected_by(strange)))
    assert "nobody here knows its quorum configuration" in fault(found)


@given(st.sampled_from(sorted(CASES)), st.data())
@settings(max_examples=400, deadline=None)
def test_changed_evidence_convicts_nobody(name: str, data: st.DataObject) -> None:
    # Any byte of any statement, the accused, or the kind.
    found, _ = CASES[name]
    place = data.draw(st.integers(-2, len(found.statements) - 1))
    if place == -2:
        changed = msgspec.structs.replace(found, accused=_changed(found.accused, data))
    elif place == -1:
        kind = data.draw(st.integers(0, 255).filter(lambda number: number != found.evidence_kind))
        changed = msgspec.structs.replace(found, evidence_kind=kind)
    else:
        statements = list(found.statements)
        statements[place] = _changed(statements[place], data)
        changed = msgspec.structs.replace(found, statements=tuple(statements))
    try:
        case = judge(changed, ROLL, verify)
    except EvidenceError:
        return
    raise AssertionError(f"{name}, changed at {place}: {case}")


def _changed(value: bytes, data: st.DataObject) -> bytes:
    place = data.draw(st.integers(0, len(value) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda new: new != value[place]))
    return value[:place] + bytes([byte]) + value[place + 1 :]
