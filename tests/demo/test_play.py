"""Play: what members order, and how the demonstration ends when one of its nodes does."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.home import Quarter, RecordedHome
from meshnode.cli.home import throwaway
from meshnode.config import CONFIG_FILE
from meshnode.demo.homes import Household, Options, found
from meshnode.demo.play import SMALLEST_ORDER_WH, _order, _running
from meshnode.loopback import Home, NodeFailed, NodeProcess
from tests.demo.processes import nodes_in

START_S, LENGTH_S = 900 * 1000, 900


def home(consumed_wh: int, produced_wh: int) -> Household:
    series = RecordedHome([Quarter(consumed_wh, produced_wh)], START_S)
    return Household(NodeProcess(Home(name="anna"), Path("anna"), throwaway([]), 1, 2, 3), "simulated", series)


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
    nodes = [home.node for home in found(Options(nodes=2), tmp_path).homes]
    broken = nodes[1].directory / CONFIG_FILE
    broken.write_text('name = "bela"\n[network]\nprofile = "carrier pigeon"\n')
    with pytest.raises(NodeFailed) as failed:
        async with _running(nodes):
            raise AssertionError("it is said to run")
    assert str(failed.value) == (
        "the node of bela ended with 2:\n"
        f"    error: {broken}, network.profile: 'carrier pigeon' is not known\n"
        "        profiles are: lan, sd-card"
    )
    assert nodes_in(tmp_path) == set()


async def test_a_node_that_ends_later_is_named_with_its_exit_code(tmp_path: Path) -> None:
    nodes = [home.node for home in found(Options(nodes=1), tmp_path).homes]
    with pytest.raises(NodeFailed) as failed:
        async with _running(nodes):
            nodes[0].check_running()
            assert len(nodes_in(tmp_path)) == 1
            nodes[0].kill()
            nodes[0].check_running()
    assert str(failed.value).startswith("the node of anna ended with -9:\n")
    assert nodes_in(tmp_path) == set()


async def test_nodes_are_ended_in_order_each_asked_once(tmp_path: Path) -> None:
    """A second signal, after the first has been heard, would end the process before it has tidied up."""
    nodes = [home.node for home in found(Options(nodes=2), tmp_path).homes]
    async with _running(nodes):
        assert len(nodes_in(tmp_path)) == 2
    assert [node.process and node.process.returncode for node in nodes] == [0, 0]
    assert [node.tail(2).count('"event": "stop') for node in nodes] == [2, 2], "stopping, stopped"
    assert not list(tmp_path.rglob("running.json"))
