"""Living: thousands of operations on assets and energy, drawn and shrunk by hypothesis, and none breaks an invariant.

5,000 operations in every run, 100,000 in the nightly profile (its number of examples is twenty times larger).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import settings

from meshnode.ledger.verdicts import Verdict
from tests.ledger.lives import LIVES_A_RUN, all_met, bug_is_found, live
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


def test_a_night_is_lived_in_runs_that_fit_into_memory() -> None:
    """What hypothesis remembers of a run goes with it; and no life is lost by that."""
    usual = settings.get_current_profile_name()
    with mock.patch("tests.ledger.lives.run_state_machine_as_test") as run:
        try:
            settings.load_profile("nightly")
            live(Households, OPERATIONS, 3)
        finally:
            settings.load_profile(usual)
    lives = [call.kwargs["settings"].max_examples for call in run.call_args_list]
    assert sum(lives) == 2000 // 3 and max(lives) <= LIVES_A_RUN


def test_nothing_that_members_do_breaks_an_invariant() -> None:
    """I1 to I4 after every block, and both legs of every exchange."""
    done, noticed = live(Households, OPERATIONS)
    assert done.total() >= PROMISED * settings().max_examples, done
    all_met(
        done, "AssetIssue ACCEPTED", "Transfer ACCEPTED", "Burn ACCEPTED", "Reading ACCEPTED", "AssetIssue METER_MINTS"
    )
    all_met(done, "ExchangeOffer ACCEPTED", "ExchangeAccept ACCEPTED", "ExchangeWithdraw ACCEPTED")
    all_met(
        done, "CashIn ACCEPTED", "CashAsk ACCEPTED", "CashOut ACCEPTED", "CashSell ACCEPTED", "CashConfirm ACCEPTED"
    )
    all_met(
        done, "CashRelease ACCEPTED", "CashIn REFERENCE_TAKEN", "ExchangeAccept UNKNOWN_HOLD", "Transfer NOT_ENOUGH"
    )
    refused = [name for name in done if " " in name and not name.endswith(" ACCEPTED")]
    assert len(refused) >= 20, f"only so few were refused: {sorted(refused)}"
    all_met(noticed, "minted by a meter", "taken back")


def test_nothing_that_happens_side_by_side_breaks_an_invariant() -> None:
    """All families together, a quarter as many lives; what each of them must have met is its own test's business."""
    done, _ = live(Everything, OPERATIONS, 4)
    for wanted in ("Order", "Transfer", "Reading", "CreditLimit"):
        assert done[f"{wanted} ACCEPTED"], f"{wanted} was never accepted: {sorted(done)}"
    assert any(name.startswith("SessionReserve ") for name in done), "nobody wanted to charge"


def test_nothing_that_is_ordered_breaks_an_invariant() -> None:
    """Orders, and the transfers that back them, alone: far more of them meet, and are undone again."""
    done, noticed = live(OrderRules, OPERATIONS)
    all_met(done, "Order ACCEPTED", "Order NOT_ENOUGH", "Order NOT_FILLED", "Amend ACCEPTED")
    all_met(done, "Cancel ACCEPTED", "Cancel UNKNOWN_ORDER", "TradeReversed ACCEPTED", "TradeReversed UNKNOWN_TRADE")
    assert noticed["traded"] >= 20 and noticed["reversed"], noticed


def test_nothing_that_is_wished_breaks_an_invariant() -> None:
    """Agents, partners, and a store of which members have no more than they may; half as many lives."""
    done, noticed = live(WishRules, OPERATIONS, 2)
    all_met(done, "AgentSet ACCEPTED", "AgentOff ACCEPTED", "AgentSet TARGETS_CONTRADICT")
    all_met(done, "PartnerFirst ACCEPTED", "PartnerNobody ACCEPTED", "Stored ACCEPTED", "Stored NO_ROOM")
    all_met(noticed, "traded", "waits for room", "an agent's order rests")


def test_nothing_that_is_auctioned_breaks_an_invariant() -> None:
    """Auctions alone, a quarter as many lives."""
    done, noticed = live(AuctionRules, OPERATIONS, 4)
    all_met(done, "AuctionRising ACCEPTED", "AuctionFalling ACCEPTED", "AuctionBid ACCEPTED", "AuctionBid BID_TOO_WEAK")
    all_met(noticed, "auction closed", "auction won")


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
    bug_is_found(life, OPERATIONS, f"meshnode.{place}", broken)


def test_every_wh_ends_in_one_place_whatever_members_do() -> None:
    """Readings late and wrong, a battery, certificates: shares are the settlement's, no Wh ends twice or nowhere."""
    done, noticed = live(Origins, ORIGIN_OPERATIONS, SHARE_OF_ORIGIN)
    all_met(done, "CertificateTransfer ACCEPTED", "CertificateRetire ACCEPTED", "CertificateRetire NOT_CERTIFIED")
    all_met(noticed, "periods traced", "certificates issued")


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
    bug_is_found(Origins, ORIGIN_OPERATIONS, place, broken)
