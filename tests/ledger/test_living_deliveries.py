"""Living deliveries: whatever members, meters and time do, no Wh and no unit is lost or counted twice."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from meshnode.market import session
from meshnode.market.redemption import Redeemed
from tests.ledger.lives import live
from tests.ledger.living_deliveries import HouseholdsDelivered

OPERATIONS = 65
# The life without deliveries has the profile's examples; this one, which is longer, a quarter of them.
PART = 4
_BILL = session.settle


def test_nothing_that_happens_at_points_breaks_an_invariant() -> None:
    done, noticed = live(HouseholdsDelivered, OPERATIONS, PART)
    for wanted in ("SessionReserve", "CoinRedeem", "DeliveryCancel", "Tick", "Stored"):
        assert done[f"{wanted} ACCEPTED"], f"{wanted} was never accepted: {sorted(done)}"
    for wanted in ("session ENDED", "KEPT ENDED", "CANCELLED", "restored"):
        assert any(name.endswith(wanted) for name in noticed), f"{wanted} never happened: {sorted(noticed)}"


def _rounded_up(coins: int, unit_wh: int, carried_wh: int, delivered_wh: int) -> Redeemed:
    burned = min(coins, -(-(carried_wh + delivered_wh) // unit_wh))
    return Redeemed(burned, coins - burned, 0)


def _never(found: object) -> Callable[..., object]:
    return lambda *_args, **_more: found


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("meshnode.settlement.delivering.redemption.settle", _rounded_up),
        ("meshnode.settlement.delivering.delivery.lapse", lambda delivery, now_s: delivery),
        ("meshnode.settlement.delivering.lapse", _never([])),
        ("meshnode.market.delivery._refusal", _never(None)),
        (
            "meshnode.settlement.delivering.session.settle",
            lambda tariff, cap_wh, wh: msgspec.structs.replace(_BILL(tariff, cap_wh, wh), refund_u=0),
        ),
        ("meshnode.settlement.storing._fault_of_registers", _never(0)),
        ("meshnode.settlement.restoring.fault", _never(0)),
    ],
    ids=[
        "a coin burns for a part",
        "a deadline ends nothing",
        "nobody looks at deadlines",
        "every tick counts",
        "nothing comes back",
        "parts need not add up",
        "any correction is carried out",
    ],
)
def test_a_bug_in_deliveries_is_found(place: str, broken: Callable[..., object]) -> None:
    """The test of the test: with one line of the ledger gone, a few lives are enough."""
    few = settings(stateful_step_count=OPERATIONS, max_examples=100, phases=(Phase.generate,), derandomize=True)
    with mock.patch(place, broken), pytest.raises((AssertionError, ValueError, LookupError)):
        run_state_machine_as_test(HouseholdsDelivered, settings=few)  # type: ignore[no-untyped-call]
