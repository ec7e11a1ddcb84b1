"""Sharing on the ledger: bindings that share by fixed shares or by use are carried out, period by period."""

from __future__ import annotations

import pytest

from meshnode.market.registry import installed_mechanisms
from meshnode.rules import hindrances, rules_of
from meshnode.settlement import GRID_ACCOUNT, PeriodInputs, Reason, Settlement, changes_by_account, fund_account, settle
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from protocols.records import DEFAULT_LIMITS
from tests.ledger.chain import Chain, account, member, period_s
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

ANNA, BELA, CARLA, DORA = (account(home) for home in ("anna", "bela", "carla", "dora"))

SHARES = {"anna": "50", "bela": "30", "dora": "20"}


def binding(how: str, *more: str, fee: bool = False) -> str:
    """The mid-market village with another way to share."""
    text = preset("mid_market_village").replace("share production at the mid-market rate", how)
    given = [f"And '{name}' has an allocation share of {share} %" for name, share in SHARES.items()]
    if "fixed" in how:
        text = text.replace("And there is a role 'admin'", "\n".join([*given, "And there is a role 'admin'"]))
    actions = [f"Then {how}", *(f"And {one}" for one in more)]
    if fee:
        actions += [
            "And charge a fee of 0.01 EUR/kWh on 'traded energy'",
            "And split the 'network fee' 100 % to 'community fund'",
        ]
    return text.replace(f"Then {how}", "\n".join(actions))


FIXED = "share production by fixed allocation shares"
BY_USE = "share production in proportion to use"
AGAIN = "offer unused shares again in proportion to use"


def a_period(text: str, **homes: tuple[int, int]) -> tuple[Chain, Settlement]:
    """One period of a village of three; (taken, given) by home."""
    chain = Chain(3, binding=text)
    names = chain.village.homes
    chain.block(*(chain.reading(home, -1, 10_000, 10_000) for home in names))
    chain.block(
        *(
            chain.reading(home, 0, 10_000 + homes.get(home, (0, 0))[0], 10_000 + homes.get(home, (0, 0))[1])
            for home in names
        ),
        time_s=period_s(1) + 3,
    )
    (event,) = [one for one in chain.events[chain.machine.height] if isinstance(one, PeriodClosed)]
    return chain, event.settlement


def energies(settlement: Settlement) -> dict[bytes, tuple[int, int, int, int]]:
    return {line.account: (line.neighbours_wh, line.grid_wh, line.sold_wh, line.fed_in_wh) for line in settlement.lines}


def test_fixed_shares_give_each_its_part_and_leave_the_rest_over() -> None:
    """Carla made 1000 Wh: half for Anna, who uses 400; 30 % for Bela; Dora's 20 % wait until she is a member."""
    chain, found = a_period(binding(FIXED), anna=(400, 0), bela=(900, 0), carla=(0, 1000))
    assert energies(found) == {ANNA: (400, 0, 0, 0), BELA: (300, 600, 0, 0), CARLA: (0, 0, 700, 300)}
    # What is shared costs nothing; the rest is bought at 0.30 and fed in at 0.08.
    assert chain.claims() == {BELA: -180_000, CARLA: 24_000, GRID_ACCOUNT: 156_000}
    assert {posting.amount_u for posting in found.postings if posting.reason is Reason.SHARED} == {0}


def test_unused_shares_are_offered_again() -> None:
    _, found = a_period(binding(FIXED, AGAIN), anna=(400, 0), bela=(900, 0), carla=(0, 1000))
    assert energies(found) == {ANNA: (400, 0, 0, 0), BELA: (600, 300, 0, 0), CARLA: (0, 0, 1000, 0)}


def test_by_use_everybody_gets_the_same_part_of_its_use() -> None:
    _, found = a_period(binding(BY_USE), anna=(400, 0), bela=(1200, 0), carla=(0, 1000))
    assert energies(found) == {ANNA: (250, 150, 0, 0), BELA: (750, 450, 0, 0), CARLA: (0, 0, 1000, 0)}


