"""Living credit: whatever is set, owed and given back, nothing works backwards, and old debts are paid first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshnode.ledger.verdicts import Verdict
from tests.ledger.lives import all_met, bug_is_found, live
from tests.ledger.living_credit import CreditRules

OPERATIONS = 65
# The life without credit has the profile's examples; this one a quarter of them.
PART = 4


def test_nothing_that_is_owed_or_set_breaks_an_invariant() -> None:
    done, noticed = live(CreditRules, OPERATIONS, PART)
    accepted = ("Order", "CreditLimit", "DepositPlace", "DepositRelease", "PriceMine", "LevySet", "CapSet", "Stored")
    all_met(done, *(f"{one} ACCEPTED" for one in accepted))
    all_met(done, "PriceMine BACKWARDS", "Order OVER_CREDIT", "Amend ACCEPTED")
    all_met(noticed, "levied", "traded at set prices", "arrears were paid")


def _never(found: object) -> Callable[..., object]:
    return lambda *_args, **_more: found


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("meshnode.settlement.storing.collect", lambda state: list(state.balances.take_risen())[:0]),
        ("meshnode.ledger.credit.fault_of_promise", _never(Verdict.ACCEPTED)),
        (
            "meshnode.settlement.parameters.fault_of_start",
            lambda time_s, length_s, from_s: (Verdict.ACCEPTED, time_s // length_s * length_s),
        ),
        ("meshnode.execution.parameters._keep_within", _never(None)),
    ],
    ids=[
        "nobody pays what it owes",
        "nobody looks at a limit",
        "a price works backwards",
        "orders above a cap stay",
    ],
)
def test_a_bug_in_the_ledger_is_found(place: str, broken: Callable[..., object]) -> None:
    bug_is_found(CreditRules, OPERATIONS, place, broken)
