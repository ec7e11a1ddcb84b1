"""Living credit: whatever is set, owed and given back, nothing works backwards, and old debts are paid first."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from meshnode.ledger.verdicts import Verdict
from tests.ledger.living import Living
from tests.ledger.living_credit import CreditRules

OPERATIONS = 65
# The life without credit has the profile's examples; this one a quarter of them.
PART = 4


def test_nothing_that_is_owed_or_set_breaks_an_invariant() -> None:
    Living.happened.clear()
    Living.noticed.clear()
    fewer = settings(stateful_step_count=OPERATIONS, max_examples=max(1, settings().max_examples // PART))
    run_state_machine_as_test(CreditRules, settings=fewer)  # type: ignore[no-untyped-call]
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}, {dict(sorted(noticed.items()))}")
    for wanted in (
        "Order",
        "CreditLimit",
        "DepositPlace",
        "DepositRelease",
        "PriceMine",
        "LevySet",
        "CapSet",
        "Stored",
    ):
        assert done[f"{wanted} ACCEPTED"], f"{wanted} was never accepted: {sorted(done)}"
    assert done["PriceMine BACKWARDS"] and done["Order OVER_CREDIT"], sorted(done)
    for wanted in ("levied", "traded at set prices", "arrears were paid"):
        assert noticed[wanted], f"{wanted}: never: {sorted(noticed)}"


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
    """The test of the test."""
    few = settings(
        stateful_step_count=OPERATIONS,
        max_examples=100,
        phases=(Phase.generate,),
        derandomize=True,
        report_multiple_bugs=False,
    )
    with mock.patch(place, broken), pytest.raises(AssertionError):
        run_state_machine_as_test(CreditRules, settings=few)  # type: ignore[no-untyped-call]
