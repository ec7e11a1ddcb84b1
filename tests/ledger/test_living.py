"""Living: thousands of operations on assets and energy, drawn and shrunk by hypothesis, and none breaks an invariant.

5,000 operations in every run, 100,000 in the nightly profile (its number of examples is twenty times larger).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from meshnode.ledger.verdicts import Verdict
from tests.ledger.living import EnergyRules, Living, TokenRules
from tests.ledger.living_credit import CreditRules
from tests.ledger.living_deliveries import DeliveryRules
from tests.ledger.living_orders import AuctionRules, OrderRules
from tests.ledger.living_origin import OriginRules, Origins
from tests.ledger.living_wishes import WishRules

# A life of at most so many operations, a few less on average; the default profile draws a hundred lives, the nightly
# one two thousand. On average no life is shorter than what was promised.
OPERATIONS = 65
PROMISED = 50
# Lives with a battery are traced to the last Wh; a fourth of them, and shorter ones, show as much.
SHARE_OF_ORIGIN = 4
ORIGIN_OPERATIONS = 30


class Households(TokenRules, EnergyRules):
    """Assets, cash, and what meters say."""


class Everything(TokenRules, OriginRules, OrderRules, AuctionRules, DeliveryRules, CreditRules):
    """All families of rules in one life."""


def test_nothing_that_members_do_breaks_an_invariant() -> None:
    """I1 to I4 after every block, and both legs of every exchange."""
    Living.happened.clear()
    Living.noticed.clear()
    profile = settings()
    run_state_machine_as_test(Households, settings=settings(stateful_step_count=OPERATIONS))  # type: ignore[no-untyped-call]
    done = Living.happened
    print(f"{done.total()} operations: {dict(sorted(done.items()))}")
    assert done.total() >= PROMISED * profile.max_examples, done
    # A life in which everything is refused would show nothing, nor one in which nothing is.
    for wanted in (
        *("AssetIssue ACCEPTED", "Transfer ACCEPTED", "Burn ACCEPTED", "Reading ACCEPTED", "AssetIssue METER_MINTS"),
        *("ExchangeOffer ACCEPTED", "ExchangeAccept ACCEPTED", "ExchangeWithdraw ACCEPTED"),
        *("CashIn ACCEPTED", "CashAsk ACCEPTED", "CashOut ACCEPTED", "CashSell ACCEPTED", "CashConfirm ACCEPTED"),
        *("CashRelease ACCEPTED", "CashIn REFERENCE_TAKEN", "ExchangeAccept UNKNOWN_HOLD", "Transfer NOT_ENOUGH"),
    ):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
    refused = [name for name in done if " " in name and not name.endswith(" ACCEPTED")]
    assert len(refused) >= 20, f"only so few were refused: {sorted(refused)}"
    for wanted in ("minted by a meter", "taken back"):
        assert Living.noticed[wanted], wanted


def test_nothing_that_happens_side_by_side_breaks_an_invariant() -> None:
    """All families together, a quarter as many lives; what each of them must have met is its own test's business."""
    Living.happened.clear()
    few = settings(stateful_step_count=OPERATIONS, max_examples=settings().max_examples // 4)
    run_state_machine_as_test(Everything, settings=few)  # type: ignore[no-untyped-call]
    done = Living.happened
    print(f"{done.total()} operations: {dict(sorted(done.items()))}")
    for wanted in ("Order", "Transfer", "Reading", "CreditLimit"):
        assert done[f"{wanted} ACCEPTED"], f"{wanted} was never accepted: {sorted(done)}"
    assert any(name.startswith("SessionReserve ") for name in done), "nobody wanted to charge"


def test_nothing_that_is_ordered_breaks_an_invariant() -> None:
    """Orders, and the transfers that back them, alone: far more of them meet, and are undone again."""
    Living.happened.clear()
    Living.noticed.clear()
    run_state_machine_as_test(OrderRules, settings=settings(stateful_step_count=OPERATIONS))  # type: ignore[no-untyped-call]
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}; {dict(sorted(noticed.items()))}")
    for wanted in (
        *("Order ACCEPTED", "Order NOT_ENOUGH", "Order NOT_FILLED", "Amend ACCEPTED"),
        *("Cancel ACCEPTED", "Cancel UNKNOWN_ORDER", "TradeReversed ACCEPTED", "TradeReversed UNKNOWN_TRADE"),
    ):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
    assert noticed["traded"] >= 20 and noticed["reversed"], noticed


def test_nothing_that_is_wished_breaks_an_invariant() -> None:
    """Agents, partners, and a store of which members have no more than they may; half as many lives."""
    Living.happened.clear()
    Living.noticed.clear()
    few = settings(stateful_step_count=OPERATIONS, max_examples=settings().max_examples // 2)
    run_state_machine_as_test(WishRules, settings=few)  # type: ignore[no-untyped-call]
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}; {dict(sorted(noticed.items()))}")
    for wanted in (
        *("AgentSet ACCEPTED", "AgentOff ACCEPTED", "AgentSet TARGETS_CONTRADICT"),
        *("PartnerFirst ACCEPTED", "PartnerNobody ACCEPTED", "Stored ACCEPTED", "Stored NO_ROOM"),
    ):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
    for wanted in ("traded", "waits for room", "an agent's order rests"):
        assert noticed[wanted], f"{wanted}: never noticed"


