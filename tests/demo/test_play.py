"""Play: what members order, and how the demonstration ends when one of its nodes does."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from drivers.home import Quarter, RecordedHome
from meshnode.cli.home import throwaway
from meshnode.config import CONFIG_FILE
from meshnode.demo.homes import Household, Options, found
from meshnode.demo.play import SMALLEST_ORDER_WH, _Demo, _order, _running, _View
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
        "the node of bela ended with exit code 2; the last that it said:\n"
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
    assert str(failed.value).startswith("the node of anna was killed by SIGKILL; the last that it said:\n")
    assert nodes_in(tmp_path) == set()


async def test_nodes_are_ended_in_order_each_asked_once(tmp_path: Path) -> None:
    """A second signal, after the first has been heard, would end the process before it has tidied up."""
    nodes = [home.node for home in found(Options(nodes=2), tmp_path).homes]
    async with _running(nodes):
        assert len(nodes_in(tmp_path)) == 2
    assert [node.process and node.process.returncode for node in nodes] == [0, 0]
    assert [node.tail(2).count('"event": "stop') for node in nodes] == [2, 2], "stopping, stopped"
    assert not list(tmp_path.rglob("running.json"))


# --- what is said


def screen(terminal: bool = False) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=80, soft_wrap=True, force_terminal=terminal, color_system=None), output


def introduced(place: Path, **options: Any) -> str:
    asked = Options(nodes=1, **options)
    village = found(asked, place)
    console, output = screen()
    _Demo(asked, village, place, console)._introduce()
    said = output.getvalue()
    assert f"{village.homes[0].node.url} " in said, "the address is whole, however narrow the screen"
    return said


def test_the_start_says_how_it_ends_and_what_becomes_of_the_files(tmp_path: Path) -> None:
    said = introduced(tmp_path / "one")
    assert "A microgrid of 1 real node process on this computer" in said
    assert f"Everything lies in {tmp_path}/one, a temporary directory that goes at the end; --dir DIR keeps it." in said
    assert "It runs on and on. Ctrl-C ends it." in said
    kept = introduced(tmp_path / "two", directory=tmp_path / "two", periods=12)
    assert f"Everything lies in {tmp_path}/two and stays there." in kept
    assert "It ends by itself after 12 settled periods. Ctrl-C ends it earlier." in kept


def test_fewer_periods_than_the_trouble_needs_are_said_to_be_more(tmp_path: Path) -> None:
    assert "It ends by itself after 6 settled periods, not 1: " in introduced(tmp_path, periods=1)


STATUSES = [{"role": "leader", "height": 7, "peers": 2, "rss_mb": 80}]


def test_a_log_has_a_line_for_every_settled_period() -> None:
    console, output = screen()
    with _View([home(0, 0)], 6, console) as view:
        for settled in (0, 0, 1, 1, 2):
            view.show(settled, STATUSES)
    assert output.getvalue().splitlines() == [
        "settled periods: 0 of 6, height 7",
        "settled periods: 1 of 6, height 7",
        "settled periods: 2 of 6, height 7",
    ]


@pytest.mark.parametrize(("wanted", "line"), [(0, "settled periods: 7 "), (12, "settled periods: 7 of 12 ")])
def test_a_terminal_has_a_table_and_what_follows_begins_a_line(
    wanted: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, output = screen(terminal=True)
    with _View([home(0, 0)], wanted, console) as view:
        view.show(7, STATUSES)
    console.print("next")
    said = re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", output.getvalue())
    assert line in said and "None" not in said
    assert "\nnext\n" in said
