"""Examples of bindings, carried out: what they come to is what the state machine of a real microgrid comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnode.examples import Expectation, Outcome, run_examples
from meshnode.market.registry import installed_mechanisms
from tests.ledger.chain import Chain, account, period_s
from zencode.commands import translate
from zencode.presets import preset
from zencode.reader import read_document
from zencode.sentences import ALLOCATION

VILLAGE = preset("neighbour_market")


def run(text: str) -> tuple[Outcome, ...]:
    return run_examples(read_document(text), installed_mechanisms())


def unmet(example: str, binding: str = VILLAGE) -> list[tuple[int, str, str]]:
    """(line within the example, what it expects, what came out) of what was not met."""
    (outcome,) = run(binding + "Example: x\n" + example)
    return [(one.line - outcome.line, one.expected, one.found) for one in outcome.unmet]


def test_a_surplus_is_shared_at_the_middle_of_the_prices() -> None:
    # (0.30 + 0.08) / 2 = 0.19; the buyer pays a cent on top, of which four fifths go to the fund.
    assert (
        unmet(
            "Given 'Anna' draws 2 kWh in period 1\n"
            "And 'Bela' delivers 3 kWh in period 1\n"
            "Then 'Anna' gets 2 kWh from neighbours\n"
            "And 'Anna' gets 0 kWh from the grid\n"
            "And the bill of 'Anna' is 0.40 EUR\n"
            "And 'Bela' receives 0.46 EUR\n"
            "And the fund 'community fund' receives 0.016 EUR\n"
            "And the fund 'node operators' receives 0.004 EUR\n"
        )
        == []
    )


def test_the_example_of_the_readme_comes_true() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    example = readme.partition("\n```\nExample: ")[2].partition("\n```\n")[0]
    (outcome,) = run(f"{VILLAGE}Example: {example}\n")
    assert len(outcome.expectations) == 1 and outcome.unmet == ()


def test_what_came_out_instead_is_told_as_a_sentence() -> None:
    assert unmet(
        "Given 'Anna' draws 2 kWh in period 1\n"
        "And 'Bela' delivers 3 kWh in period 1\n"
        "Then the bill of 'Anna' is 0.41 EUR\n"
        "And the bill of 'Bela' is 0.46 EUR\n"
        "And 'Anna' gets 1 kWh from neighbours\n"
        "And 'Anna' gets 1 kWh from the grid\n"
        "And 'Anna' receives 0.40 EUR\n"
    ) == [
        (3, "the bill of 'Anna' is 0.41 EUR", "the bill of 'Anna' is 0.40 EUR"),
        (4, "the bill of 'Bela' is 0.46 EUR", "'Bela' receives 0.46 EUR"),
        (5, "'Anna' gets 1 kWh from neighbours", "'Anna' gets 2 kWh from neighbours"),
        (6, "'Anna' gets 1 kWh from the grid", "'Anna' gets 0 Wh from the grid"),
        (7, "'Anna' receives 0.40 EUR", "the bill of 'Anna' is 0.40 EUR"),
    ]


def test_whole_cents_are_compared_as_a_bill_is_rounded_and_other_figures_exactly() -> None:
    sunny = "Given 'Anna' draws 1.25 kWh in period 1\nAnd 'Bela' delivers 2 kWh in period 1\n"
    # 1.25 kWh x (0.19 + 0.01) = 0.25; the fund's four fifths of 0.0125 are 0.01.
    assert unmet(sunny + "Then the bill of 'Anna' is 0.25 EUR\n") == []
    # 0.0025 is rounded to nothing, and half a cent up.
    assert unmet(sunny + "Then the fund 'node operators' receives 0 EUR\n") == []
    assert unmet(sunny + "Then the fund 'node operators' receives 0.0025 EUR\n") == []
    (wrong,) = unmet(sunny + "Then the fund 'node operators' receives 0.0024 EUR\n")
    assert wrong[2] == "the fund 'node operators' receives 0.0025 EUR"


def test_orders_of_a_period_are_cleared_before_it_is_settled() -> None:
    orders = (
        "Given 'Anna' bids for 1.5 kWh at 0.20 EUR/kWh in period 70\n"
        "And 'Bela' offers 1.5 kWh at 0.12 EUR/kWh in period 70\n"
        "And 'Anna' draws 1.5 kWh in period 70\n"
        "And 'Bela' delivers 1.5 kWh in period 70\n"
    )
    # The marginal pair sets the price: (0.20 + 0.12) / 2.
    assert unmet(orders + "Then the price of period 70 is 0.16 EUR/kWh\nAnd 'Bela' receives 0.24 EUR\n") == []
    assert unmet(orders + "Then the price of period 71 is 0.16 EUR/kWh\n") == [
        (5, "the price of period 71 is 0.16 EUR/kWh", "period 71: no order was cleared, so there is no price")
    ]


def test_an_order_may_be_expected_to_be_refused_and_must_not_be_otherwise() -> None:
    dear = "Given 'Anna' bids for 1 kWh at 0.50 EUR/kWh in period 2\n"
    assert unmet(dear + "Then the order of 'Anna' for period 2 is refused\n") == []
    assert unmet(dear + "Then the bill of 'Anna' is 0 EUR\n") == [
        (1, "'Anna' bids for 1 kWh at 0.50 EUR/kWh in period 2", "the binding refuses prices this high")
    ]
    fair = dear.replace("0.50", "0.20") + "Then the order of 'Anna' for period 2 is refused\n"
    assert unmet(fair) == [(2, "the order of 'Anna' for period 2 is refused", "the order is accepted")]
    assert unmet(fair.replace("period 2 is", "period 3 is")) == [
        (2, "the order of 'Anna' for period 3 is refused", "'Anna' has no order for period 3 in this example")
    ]


def test_quiet_periods_in_between_are_settled_too() -> None:
    assert (
        unmet(
            "Given 'Anna' draws 1 kWh in period 3\n"
            "And 'Anna' draws 1 kWh in period 9\n"
            "Then the bill of 'Anna' is 0.60 EUR\n"
            "And 'Anna' gets 2 kWh from the grid\n"
        )
        == []
    )


def test_shares_that_the_binding_fixes_are_known_by_name() -> None:
    text = preset("spanish_self_consumption").replace("And offer unused shares again in proportion to use\n", "")
    flat, ppm = next(given.slots for given in read_document(text).binding.givens if given.id == ALLOCATION)
    assert isinstance(ppm, int)
    example = (
        f"Given '{flat}' draws 10 kWh in period 1\nAnd 'the roof' delivers 10 kWh in period 1\n"
        f"Then '{flat}' gets {ppm // 100} Wh from neighbours\n"
    )
    assert unmet(example, text) == []
    again = preset("spanish_self_consumption")
    assert unmet(example, again)[0][2] == f"'{flat}' gets 10 kWh from neighbours", "nobody else uses a share"


def test_two_languages_of_a_text_come_to_the_same() -> None:
    text = (
        VILLAGE + "Example: x\nGiven 'Anna' draws 2 kWh in period 1\nAnd 'Bela' delivers 3 kWh in period 1\n"
        "Then the bill of 'Anna' is 0.39 EUR\n"
    )
    (english,), (italian,) = run(text), run(translate(text, "it"))
    assert [one.found for one in english.unmet] == ["the bill of 'Anna' is 0.40 EUR"]
    assert [one.found for one in italian.unmet] == ["la bolletta di 'Anna' è 0,40 EUR"]


def test_a_name_that_no_ledger_takes_is_told() -> None:
    name = "é" * 40
    ((line, _, found),) = unmet(f"Given '{name}' draws 2 kWh in period 1\nThen '{name}' receives 1 EUR\n")
    assert line == 0 and "name: found 80 bytes of text, expected 1 to 48" in found


def test_a_meter_that_counts_the_impossible_is_told() -> None:
    binding = VILLAGE.replace("settlement period is 15 minutes", "settlement period is 1 minute")
    (wrong, *_) = unmet("Given 'Anna' draws 600 kWh in period 1\nThen the bill of 'Anna' is 180 EUR\n", binding)
    assert wrong[0] == 1 and wrong[2] == "more energy than any home's connection could carry in that time"


@pytest.mark.parametrize("import_wh", [1, 999, 12_345])
def test_an_example_comes_to_what_a_chain_of_certified_blocks_comes_to(import_wh: int) -> None:
    """The same homes on a chain with checks, certificates and three validators."""
    chain = Chain()
    homes = ("anna", "bela", "carla")
    chain.block(*(chain.reading(home, -1, 0) for home in homes))
    chain.block(
        chain.reading("anna", 0, import_wh),
        chain.reading("bela", 0, 0, 20_000),
        chain.reading("carla", 0, 0),
        time_s=period_s(1) + 10,
    )
    owed_u = -chain.claims()[account("anna")]
    (outcome,) = run(
        VILLAGE + f"Example: x\nGiven 'anna' draws {import_wh} Wh in period 1\nAnd 'bela' delivers 20 kWh in period 1\n"
        f"Then the bill of 'anna' is {owed_u // 10**6}.{owed_u % 10**6:06} EUR\n"
    )
    assert outcome.expectations == (Expectation(*_known(outcome), True),)


def _known(outcome: Outcome) -> tuple[int, str, str]:
    one = outcome.expectations[0]
    return one.line, one.expected, one.expected
