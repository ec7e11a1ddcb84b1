"""Ledger tools: what anybody can do with a ledger on disk - verify it, look into it, take proofs from it.

They read only, beside a running node if need be, and trust nothing that they can check.
"""

from meshnode.ledger_tools.inspection import NotInLedger, check_receipt, describe, receipt, show
from meshnode.ledger_tools.verification import BadEntry, ChainReport, Verification, verify

__all__ = [
    "BadEntry",
    "ChainReport",
    "NotInLedger",
    "Verification",
    "check_receipt",
    "describe",
    "receipt",
    "show",
    "verify",
]
