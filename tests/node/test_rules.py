"""Rules: both presets as the state machine carries them out."""

from __future__ import annotations

import hashlib

import pytest

from meshnode.ledger.book import BookRules
from meshnode.market import MechanismError, Mechanisms
from meshnode.market.registry import installed_mechanisms
from meshnode.rules import MECHANISM_VERSION, Rules, rules_of
from meshnode.settlement import Tariff, fund_account
from protocols.records import DEFAULT_LIMITS
from zencode.binding import BindingTreeError, encode
from zencode.presets import preset
from zencode.reader import read
from zencode.terms import TermsError


def tree_of(name: str, *changes: tuple[str, str]) -> bytes:
    """The tree of a preset, some of whose sentences say something else."""
    text = preset(name)
    for before, after in changes:
        assert before in text, f"{name} does not say {before!r}"
        text = text.replace(before, after)
    return encode(read(text))


def rules(name: str, *changes: tuple[str, str]) -> Rules:
    return rules_of(tree_of(name, *changes), DEFAULT_LIMITS, installed_mechanisms())


def test_the_neighbour_market_trades_inside_its_bounds_and_takes_a_fee() -> None:
    found = rules("neighbour_market")
    assert found.binding == hashlib.sha256(tree_of("neighbour_market")).digest()
    mechanism = found.period.mechanism
    assert mechanism is not None and (mechanism.name, mechanism.version) == ("pay-as-clear", MECHANISM_VERSION)
    # Two minutes, two days, and four days to estimate from.
    assert (found.period.length_s, found.period.grace_s, found.period.correction_s) == (900, 120, 172_800)
    assert (found.period.currency, found.period.estimate_days) == ("EUR", 4)
    assert found.book == BookRules(
        open=True,
        floor_u_kwh=80_000,
        cap_u_kwh=290_000,
        max_order_wh=20_000,
        max_ahead_s=DEFAULT_LIMITS.max_order_ahead_s,
        period_length_s=900,
    )
    assert found.period.tariff == Tariff(
        grid_price_u_kwh=300_000,
        feed_in_price_u_kwh=80_000,
        sharing="mid-market-rate",
        fee_u_kwh=10_000,
        fee_split=((fund_account("community fund"), 800_000), (fund_account("node operators"), 200_000)),
    )
    assert found.members.roles == {"admin", "auditor"}


def test_the_mid_market_village_shares_and_has_no_book() -> None:
    found = rules("mid_market_village")
    assert found.period.mechanism is None
    assert found.book == BookRules(
        open=False,
        floor_u_kwh=None,
        cap_u_kwh=None,
        max_order_wh=None,
        max_ahead_s=DEFAULT_LIMITS.max_order_ahead_s,
        period_length_s=900,
    )
    assert found.period.tariff == Tariff(
        grid_price_u_kwh=300_000,
        feed_in_price_u_kwh=80_000,
        sharing="mid-market-rate",
        fee_u_kwh=0,
        fee_split=((fund_account("community fund"), 1_000_000),),
    )


@pytest.mark.parametrize("name", ["neighbour_market", "mid_market_village"])
def test_in_italian_the_rules_are_the_same(name: str) -> None:
    tree = encode(read(preset(name, "it")))
    assert rules_of(tree, DEFAULT_LIMITS, installed_mechanisms()).binding == rules(name).binding


def test_what_the_binding_says_is_what_the_rules_hold() -> None:
    patient = ("a period settles 2 minutes after its end", "a period settles 10 minutes after its end")
    before, after = rules("neighbour_market"), rules("neighbour_market", patient)
    assert (before.period.grace_s, after.period.grace_s) == (120, 600)
    assert before.binding != after.binding


def test_a_mechanism_that_is_not_installed_is_named() -> None:
    with pytest.raises(MechanismError, match="pay-as-clear"):
        rules_of(tree_of("neighbour_market"), DEFAULT_LIMITS, Mechanisms([]))


@pytest.mark.parametrize("tree", [b"", b"\x80", b"\xff", tree_of("neighbour_market") + b"\x00"])
def test_bytes_that_are_no_tree_are_refused(tree: bytes) -> None:
    with pytest.raises((BindingTreeError, TermsError)):
        rules_of(tree, DEFAULT_LIMITS, installed_mechanisms())
