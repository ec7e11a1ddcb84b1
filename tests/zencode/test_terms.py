"""Terms: what the state machine is told, field by field."""

from __future__ import annotations

import msgspec
import pytest

from zencode.languages import LANGUAGES
from zencode.presets import NAMES, preset
from zencode.reader import read
from zencode.terms import JoinRule, Terms, Visibility, terms

HEAD = "Rule language 'en'\nRule binding version 1\nScenario 'market': Palm Bay\nGiven the currency is 'EUR'\n"


def test_the_neighbour_market() -> None:
    assert terms(read(preset("neighbour_market"))) == Terms(
        currency="EUR",
        settlement_period_s=900,
        grace_s=120,
        correction_deadline_s=172_800,
        billing_months=1,
        grid_price_u_kwh=300_000,
        feed_in_price_u_kwh=80_000,
        order_mechanism="pay-as-clear",
        sharing_mechanism="mid-market-rate",
        price_floor_u_kwh=80_000,
        price_cap_u_kwh=290_000,
        max_order_wh=20_000,
        fee_u_kwh=10_000,
        fee_split=(("community fund", 800_000), ("node operators", 200_000)),
        votes_ppm=660_000,
        notice_s=14 * 86_400,
        silent_s=1_800,
        estimate_days=4,
        warn_roles=("admin",),
        net_debts=True,
        keep_open_months=1,
        roles=("admin", "auditor"),
        join_rules=(JoinRule("prosumer", "accept", credentials=("invitation",)),),
        visibility=(
            Visibility(True, "auditor", "all trades"),
            Visibility(True, "prosumer", "all trades"),
        ),
        beyond=(),
    )


def test_the_village_takes_no_orders() -> None:
    village = terms(read(preset("mid_market_village")))
    assert (village.order_mechanism, village.sharing_mechanism) == (None, "mid-market-rate")
    assert (village.fee_u_kwh, village.beyond) == (0, ())


def test_what_is_not_said_has_its_default() -> None:
    assert terms(read(HEAD)) == Terms(currency="EUR")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_all_languages_have_the_same_terms(name: str, code: str) -> None:
    assert terms(read(preset(name))) == terms(read(preset(name, code)))


def test_fixed_shares() -> None:
    found = terms(read(preset("spanish_self_consumption")))
    assert found.sharing_mechanism == "static" and found.offer_unused_again
    assert found.allocation_shares == (
        ("local bajo", 350_000),
        ("piso 1A", 225_000),
        ("piso 1B", 175_000),
        ("piso 2A", 250_000),
    )
    assert (found.member_fee_u, found.member_fee_months, found.member_fee_s) == (2_500_000, 1, 0)
    assert found.member_fee_split == (("community fund", 1_000_000),)
    assert Visibility(False, "vecino", "curves of other homes") in found.visibility
    assert found.beyond == ("plant",)


def test_join_rules_keep_the_order_of_the_file() -> None:
    text = HEAD + (
        "When somebody asks to join as 'trader'\n"
        "If the member shows the credential 'banned'\n"
        "Then refuse the member\n"
        "EndIf\n"
        "If the meter is behind the substation 'AC1'\n"
        "And the member shows the credential 'verified meter'\n"
        "Then accept the member\n"
        "And hold a deposit of 50 EUR\n"
        "EndIf\n"
        "Then ask 75 % of members to agree within 2 weeks\n"
    )
    assert terms(read(text)).join_rules == (
        JoinRule("trader", "refuse", credentials=("banned",)),
        JoinRule("trader", "accept", credentials=("verified meter",), substations=("AC1",), deposit_u=50_000_000),
        JoinRule("trader", "ask", ask_ppm=750_000, ask_within_s=14 * 86_400),
    )


def test_what_this_view_does_not_carry_is_named() -> None:
    yard = terms(read(preset("charging_yard")))
    assert yard.beyond == (
        "plant",
        "time band",
        "a car charges",
        "in a time band",
        "falling auction",
        "debt limit",
        "fee per kWh",
        "split",
        "pay back",
        "collect",
        "serve first",
        "limit charging",
    )


def test_an_action_under_a_condition_is_no_standing_term() -> None:
    text = HEAD + (
        "And the band 'night' runs from 22:00 to 06:00\n"
        "When a member places an order\n"
        "Then match orders in a double auction at one price\n"
        "If the time is in band 'night'\n"
        "Then refuse prices above 0.20 EUR/kWh\n"
        "EndIf\n"
    )
    found = terms(read(text))
    assert found.order_mechanism == "pay-as-clear" and found.price_cap_u_kwh is None
    assert found.beyond == ("time band", "a member places an order", "in a time band", "price cap")


def test_what_stands_at_another_event_is_not_taken_for_it() -> None:
    text = HEAD + (
        "And there is a role 'admin'\n"
        "When a settlement period closes\n"
        "Then buy the need in a falling auction of 15 minutes\n"
        "When a member leaves\n"
        "Then warn 'admin'\n"
    )
    found = terms(read(text))
    assert (found.order_mechanism, found.warn_roles) == (None, ())
    assert found.beyond == ("falling auction", "warn")


def test_a_second_silence_is_beyond() -> None:
    text = HEAD + (
        "And there is a role 'admin'\n"
        "When a meter is silent for 30 minutes\nThen warn 'admin'\n"
        "When a meter is silent for 2 hours\nThen estimate the missing reading from the last 4 similar days\n"
    )
    found = terms(read(text))
    assert (found.silent_s, found.warn_roles, found.estimate_days) == (1_800, ("admin",), None)
    assert found.beyond == ("a meter is silent", "estimate")


def test_terms_are_plain_data() -> None:
    found = terms(read(preset("neighbour_market")))
    assert msgspec.convert(msgspec.to_builtins(found), Terms) == found
