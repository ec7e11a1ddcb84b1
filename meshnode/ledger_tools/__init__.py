"""Ledger tools: what anybody can do with a ledger on disk - verify it, look into it, take proofs from it.

They read only, beside a running node if need be, and trust nothing that they can check.
"""

from meshnode.ledger_tools.inspection import NotInLedger, check_receipt, describe, receipt, show
from meshnode.ledger_tools.lies import Comparison, Lie, check_lie, roll_of_genesis, roll_of_ledger, show_lies
from meshnode.ledger_tools.lies import compare as compare_ledgers
from meshnode.ledger_tools.lies import encode as evidence_bytes
from meshnode.ledger_tools.verification import BadEntry, ChainReport, Verification, verify

__all__ = [
    "BadEntry",
    "ChainReport",
    "Comparison",
    "Lie",
    "NotInLedger",
    "Verification",
    "check_lie",
    "check_receipt",
    "compare_ledgers",
    "describe",
    "evidence_bytes",
    "receipt",
    "roll_of_genesis",
    "roll_of_ledger",
    "show",
    "show_lies",
    "verify",
]
