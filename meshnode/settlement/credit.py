"""Credit: what a member may owe, what it deposited, what it failed to pay; levies and solidarity.

Pure: a standing comes in, a standing goes out. A balance is never below the credit limit; what it
could not cover stands beside it as arrears, and whatever is received pays those first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from meshnode.amounts import PPM, AmountError, int64, split, value

NO_CREDIT: Final = 0


class Standing(msgspec.Struct, frozen=True):
    """How a member stands in one asset.

    Fields:
        balance_u: what it has; below zero as far as the limit.
        limit_u: how far below zero the balance may go, 0 or more.
        deposit_u: what it left as a security; not spent while it is a member.
        arrears_u: what was due and could not be paid, 0 or more.

    Invariant: -limit_u <= balance_u.
    """

    balance_u: int
    limit_u: int = NO_CREDIT
    deposit_u: int = 0
    arrears_u: int = 0

    def __post_init__(self) -> None:
        for name in ("limit_u", "deposit_u", "arrears_u"):
            if getattr(self, name) < 0:
                raise AmountError(f"standing: {name} is {getattr(self, name)}, expected 0 or more")

    @property
    def spendable_u(self) -> int:
        """What may be spent or promised now: the balance and the credit beyond it.

        Nothing while there are arrears: old debts come before new ones.
        """
        return 0 if self.arrears_u else max(0, self.balance_u + self.limit_u)


def charge(standing: Standing, due_u: int) -> tuple[Standing, int]:
    """Take what is due, as far as balance and limit go; the rest becomes arrears.

    A limit that was lowered below a debt takes nothing back: the balance stays and nothing can be charged to it.

    Returns:
        (the standing after it, what was paid).
    Raises:
        AmountError: a negative due; use `receive`.
    """
    _expect_positive("due", due_u)
    paid_u = min(due_u, max(0, standing.balance_u + standing.limit_u))
    arrears_u = int64("arrears", standing.arrears_u + due_u - paid_u)
    return msgspec.structs.replace(standing, balance_u=standing.balance_u - paid_u, arrears_u=arrears_u), paid_u


def receive(standing: Standing, amount_u: int) -> tuple[Standing, int]:
    """Take in money: arrears are paid first, the rest is the member's.

    Returns:
        (the standing after it, what of it paid arrears).
    """
    _expect_positive("amount", amount_u)
    settled_u = min(amount_u, standing.arrears_u)
    balance_u = int64("balance", standing.balance_u + amount_u - settled_u)
    return msgspec.structs.replace(standing, balance_u=balance_u, arrears_u=standing.arrears_u - settled_u), settled_u


class Closed(msgspec.Struct, frozen=True):
    """What becomes of a standing when the member leaves.

    paid_u: of arrears and debt, from balance and deposit; refund_u: goes back to the member;
    open_u: remains owed after everything was used.
    """

    paid_u: int
    refund_u: int
    open_u: int


def close(standing: Standing) -> Closed:
    """Settle up: balance, then deposit, pay arrears and debt; what is left goes back.

    paid_u + refund_u = max(0, balance) + deposit, and paid_u + open_u = arrears + max(0, -balance).
    """
    has_u = max(0, standing.balance_u) + standing.deposit_u
    owes_u = standing.arrears_u + max(0, -standing.balance_u)
    paid_u = min(has_u, owes_u)
    return Closed(paid_u, has_u - paid_u, owes_u - paid_u)


def exposure_u(standing: Standing) -> int:
    """What the community would lose if the member never paid again: debt and arrears beyond the deposit."""
    return max(0, standing.arrears_u + max(0, -standing.balance_u) - standing.deposit_u)


def levy(energies_wh: Mapping[bytes, int], levy_u_kwh: int) -> dict[bytes, int]:
    """A levy on energy: what each account pays, in account id order.

    Args:
        energies_wh: what each used, or took from neighbours, or from the grid, as the levy says.
        levy_u_kwh: 0 or more.
    """
    _expect_positive("levy", levy_u_kwh)
    return {account: value(levy_u_kwh, wh) for account, wh in sorted(energies_wh.items())}


def solidarity(
    incomes_u: Mapping[bytes, int], share_ppm: int, helped: Mapping[bytes, int]
) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """A solidarity share: a part of what each earned goes to those whom the community helps.

    Args:
        incomes_u: what each earned; incomes of zero or below give nothing.
        share_ppm: 0 to a million.
        helped: weight by account of who receives it; one who is helped gives nothing.
    Returns:
        (given, received) by account; the sums are equal. Without anybody to help nothing is given.
    """
    if not 0 <= share_ppm <= PPM:
        raise AmountError(f"solidarity share of {share_ppm} ppm: expected 0 to {PPM}")
    if not any(helped.values()):
        return {}, {}
    given_u = {
        account: income_u * share_ppm // PPM
        for account, income_u in sorted(incomes_u.items())
        if income_u > 0 and not helped.get(account, 0)
    }
    return given_u, split(sum(given_u.values()), helped.items())


def _expect_positive(what: str, number: int) -> None:
    if number < 0:
        raise AmountError(f"{what} of {number}: expected 0 or more; the direction is told by who pays whom")
