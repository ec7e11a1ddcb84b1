"""Living bills: whatever is late, missing or corrected, a billing period is what its settlement periods come to."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from meshnode.settlement import billing_periods
from tests.ledger.living import Living
from tests.ledger.living_billing import BillingRules

OPERATIONS = 40
# The life without bills has the profile's examples; this one, whose hours are four blocks, a quarter of them.
PART = 4
_SET_OFF = billing_periods.set_off


def test_every_billing_period_is_posted_once_and_corrected() -> None:
    Living.happened.clear()
    Living.noticed.clear()
    fewer = settings(stateful_step_count=OPERATIONS, max_examples=max(1, settings().max_examples // PART))
    run_state_machine_as_test(BillingRules, settings=fewer)  # type: ignore[no-untyped-call]
    noticed = Living.noticed
    print(f"{Living.happened.total()} operations: {dict(sorted(noticed.items()))}")
    assert "120 minutes" in BillingRules.binding
    for wanted in ("bill", "bill corrected", "bill final", "lost", "incentive"):
        assert noticed[wanted], f"{wanted}: never: {sorted(noticed)}"


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("corrected", lambda *_arguments: []),
        ("set_off", lambda bought_wh, bought_u, *surplus: _SET_OFF(bought_wh, bought_u + 1, *surplus)),
        ("_post_again", lambda *_arguments: []),
        ("_by_substation", lambda *_arguments: {}),
    ],
    ids=["late readings change nothing", "a micro-unit less is lost", "corrections are not posted", "nobody is placed"],
)
def test_a_bug_in_bills_is_found(place: str, broken: Callable[..., object]) -> None:
    """The test of the test: with one line of the ledger gone, a few lives are enough."""
    few = settings(stateful_step_count=OPERATIONS, max_examples=60, phases=(Phase.generate,), derandomize=True)
    with mock.patch(f"meshnode.settlement.billing_periods.{place}", broken), pytest.raises(AssertionError):
        run_state_machine_as_test(BillingRules, settings=few)  # type: ignore[no-untyped-call]
