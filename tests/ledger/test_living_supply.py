"""Living supply: whoever signs and ends whatever, a supplier serves those first whom it had promised it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from meshnode.ledger import contracts
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import ContractSign
from tests.ledger.lives import all_met, bug_is_found, live
from tests.ledger.living_supply import SupplyRules

OPERATIONS = 50
_FORGET = contracts.forget
_SIGN = contracts.sign
# As many as other lives beside the one that has the profile's examples.
PART = 4


def test_suppliers_serve_in_turn_whatever_is_agreed_meanwhile() -> None:
    done, noticed = live(SupplyRules, OPERATIONS, PART)
    all_met(done, "ContractOffer ACCEPTED", "ContractSign ACCEPTED", "ContractEnd ACCEPTED", "Order ACCEPTED")
    all_met(noticed, "served in turn", "short, and served in turn")


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
    bug_is_found(SupplyRules, OPERATIONS, f"meshnode.ledger.contracts.{place}", broken)
