"""Living governance: whatever is proposed and voted, nothing begins that should not, and nothing trades in a pause."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from meshnode.ledger import proposals
from meshnode.ledger.governance_rows import ADOPTED, BEGUN, OPEN, OVERTAKEN, REJECTED
from tests.ledger.living import Living
from tests.ledger.living_governance import GovernanceRules

OPERATIONS = 50
# The life without votes has the profile's examples; this one a quarter of them.
PART = 4


def test_nothing_begins_that_was_not_adopted_and_nothing_trades_in_a_pause() -> None:
    Living.happened.clear()
    Living.noticed.clear()
    fewer = settings(stateful_step_count=OPERATIONS, max_examples=max(1, settings().max_examples // PART))
    run_state_machine_as_test(GovernanceRules, settings=fewer)  # type: ignore[no-untyped-call]
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}, {dict(sorted(noticed.items()))}")
    for wanted in ("BindingProposal", "BindingVote", "PauseBegin", "Order"):
        assert done[f"{wanted} ACCEPTED"], f"{wanted} was never accepted: {sorted(done)}"
    refused = [name for name in done if name.startswith("Binding") and not name.endswith(" ACCEPTED")]
    assert len(refused) >= 4, f"only so few were refused: {sorted(refused)}"
    for status in (OPEN, ADOPTED, BEGUN, REJECTED, OVERTAKEN):
        assert noticed[f"status {status}"], f"status {status}: never: {sorted(noticed)}"
    for wanted in ("put off", "closed in a pause"):
        assert noticed[wanted], f"{wanted}: never: {sorted(noticed)}"


def _never(found: object) -> Callable[..., object]:
    return lambda *_args, **_more: found


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("meshnode.ledger.proposals.share_of", _never(1)),
        ("meshnode.ledger.proposals.can", _never(True)),
        ("meshnode.ledger.proposals.boundary", lambda time_s, length_s: time_s),
        ("meshnode.settlement.closing.pausing.is_paused", _never(False)),
        ("meshnode.execution.governance.proposals.is_supported", _never(False)),
        ("meshnode.machine.Machine._binding", lambda self, start_s: proposals.in_force(self.state)),
    ],
    ids=[
        "one vote adopts",
        "nobody asks what nodes can",
        "it begins inside a period",
        "a pause stops nothing",
        "it is put off for ever",
        "the newest binding settles what began before",
    ],
)
def test_a_bug_in_governance_is_found(place: str, broken: Callable[..., object]) -> None:
    """The test of the test."""
    few = settings(
        stateful_step_count=OPERATIONS,
        max_examples=100,
        phases=(Phase.generate,),
        derandomize=True,
        report_multiple_bugs=False,
    )
    with mock.patch(place, broken), pytest.raises(AssertionError):
        run_state_machine_as_test(GovernanceRules, settings=few)  # type: ignore[no-untyped-call]
