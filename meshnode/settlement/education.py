"""Education: a part of a storage's fee that buys members their first access to it.

It comes together in a fund of the storage's own, in what the fee is paid with. Whenever a settlement period closes,
members who never had the access asset get one unit of it, those who joined first before the others, as far as the
fund can pay its issuer and the issuer has some. Everybody gets it once, whatever becomes of it later.
"""

from __future__ import annotations

from typing import Final

from meshnode.ledger import delivery_rows
from meshnode.ledger.balances import balance, change
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.state import State
from meshnode.settlement.posting import fund_account

UNITS: Final = 1


def fund_of(code: str) -> bytes:
    """The account of a storage's education fund; it belongs to no member."""
    return fund_account(f"education {code}")


def has_u(state: State, code: str) -> int:
    """What the fund of a storage has, in what its fee is paid with."""
    storage = state.storages[code]
    return balance(state, fund_of(code), storage.fee_asset).free if storage.fee_asset else 0


def grant(state: State, code: str, start_s: int) -> list[Moved]:
    """Give first access to members who never had it, as far as the fund goes; start_s: of the period that closed."""
    storage = state.storages[code]
    if not storage.grant_u:
        return []
    events: list[Moved] = []
    issuer = state.assets[storage.access].issuer
    waiting = sorted(
        (row.joined_s, account)
        for account, row in state.accounts.items()
        if not row.left_s and account != issuer and (code, account) not in state.grants
    )
    for _, account in waiting:
        has = balance(state, account, storage.access)
        if has.free or has.held:
            # Who has found access without it needs no first one.
            state.grants.put((code, account), delivery_rows.Grant(start_s))
        elif has_u(state, code) >= storage.grant_u and balance(state, issuer, storage.access).free >= UNITS:
            events += _give(state, code, storage, issuer, account)
            state.grants.put((code, account), delivery_rows.Grant(start_s, storage.grant_u))
    return events


def _give(
    state: State, code: str, storage: delivery_rows.Storage, issuer: bytes, account: bytes
) -> tuple[Moved, Moved]:
    """Both legs at once: the fund pays the issuer, the issuer gives a unit."""
    change(state, fund_of(code), storage.fee_asset, free=-storage.grant_u)
    change(state, issuer, storage.fee_asset, free=storage.grant_u)
    change(state, issuer, storage.access, free=-UNITS)
    change(state, account, storage.access, free=UNITS)
    return (
        Moved(What.FIRST_ACCESS, fund_of(code), issuer, storage.fee_asset, storage.grant_u),
        Moved(What.FIRST_ACCESS, issuer, account, storage.access, UNITS),
    )
