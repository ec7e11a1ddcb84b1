"""Living: thousands of operations on assets and energy, drawn and shrunk by hypothesis, and none breaks an invariant.

5,000 operations in every run, 100,000 in the nightly profile (its number of examples is twenty times larger).
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger.living import Everything, Living

# A life of so many operations; the default profile draws a hundred lives, the nightly one two thousand.
OPERATIONS = 50


def test_nothing_that_members_do_breaks_an_invariant() -> None:
    """I1 to I4 after every block, and both legs of every exchange."""
    Living.happened.clear()
    profile = settings()
    run_state_machine_as_test(Everything, settings=settings(stateful_step_count=OPERATIONS))  # type: ignore[no-untyped-call]
    done = Living.happened
    print(f"{done.total()} operations: {dict(sorted(done.items()))}")
    assert done.total() > 0.8 * OPERATIONS * profile.max_examples, done
    # A life in which everything is refused would show nothing.
    for wanted in (
        *("AssetIssue ACCEPTED", "AssetIssue MINTED_ONCE", "AssetIssue OVER_CAP", "Transfer ACCEPTED"),
        *("Burn ACCEPTED", "Exchange ACCEPTED", "Exchange UNKNOWN_HOLD", "Exchange NOT_FOR_YOU", "Exchange NOT_ENOUGH"),
        *("Cash ACCEPTED", "Cash REFERENCE_TAKEN", "Cash NOT_CASHIER", "Cash UNKNOWN_HOLD", "Reading ACCEPTED"),
        *("AssetIssue METER_MINTS", "minted by a meter", "taken back"),
    ):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
