"""Settlement: what one period's meters and trades mean in energy and in money.

Pure: `settle` turns readings, trades and a tariff into lines and postings,
`correct` turns two settlements into the postings between them, `check_settlement`
proves that nothing was made or lost. `allocate` shares out energy by the rules that `MODES`
names; `compensation`, `storage` and `credit` are sums beyond one period. No balances
here; the ledger applies postings.
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
from meshnode.settlement.sharing import Allocation, Key, Rule, SharingError, Weighing, allocate, allocate_by_source
from meshnode.settlement.sharing_modes import MODES, Mode

__all__ = [
    "GRID_ACCOUNT",
    "MODES",
    "POOL_ACCOUNT",
    "Allocation",
    "Entry",
    "Key",
    "Line",
    "Metered",
    "Mode",
    "PeriodInputs",
    "Posting",
    "Quality",
    "Reason",
    "Rule",
    "Settlement",
    "SettlementBroken",
    "SettlementError",
    "SharingError",
    "Sources",
    "Tariff",
    "Weighing",
    "allocate",
    "allocate_by_source",
    "changes_by_account",
    "check_settlement",
    "completeness_ppm",
    "correct",
    "estimate",
    "fund_account",
    "settle",
]