def test_the_fee_is_charged_on_shared_energy_too() -> None:
    chain, _ = a_period(binding(FIXED, fee=True), anna=(400, 0), bela=(0, 0), carla=(0, 1000))
    # 400 Wh at 0.01 from Anna to the fund; Carla feeds 600 in at 0.08.
    assert chain.claims() == {ANNA: -4_000, fund_account("community fund"): 4_000, CARLA: 48_000, GRID_ACCOUNT: -48_000}


def test_a_share_counts_from_the_first_period_after_joining() -> None:
    chain, first = a_period(binding(FIXED), anna=(100, 0), bela=(100, 0), carla=(0, 1000))
    assert DORA not in energies(first)
    # She joins inside the second period, so she counts in the third.
    assert chain.say(chain.join(member("dora"))).name == "ACCEPTED"
    for period, time_s in ((1, period_s(2) + 3), (2, period_s(3) + 3)):
        readings = [
            chain.reading("anna", period, 10_100 + period * 100, 10_000),
            chain.reading("bela", period, 10_100 + period * 100, 10_000),
            chain.reading("carla", period, 10_000, 11_000 + period * 1000),
            # The register at the end of the period before is the baseline.
            chain.reading("dora", period, 5_000 + (period - 1) * 500, 0),
        ]
        chain.block(*readings, time_s=time_s)
        (event,) = [one for one in chain.events[chain.machine.height] if isinstance(one, PeriodClosed)]
        found = energies(event.settlement)
        if period == 1:
            assert DORA not in found
        else:
            assert found[DORA] == (200, 300, 0, 0)
            assert found[CARLA] == (0, 0, 400, 600)


def test_a_correction_finds_the_shares_of_then_whoever_joined_since() -> None:
    """Dora joins between the close and the correction; her share in the old period stays the grid's."""
    chain, _ = a_period(binding(FIXED), anna=(400, 0), bela=(900, 0), carla=(0, 1001))
    chain.say(chain.join(member("dora")))
    chain.block(chain.reading("carla", 0, 10_000, 12_003, version=1))
    (event,) = [one for one in chain.events[chain.machine.height] if isinstance(one, PeriodCorrected)]
    assert energies(event.settlement) == {ANNA: (400, 0, 0, 0), BELA: (601, 299, 0, 0), CARLA: (0, 0, 1001, 1002)}
    _, right = a_period(binding(FIXED), anna=(400, 0), bela=(900, 0), carla=(0, 2003))
    # Balances as if the right reading had been there from the start.
    assert chain.claims() == {key: change for key, change in changes_by_account(right.postings).items() if change}


@pytest.mark.parametrize("name", ["spanish_self_consumption", "italian_energy_community"])
def test_the_presets_that_share_so_have_rules(name: str) -> None:
    tree = read(preset(name))
    assert hindrances(tree, installed_mechanisms()) == ()
    rules = rules_of(encode(tree), DEFAULT_LIMITS, installed_mechanisms())
    spanish = name.startswith("spanish")
    assert rules.period.tariff.sharing == ("static-reoffered" if spanish else "pro-rata")
    assert sum(rules.period.agreed.shares(0).values()) == (1_000_000 if spanish else 0)
    # With nobody metered there is nothing to share and nothing to refuse.
    inputs = PeriodInputs(1, b"EUR", (), (), rules.period.tariff)
    if not spanish:
        assert settle(inputs).postings == ()


def test_two_replays_agree_to_the_byte() -> None:
    chain, _ = a_period(binding(FIXED, AGAIN), anna=(400, 0), bela=(900, 0), carla=(0, 1000))
    again = chain.replay()
    for block in chain.blocks:
        again.apply(block)
    assert again.state_hash() == chain.machine.state_hash()
