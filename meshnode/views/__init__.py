"""Views: what the ledger did, as rows for screens; derived data, made again from the ledger at will.

`views.Views` is the one door: the node feeds it blocks, pages and API ask it. No rule of
the ledger is decided here.
"""

from meshnode.views.rows import (
    BillingRow,
    BlockRow,
    ContractRow,
    DayRow,
    LineRow,
    MovementRow,
    OrderRow,
    PairRow,
    PeriodRow,
    PostingRow,
    ReadingRow,
    RecordRow,
    SharedHourRow,
    TradeRow,
)
from meshnode.views.views import END_POSTING, END_S, FILE, MAX_ROWS, Views, ViewsError

__all__ = [
    "END_POSTING",
    "END_S",
    "FILE",
    "MAX_ROWS",
    "BillingRow",
    "BlockRow",
    "ContractRow",
    "DayRow",
    "LineRow",
    "MovementRow",
    "OrderRow",
    "PairRow",
    "PeriodRow",
    "PostingRow",
    "ReadingRow",
    "RecordRow",
    "SharedHourRow",
    "TradeRow",
    "Views",
    "ViewsError",
]
