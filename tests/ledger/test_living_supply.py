"""Living supply: whoever signs and ends whatever, a supplier serves those first whom it had promised it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from meshnode.ledger import contracts
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import ContractSign
from tests.ledger.living import Living
from tests.ledger.living_supply import SupplyRules

OPERATIONS = 50
_FORGET = contracts.forget
_SIGN = contracts.sign
# As many as other lives beside the one that has the profile's examples.
PART = 4


def test_suppliers_serve_in_turn_whatever_is_agreed_meanwhile() -> None:
    Living.happened.clear()
    Living.noticed.clear()
    fewer = settings(stateful_step_count=OPERATIONS, max_examples=max(1, settings().max_examples // PART))
    run_state_machine_as_test(SupplyRules, settings=fewer)  # type: ignore[no-untyped-call]
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}, {dict(sorted(noticed.items()))}")
    for wanted in ("ContractOffer ACCEPTED", "ContractSign ACCEPTED", "ContractEnd ACCEPTED", "Order ACCEPTED"):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
    for wanted in ("served in turn", "short, and served in turn"):
        assert noticed[wanted], f"{wanted} never happened: {sorted(noticed)}"


def _backwards(state: State, step: ContractSign, account: bytes, time_s: int) -> Verdict:
    found = _SIGN(state, step, account, time_s)
    if found == Verdict.ACCEPTED:
        state.contracts.put(step.contract, msgspec.structs.replace(state.contracts[step.contract], signed_s=0))
    return found


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("in_turn", lambda state, at_s, items, parties: list(items)),
        ("forget", lambda state, before_s: _FORGET(state, state.meta.row.time_s)),
        ("sign", _backwards),
    ],
    ids=[
        "who traded first is served first",
        "contracts are forgotten too soon",
        "what is signed holds for what has begun",
    ],
)
def test_a_bug_in_the_supply_is_found(place: str, broken: Callable[..., object]) -> None:
    """The test of the test."""
    few = settings(
        stateful_step_count=OPERATIONS,
        max_examples=100,
        phases=(Phase.generate,),
        derandomize=True,
        report_multiple_bugs=False,
    )
    with mock.patch(f"meshnode.ledger.contracts.{place}", broken), pytest.raises((AssertionError, LookupError)):
        run_state_machine_as_test(SupplyRules, settings=few)  # type: ignore[no-untyped-call]
