"""Living prices: whatever is reported, defined or corrected, a period costs what was said when it began."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from meshnode.settlement import driven
from meshnode.settlement.driven import likely
from tests.ledger.living import Living
from tests.ledger.living_prices import PriceRules

OPERATIONS = 50
# The life without prices has the profile's examples; this one a quarter of them.
PART = 4
_EXPECTED = driven.expected


def test_no_period_costs_anything_else_than_what_was_said_when_it_began() -> None:
    Living.happened.clear()
    Living.noticed.clear()
    fewer = settings(stateful_step_count=OPERATIONS, max_examples=max(1, settings().max_examples // PART))
    run_state_machine_as_test(PriceRules, settings=fewer)  # type: ignore[no-untyped-call]
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}, {dict(sorted(noticed.items()))}")
    for wanted in ("FeedDefine ACCEPTED", "FeedValue ACCEPTED", "FeedValue VALUE_STALE", "FeedValue VALUE_AGREED"):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
    assert "120 minutes" in PriceRules.binding
    for wanted in ("PeriodClosed by feed", "PeriodClosed fixed", "PeriodCorrected by feed", "PeriodCorrected fixed"):
        assert noticed[wanted], f"{wanted} never happened: {sorted(noticed)}"


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("begin", lambda state, start_s: None),
        ("tariff", lambda state, start_s, fixed: likely(state, start_s, fixed, 0)),
        ("expected", lambda state, start_s, drives: _EXPECTED(state, start_s + 1, drives)),
        ("finish", lambda state, start_s: None),
    ],
    ids=[
        "nothing is written down",
        "what is said later counts",
        "a value of the next second counts",
        "what is final is kept",
    ],
)
def test_a_bug_in_the_prices_is_found(place: str, broken: Callable[..., object]) -> None:
    """The test of the test: with one line of the ledger gone, a few lives are enough."""
    few = settings(stateful_step_count=OPERATIONS, max_examples=100, phases=(Phase.generate,), derandomize=True)
    with mock.patch(f"meshnode.settlement.driven.{place}", broken), pytest.raises(AssertionError):
        run_state_machine_as_test(PriceRules, settings=few)  # type: ignore[no-untyped-call]
