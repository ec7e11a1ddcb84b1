"""Settlement: what one period's meters and trades mean in energy and in money.

Pure: `settle` turns readings, trades and a tariff into lines and postings,
`correct` turns two settlements into the postings between them, `check_settlement`
proves that nothing was made or lost. No balances here; the ledger applies postings.
"""

from meshnode.settlement.correction import correct
from meshnode.settlement.invariants import SettlementBroken, check_settlement
from meshnode.settlement.metered import Metered, Quality, completeness_ppm, estimate
from meshnode.settlement.period import Line, PeriodInputs, Settlement, SettlementError, Sources, Tariff, settle
from meshnode.settlement.posting import (
    GRID_ACCOUNT,
    POOL_ACCOUNT,
    Entry,
    Posting,
    Reason,
    changes_by_account,
    fund_account,
)

__all__ = [
    "GRID_ACCOUNT",
    "POOL_ACCOUNT",
    "Entry",
    "Line",
    "Metered",
    "PeriodInputs",
    "Posting",
    "Quality",
    "Reason",
    "Settlement",
    "SettlementBroken",
    "SettlementError",
    "Sources",
    "Tariff",
    "changes_by_account",
    "check_settlement",
    "completeness_ppm",
    "correct",
    "estimate",
    "fund_account",
    "settle",
]
