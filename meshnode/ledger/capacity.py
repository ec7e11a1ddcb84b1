"""Capacity: how much more of stored energy a member may have.

Whatever brings a member stored energy asks here before: purchases, transfers, exchanges, sales, auctions, and the
storage's own meter. A maximum that was lowered takes nothing away; there is no room then.
"""

from __future__ import annotations

from meshnode.ledger.balances import balance
from meshnode.ledger.order_rows import AUCTION_FALLING, AUCTION_RISING
from meshnode.ledger.state import State


def room(state: State, code: str, account: bytes, bidding: bytes = b"") -> int | None:
    """How many more Wh of stored energy a member may have; None if the asset is no stored energy, without a bound.

    Args:
        bidding: an auction whose bids do not count: the member is about to bid there instead.
    """
    storage = state.storages.get(code)
    if storage is None:
        return None
    has = balance(state, account, code)
    return room_wh(storage.most_wh, has.free + has.held + _coming(state, code, account, bidding))


def has_room(state: State, code: str, account: bytes, amount: int) -> bool:
    """Whether a member may get so much of an asset."""
    found = room(state, code, account)
    return found is None or amount <= found


def room_wh(most_wh: int, stored_wh: int) -> int:
    """What may still be stored. A maximum that was lowered below the balance takes nothing away; there is no room."""
    return max(0, most_wh - stored_wh)


def _coming(state: State, code: str, account: bytes, bidding: bytes) -> int:
    """What auctions may bring: who bids or calls is bound until they close, so nothing else may take the room."""
    called = sum(
        row.units
        for _, row in state.auctions.items()
        if (row.kind, row.asset, row.account) == (AUCTION_FALLING, code, account)
    )
    for (auction_id, _), bid in state.auction_bids.items():
        row = state.auctions[auction_id]
        if bid.account == account and (row.kind, row.asset) == (AUCTION_RISING, code) and auction_id != bidding:
            called += bid.units
    return called
