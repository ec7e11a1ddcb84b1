"""Credit: how far a member may go beyond what it has, and what it leaves as a security.

What a member may promise is bounded where somebody has set a limit: exposure <= cash + limit, where

    exposure = what it owes on claims + storage fees in arrears + open orders that buy, at the partner's price if that
               is higher, with fees and levies + standing ones without backing
    cash     = what it has free of the asset that settles + what it is owed on claims

A balance itself is never below zero: a limit lets a member owe, never spend what is not there. The community's
limit and those of the member's suppliers hold side by side, so that the smallest counts; a limit that is
lowered takes nothing back, and a member who owes fees promises nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from meshnode.amounts import value
from meshnode.ledger import assets, contracts, holds, minting, rows
from meshnode.ledger.balances import balance
from meshnode.ledger.members import is_administrator
from meshnode.ledger.parameter_rows import CreditLimit as LimitRow
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import SIDE_BUY, CreditLimit, DepositPlace, DepositRelease

# Said for the whole community, or of everybody in it.
COMMUNITY = b""
EVERYBODY = b""
# For each of some periods, by its start: u/kWh that are charged for energy that is ordered, beside its price.
OnTop = Callable[[Iterable[int]], Mapping[int, int]]
# Account ids have 16 bytes.
_AFTER_ALL = b"\xff" * 17


class Account(msgspec.Struct, frozen=True):
    """How a member stands with the community, in micro-units of the currency.

    Fields:
        cash_u: free of the asset that settles, and owed to it on claims.
        owed_u: what it owes on claims.
        arrears_u: storage fees that it could not pay, paid in the asset that settles.
        promised_u: the most that its open orders may cost beyond what is held for them, with all that is charged
            on top of the price.
        limit_u: how far it may go beyond its cash; None: nobody has set a limit.
    """

    cash_u: int
    owed_u: int
    arrears_u: int
    promised_u: int
    limit_u: int | None

    @property
    def exposure_u(self) -> int:
        """What it owes and has promised."""
        return self.owed_u + self.arrears_u + self.promised_u

    @property
    def left_u(self) -> int | None:
        """What it may still promise; None: there is no limit."""
        if self.limit_u is None:
            return None
        return 0 if self.arrears_u else max(0, self.cash_u + self.limit_u - self.exposure_u)


def set_limit(state: State, step: CreditLimit, account: bytes, time_s: int) -> Verdict:
    """An administrator sets the community's limit for a member or for all, a supplier its own for a customer."""
    if step.account is not None and not _is_member(state, step.account):
        return Verdict.UNKNOWN_ACCOUNT
    by = COMMUNITY
    if not is_administrator(state, account):
        if step.account is None or account not in suppliers(state, step.account, time_s):
            return Verdict.NOT_SUPPLIER
        by = account
    key = (EVERYBODY if step.account is None else step.account, by)
    if step.limit_u is not None:
        state.credit_limits.put(key, LimitRow(step.limit_u))
    elif key in state.credit_limits:
        state.credit_limits.delete(key)
    return Verdict.ACCEPTED


def suppliers(state: State, account: bytes, time_s: int) -> frozenset[bytes]:
    """Who supplies an account under a contract that is signed and holds now."""
    return frozenset(
        row.offered_by for _, row in contracts.of(state, account) if contracts.supplies(row, account, time_s)
    )


def limits(state: State, account: bytes, time_s: int) -> dict[bytes, int]:
    """The limits that hold for an account, by who set them; COMMUNITY: an administrator."""
    found = {by: row.limit_u for (_, by), row in state.credit_limits.range((account, b""), (account, _AFTER_ALL))}
    everybody = state.credit_limits.get((EVERYBODY, COMMUNITY))
    if everybody is not None:
        found.setdefault(COMMUNITY, everybody.limit_u)
    if found.keys() - {COMMUNITY}:
        supplying = suppliers(state, account, time_s)
        found = {by: limit_u for by, limit_u in found.items() if by == COMMUNITY or by in supplying}
    return found


