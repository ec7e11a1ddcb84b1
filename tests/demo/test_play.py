"""Play: what members order, and how the demonstration ends when one of its nodes does."""

from __future__ import annotations

from pathlib import Path

import pytest
from meshnode.demo.processes import NodeFailed, check_running, running

from drivers.home import Quarter, RecordedHome
from meshnode.config import CONFIG_FILE
from meshnode.demo.homes import Home, Options, found
from meshnode.demo.play import SMALLEST_ORDER_WH, _order
from tests.demo.processes import nodes_in

START_S, LENGTH_S = 900 * 1000, 900


def home(consumed_wh: int, produced_wh: int) -> Home:
    series = RecordedHome([Quarter(consumed_wh, produced_wh)], START_S)
    return Home("anna", Path("anna"), "simulated", series, 1, 2)


def test_a_home_orders_what_it_is_going_to_need() -> None:
    assert _order(0, home(400, 150), START_S, LENGTH_S) == {
        "side": "buy",
        "period_start_s": START_S,
        "energy_wh": 250,
        "price_u_kwh": 280_000,
    }


def test_a_home_offers_what_it_is_going_to_spare() -> None:
    assert _order(1, home(100, 400), START_S, LENGTH_S) == {
        "side": "sell",
        "period_start_s": START_S,
        "energy_wh": 300,
        "price_u_kwh": 110_000,
    }


@pytest.mark.parametrize(("consumed_wh", "produced_wh"), [(0, 0), (300, 300), (SMALLEST_ORDER_WH - 1, 0), (1, 10)])
def test_next_to_nothing_is_not_worth_a_record(consumed_wh: int, produced_wh: int) -> None:
    assert _order(0, home(consumed_wh, produced_wh), START_S, LENGTH_S) is None


@pytest.mark.parametrize("number", range(10))
def test_all_limit_prices_lie_inside_the_contract_and_bids_above_offers(number: int) -> None:
    bid, offer = _order(number, home(500, 0), START_S, LENGTH_S), _order(number, home(0, 500), START_S, LENGTH_S)
    assert bid is not None and offer is not None
    assert 80_000 <= offer["price_u_kwh"] < bid["price_u_kwh"] <= 290_000


async def test_a_node_that_cannot_start_is_named_with_its_log_and_all_others_are_ended(tmp_path: Path) -> None:
    homes = found(Options(nodes=2), tmp_path).homes
    broken = homes[1].directory / CONFIG_FILE
    broken.write_text('name = "bela"\n[network]\nprofile = "carrier pigeon"\n')
    with pytest.raises(NodeFailed) as failed:
        async with running(homes):
            raise AssertionError("it is said to run")
    assert str(failed.value) == (
        "the node of bela ended with 2:\n"
        f"    error: {broken}, network.profile: 'carrier pigeon' is not known\n"
        "        profiles are: lan, sd-card"
    )
    assert nodes_in(tmp_path) == set()


async def test_a_node_that_ends_later_is_named_with_its_exit_code(tmp_path: Path) -> None:
    homes = found(Options(nodes=1), tmp_path).homes
    with pytest.raises(NodeFailed) as failed:
        async with running(homes) as (processes, _):
            check_running(homes, processes)
            assert nodes_in(tmp_path) == {processes[0].pid}
            processes[0].kill()
            processes[0].wait()
            check_running(homes, processes)
    assert str(failed.value).startswith("the node of anna ended with -9:\n")
    assert nodes_in(tmp_path) == set()
