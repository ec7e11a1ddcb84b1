"""Terms: what the state machine is told, field by field."""

from __future__ import annotations

import msgspec
import pytest

from zencode.facts import Asset, Band, Battery, ChargingPoint, Prices, PriceStep, Voting
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
    )


def test_the_village_takes_no_orders() -> None:
    village = terms(read(preset("mid_market_village")))
    assert (village.order_mechanism, village.sharing_mechanism) == (None, "mid-market-rate")
    assert village.fee_u_kwh == 0


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


def test_a_second_silence_has_no_field() -> None:
    text = HEAD + (
        "And there is a role 'admin'\n"
        "When a meter is silent for 30 minutes\nThen warn 'admin'\n"
        "When a meter is silent for 2 hours\nThen estimate the missing reading from the last 4 similar days\n"
    )
    found = terms(read(text))
    assert (found.silent_s, found.warn_roles, found.estimate_days) == (1_800, ("admin",), None)


def test_terms_are_plain_data() -> None:
    found = terms(read(preset("neighbour_market")))
    assert msgspec.convert(msgspec.to_builtins(found), Terms) == found


def test_prices_bands_and_places() -> None:
    text = HEAD + (
        "And the band 'peak' runs from 08:00 to 19:00 on 'Monday to Friday'\n"
        "And grid energy costs 0.41 EUR/kWh in the band 'peak'\n"
        "And grid energy costs 0.33 EUR/kWh from 2027-01-01\n"
        "And the law allows prices up to 0.40 EUR/kWh\n"
        "And the grid fee between members who share 0 levels of the grid is 0.05 EUR/kWh\n"
        "And the grid fee between members who share 1 levels of the grid is 0.02 EUR/kWh\n"
        "And 'anna' is connected to 'transformer 17' at level 2\n"
        "And 'anna' is connected to 'substation 4' at level 1\n"
        "And 'anna' has rank 2 in sharing\n"
    )
    found = terms(read(text))
    assert found.bands == (Band("peak", 8 * 3_600, 19 * 3_600, "Monday to Friday"),)
    assert found.prices == Prices(
        grid=(PriceStep(410_000, band="peak"), PriceStep(330_000, from_day=20_819)),
        legal_cap_u_kwh=400_000,
        grid_fees_u_kwh=(50_000, 20_000),
        connections=(("anna", ("substation 4", "transformer 17")),),
    )
    assert found.shares.ranks == (("anna", 2),)
    assert found.needs_catalogue == 2


def test_a_battery_and_its_energy() -> None:
    text = HEAD + (
        "And the battery 'Bay' stores 400 kWh at 100 kW and belongs to 'Coop'\n"
        "And the asset 'STORED' is 'energy' and at most 400000 of it exist\n"
        "And the asset 'STORED' is energy stored in the battery 'Bay'\n"
        "And the battery 'Bay' gives back 90 % of what it takes in\n"
        "And storage in the battery 'Bay' costs 200 EUR/kWh and a member at most 300 EUR\n"
        "And 'anna' contributed 7000 EUR to the battery 'Bay'\n"
        "And 'Bay' is measured by the meter 'a1b2'\n"
        "When the battery 'Bay' stores energy\n"
        "Then let nobody store more than 2 kWh\n"
        "And charge 0.001 EUR/kWh in every settlement period for what is stored\n"
    )
    found = terms(read(text))
    assert found.batteries == (
        Battery(
            name="Bay",
            capacity_wh=400_000,
            power_w=100_000,
            owner="Coop",
            meter="a1b2",
            asset="STORED",
            efficiency_ppm=900_000,
            storage_u_kwh=200_000_000,
            most_cost_u=300_000_000,
            contributions_u=(("anna", 7_000_000_000),),
            fee_u_kwh=1_000,
            most_wh=2_000,
        ),
    )
    assert found.assets == (Asset("STORED", "energy", 400_000),)


def test_coins_for_energy() -> None:
    text = HEAD + (
        "And the asset 'SUN' is 'utility' and at most 1000000 of it exist\n"
        "When a member injects energy\nThen mint one unit of 'SUN' for each 1 kWh\n"
        "When somebody redeems the asset 'SUN'\nThen burn one unit of 'SUN' for each 1 kWh delivered\n"
        "And deliver the energy from 'common battery'\n"
    )
    found = terms(read(text))
    assert found.assets == (Asset("SUN", "utility", 1_000_000, mint_wh=1_000, burn_wh=1_000, source="common battery"),)


def test_a_charging_session() -> None:
    text = HEAD + (
        "When a car charges at 'bay 1'\nThen sell energy at 0.35 EUR/kWh\nAnd charge 0.50 EUR for each session\n"
        "And end the session after 10 minutes without a reading\nAnd deliver at most 40 kWh in a session\n"
    )
    assert terms(read(text)).points == (
        ChargingPoint("bay 1", price_u_kwh=350_000, flat_u=500_000, most_wh=40_000, silence_s=600),
    )


def test_votes_and_pauses() -> None:
    text = HEAD.replace("Scenario", "Rule the role 'operator' may pause matching for at most 1 day\nScenario")
    text += (
        "When a vote opens\nThen close the vote after 2 weeks\nAnd count the vote only if 50 % of members take part\n"
    )
    assert terms(read(text)).voting == Voting(14 * 86_400, 500_000, "operator", 86_400)