def account_of(state: State, account: bytes, time_s: int, on_top: OnTop) -> Account:
    """How a member stands.

    Args:
        on_top: what is charged for energy that is ordered, beside its price.
    """
    settling = minting.settling(state, time_s)
    claim = state.claims.get(account)
    claim_u = 0 if claim is None else claim.amount_u
    free_u = 0 if settling is None else balance(state, account, settling).free
    return Account(
        cash_u=free_u + max(0, claim_u),
        owed_u=max(0, -claim_u),
        arrears_u=sum(arrears(state, account, settling).values()) if settling is not None else 0,
        promised_u=_ordered_u(state, account, on_top) + _unbacked_u(state, account, settling),
        limit_u=min(limits(state, account, time_s).values(), default=None),
    )


def arrears(state: State, account: bytes, asset: str | None = None) -> dict[str, int]:
    """The storage fees that an account could not pay, by storage; of one asset that they are paid with, or of all."""
    found = {}
    for code, storage in state.storages.items():
        keep = state.keeps.get((code, account))
        if keep is not None and keep.arrears_u and asset in (None, storage.fee_asset):
            found[code] = keep.arrears_u
    return found


def fault_of_promise(state: State, account: bytes, more_u: int, time_s: int, on_top: OnTop) -> Verdict:
    """Whether a member may promise so much more; ACCEPTED without a limit."""
    if not more_u or not limits(state, account, time_s):
        return Verdict.ACCEPTED
    stands = account_of(state, account, time_s, on_top)
    if stands.arrears_u:
        return Verdict.IN_ARREARS
    left_u = stands.left_u
    return Verdict.ACCEPTED if left_u is None or more_u <= left_u else Verdict.OVER_CREDIT


def place_deposit(state: State, step: DepositPlace, record_id: bytes, account: bytes, time_s: int) -> Verdict:
    """A member leaves a security; its record's id is the deposit's."""
    if step.asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    fault = assets.fault_of_receiver(state, step.to, account)
    if fault:
        return fault
    if not is_administrator(state, step.to) and step.to not in suppliers(state, account, time_s):
        return Verdict.NO_DEPOSIT_TO
    deposit = rows.Hold(account, step.asset, step.amount, step.to, rows.HOLD_DEPOSIT, rows.NO_TIMEOUT)
    return holds.place(state, record_id, deposit, time_s)


def release_deposit(state: State, step: DepositRelease, account: bytes) -> tuple[Verdict, rows.Hold | None]:
    """Who has a deposit, or an administrator, gives it back; its owner never takes it alone."""
    deposit = holds.find(state, step.deposit, rows.HOLD_DEPOSIT)
    if deposit is None:
        return Verdict.UNKNOWN_HOLD, None
    by_administrator = is_administrator(state, account) and account != deposit.owner
    if account != deposit.to and not by_administrator:
        return Verdict.NOT_FOR_YOU, None
    holds.release(state, step.deposit)
    return Verdict.ACCEPTED, deposit


def forget(state: State, time_s: int) -> None:
    """Drop limits of members who left, and of suppliers whose contract is over."""
    for (account, by), _ in state.credit_limits.items():
        gone = account != EVERYBODY and not _is_member(state, account)
        if gone or (by != COMMUNITY and by not in suppliers(state, account, time_s)):
            state.credit_limits.delete((account, by))


def _is_member(state: State, account: bytes) -> bool:
    row = state.accounts.get(account)
    return row is not None and not row.left_s


def _ordered_u(state: State, account: bytes, on_top: OnTop) -> int:
    """What an account's orders of periods may cost: their own limits, or their partners', and what comes on top."""
    wanted_wh = state.orders.wanted_wh(account)
    charged = on_top(wanted_wh)
    return state.orders.promised_u(account) + sum(value(charged[start_s], wh) for start_s, wh in wanted_wh.items())


def _unbacked_u(state: State, account: bytes, settling: str | None) -> int:
    """What standing orders of an account may still cost beyond what is held for them."""
    found = state.standing_of.range((account, b""), (account, b"\xff" * 33))
    mine = (state.standing[order_id] for (_, order_id), _ in found)
    return sum(
        value(max(row.price_u_kwh, row.partner_price_u_kwh), row.open_wh - row.ready_wh)
        for row in mine
        if row.side == SIDE_BUY and row.paid_with == settling
    )
