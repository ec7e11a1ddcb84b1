"""Knowledge: what the ledger knows of a member, for the conditions of a binding."""

from __future__ import annotations

from typing import Any

from meshnode.effects import Facts
from meshnode.ledger import minting
from meshnode.ledger.balances import balance
from meshnode.ledger.state import State

# Asset codes are short texts; none is beyond this.
_AFTER_ALL = "\U0010ffff"


def facts_of(state: State, account: bytes, time_s: int, **more: Any) -> Facts:
    """What is known of a member at a moment.

    Args:
        more: what is known of the event besides.
    """
    row = state.accounts.get(account)
    if row is None:
        return Facts(time_s=time_s, **more)
    units = {code: has.free + has.held for (_, code), has in state.balances.range((account, ""), (account, _AFTER_ALL))}
    return Facts(
        time_s=time_s, roles=frozenset(row.roles), balance_u=balance_u(state, account, time_s), units=units, **more
    )


def balance_u(state: State, account: bytes, time_s: int) -> int:
    """What a member is owed, less what it owes, with what it has of the asset that debts are paid with."""
    claim, settling = state.claims.get(account), minting.settling(state, time_s)
    has = 0 if settling is None else balance(state, account, settling).free + balance(state, account, settling).held
    return has + (0 if claim is None else claim.amount_u)


def members(state: State) -> list[bytes]:
    """The accounts of everybody who belongs to the community now."""
    return [account for account, row in state.accounts.items() if not row.left_s]
