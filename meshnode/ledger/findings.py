"""Findings: what the ledger knows of validators that lied, once for each accused, rule and term.

What follows from it (exclusion, a fine, nothing) is for the community's binding to say.
"""

from __future__ import annotations

import msgspec

from meshnode.ledger import rows
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.evidence import Case, EvidenceKind
from protocols.records import Evidence

SENTENCES: dict[EvidenceKind, str] = {
    EvidenceKind.HEADERS: "made two different blocks for one place in term {term}",
    EvidenceKind.ACKS: "acknowledged two different histories in term {term}, at block {height}",
    EvidenceKind.VOTES: "voted for two candidates in term {term}",
    EvidenceKind.FORM: "made a block that breaks the rules, block {height} in term {term}",
    EvidenceKind.TIP: "voted in term {term} with a false claim of what it has",
    EvidenceKind.EXTENSION: "was elected in term {term} with one history and went on from another",
    EvidenceKind.OLDER_TIP: "acknowledged block {height} and voted in term {term} as if it had never had it",
}
"""What the node of somebody did, as the end of a sentence that begins with it."""


class FoundOut(msgspec.Struct, frozen=True):
    """An event: evidence that was heard and is new: who lied, or is asked, or has answered."""

    case: Case
    record: Evidence


def key_of(case: Case) -> tuple[bytes, int, int]:
    """Where a case stands in the table; an answer stands with its question."""
    kind = EvidenceKind.OLDER_TIP if case.kind is EvidenceKind.ANSWER else case.kind
    return (case.accused, int(kind), case.term)


def news(state: State, case: Case) -> bool:
    """Whether a case says anything that the ledger does not know."""
    known = state.findings.get(key_of(case))
    if known is None:
        return True
    if case.kind is EvidenceKind.ANSWER:
        return (known.status, known.about_height) == (rows.FINDING_ASKED, case.height)
    # Somebody may forget more than one block in one term, and has to answer for each.
    return case.kind is EvidenceKind.OLDER_TIP and known.about_height != case.height


def enter(state: State, case: Case, record_id: bytes, height: int) -> Verdict:
    """Enter a case that was heard (`protocols.evidence.judge`).

    Args:
        record_id, height: of the evidence on the ledger.
    """
    if not news(state, case):
        return Verdict.KNOWN_EVIDENCE
    status = {EvidenceKind.OLDER_TIP: rows.FINDING_ASKED, EvidenceKind.ANSWER: rows.FINDING_ANSWERED}
    row = rows.Finding(status.get(case.kind, rows.FINDING_PROVED), case.height, record_id, height)
    state.findings.put(key_of(case), row)
    return Verdict.ACCEPTED
