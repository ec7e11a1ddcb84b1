"""Movements: what records and meters did to balances, for whoever keeps the history. Nothing here is state."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class What(IntEnum):
    """Why units of an asset moved. Codes are stored by the views: they are never reused or renumbered."""

    TRANSFER = 1
    ISSUED = 2
    BURNED = 3
    EXCHANGED = 4
    CASH_IN = 5
    CASH_OUT = 6
    SOLD = 7
    METERED = 8
    SETTLED = 9
    TRADED = 20
    REVERSED = 21
    CHARGED = 30
    STATION_FEE = 31
    REDEEMED = 32
    STORED = 33
    TAKEN_OUT = 34
    STORAGE_FEE = 35
    FIRST_ACCESS = 36
    RESTORED = 37
    CLAIM_PAID = 60


class Moved(msgspec.Struct, frozen=True):
    """Units of an asset went from one account to another; without a giver they were made, without a taker destroyed.

    SETTLED names one end only: together those who owed have given what those who were owed have got.
    memo, nonce: of the record, where it has a memo. reference: of a payment outside.
    """

    what: What
    giver: bytes
    taker: bytes
    asset: str
    amount: int
    memo: bytes = b""
    nonce: int = 0
    reference: str = ""