def test_nothing_that_is_auctioned_breaks_an_invariant() -> None:
    """Auctions alone, a quarter as many lives."""
    Living.happened.clear()
    Living.noticed.clear()
    few = settings(stateful_step_count=OPERATIONS, max_examples=settings().max_examples // 4)
    run_state_machine_as_test(AuctionRules, settings=few)  # type: ignore[no-untyped-call]
    done = Living.happened
    print(f"{done.total()} operations: {dict(sorted(done.items()))}; {dict(sorted(Living.noticed.items()))}")
    for wanted in (
        "AuctionRising ACCEPTED",
        "AuctionFalling ACCEPTED",
        "AuctionBid ACCEPTED",
        "AuctionBid BID_TOO_WEAK",
    ):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
    assert Living.noticed["auction closed"] and Living.noticed["auction won"]


@pytest.mark.parametrize(
    ("life", "place", "broken"),
    [
        (TokenRules, "ledger.exchange.change", lambda state, account, asset, *, free=0, held=0: None),
        (TokenRules, "ledger.holds._shrink", lambda state, hold_id, amount: None),
        (TokenRules, "ledger.cash._fault_of_reference", lambda state, asset, reference: Verdict.ACCEPTED),
        (OrderRules, "ledger.standing.execute", lambda state, key, trade: state.executions.put(key, trade)),
        (OrderRules, "execution.floor.Floor.look_again", lambda floor, moment: None),
        (AuctionRules, "execution.auctions._hold", lambda call, hold_id, asset, amount: Verdict.ACCEPTED),
        (OrderRules, "ledger.standing.fault_of_reversal", lambda state, trade: Verdict.ACCEPTED),
        (WishRules, "execution.agents._heed", lambda turn, asset, row: False),
        (WishRules, "execution.tokens.capacity.has_room", lambda state, code, account, amount: True),
        (WishRules, "ledger.standing.capacity.room", lambda state, code, account, bidding=b"": None),
    ],
    ids=[
        "the wanted leg does not move",
        "a hold outlives its amount",
        "a payment counts twice",
        "a trade moves nothing",
        "what came in does not back an order",
        "what is bid is not held",
        "what was spent goes back",
        "an agent forgets what it has ordered",
        "room is not asked for",
        "what is bought needs no room",
    ],
)
def test_a_bug_in_the_ledger_is_found(life: type[Living], place: str, broken: Callable[..., object]) -> None:
    """The test of the test: with one line of the ledger gone, a few lives are enough."""
    few = settings(
        stateful_step_count=OPERATIONS,
        max_examples=100,
        phases=(Phase.generate,),
        derandomize=True,
        report_multiple_bugs=False,
    )
    with mock.patch(f"meshnode.{place}", broken), pytest.raises(AssertionError):
        run_state_machine_as_test(life, settings=few)  # type: ignore[no-untyped-call]


def test_every_wh_ends_in_one_place_whatever_members_do() -> None:
    """Readings late and wrong, a battery, certificates: shares are the settlement's, no Wh ends twice or nowhere."""
    Living.happened.clear()
    Living.noticed.clear()
    lives = settings().max_examples // SHARE_OF_ORIGIN
    few = settings(stateful_step_count=ORIGIN_OPERATIONS, max_examples=lives)
    run_state_machine_as_test(Origins, settings=few)  # type: ignore[no-untyped-call]
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}, {dict(sorted(noticed.items()))}")
    for wanted in ("CertificateTransfer ACCEPTED", "CertificateRetire ACCEPTED", "CertificateRetire NOT_CERTIFIED"):
        assert done[wanted], f"{wanted} never happened: {sorted(done)}"
    assert noticed["periods traced"] and noticed["certificates issued"]


def _pass_on_and_keep(_state: object, _account: bytes, chosen: list[Any]) -> tuple[Any, ...]:
    return tuple((*key[1:], msgspec.structs.replace(row, wh=wh)) for key, row, wh in chosen)


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("meshnode.ledger.certificates._cut", _pass_on_and_keep),
        ("meshnode.settlement.origins._keep", lambda state, device, removed, left, added: None),
    ],
    ids=["certificates are passed on and kept", "what was stored is forgotten"],
)
def test_a_bug_in_the_origin_is_found(place: str, broken: Callable[..., object]) -> None:
    few = settings(stateful_step_count=ORIGIN_OPERATIONS, max_examples=20, phases=(Phase.generate,), derandomize=True)
    with mock.patch(place, broken), pytest.raises(AssertionError):
        run_state_machine_as_test(Origins, settings=few)  # type: ignore[no-untyped-call]
