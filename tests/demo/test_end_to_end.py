"""End to end: the whole demonstration with real processes, and what is left of it on disk and in memory.

The report is held against the ledgers that the nodes left, executed again here.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from meshnode.keys import verify
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.node import chains
from meshnode.replaying import replay
from meshnode.store import Store, read_genesis
from meshnode.views import Views
from protocols.records import Genesis, read_as
from tests.demo.processes import demo, nodes_in, until

NAMES = ["anna", "bela", "carla"]
PERIODS = 7
# A demonstration on two busy cores; it plans 45 seconds for itself.
PLAY_S = 240


class Ledger:
    """A home's ledger, executed again from its genesis."""

    def __init__(self, directory: Path) -> None:
        [chain] = chains(directory)
        with Store.open(directory, bytes.fromhex(chain)) as store:
            genesis = read_as(Genesis, read_genesis(store.place))
            self.chain_id = chain
            self.height = store.final_height()
            self.machine = Machine(genesis, bytes.fromhex(chain), installed_mechanisms(), verify)
            views = Views.open(store.place, genesis)
            try:
                replay(self.machine, store, views, lambda _height, _final: None)
                self.report = views.report()
                self.orders = views.orders(None, 1000)
            finally:
                views.close()

    def claim_u(self, name: str) -> int:
        """What the community owes a member."""
        [account] = [key for key, row in self.machine.state.accounts.items() if row.name == name]
        claim = self.machine.state.claims.get(account)
        return 0 if claim is None else claim.amount_u


class Played:
    """A demonstration that has come to its end."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "village"
        path = place / "report.json"
        words = ("--nodes", 3, "--periods", PERIODS, "--speed", 300, "--dir", self.directory, "--json", path)
        log = place / "demo.log"
        with demo(log, *words) as process:
            self.exit_code = process.wait(PLAY_S)
        self.said = log.read_text()
        self.left = nodes_in(self.directory)
        self.report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.ledgers = {name: Ledger(self.directory / name) for name in NAMES}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Played once for all stories of this module."""
    return Played(tmp_path_factory.mktemp("demo"))


def test_it_ends_by_itself_and_leaves_nothing_running(played: Played) -> None:
    assert played.exit_code == 0, played.said
    assert "Traceback" not in played.said
    assert played.left == set()
    # The emulated meters' terminals are gone with them; every node's ledger is kept.
    assert not [path for path in played.directory.glob("*/meter") if path.is_symlink()]
    assert not list(played.directory.glob("*/running.json"))
    assert sorted(path.name for path in played.directory.iterdir()) == NAMES


def test_the_screen_says_what_is_real_and_what_is_not(played: Played) -> None:
    said = " ".join(played.said.split())
    assert "3 real node processes" in said
    assert "Demonstration clock: 300 times faster than real; a settlement period of 15 minutes takes 3.0 s." in said
    assert "emulated meter, real P1 telegrams" in said and "emulated meter, real SML telegrams" in said
    assert "Rehearsed trouble: one reading is left out, one comes two periods late." in said


def test_the_report_has_its_shape(played: Played) -> None:
    report = played.report
    assert report["holds"] is True
    assert [node["name"] for node in report["nodes"]] == NAMES
    assert isinstance(report["common_height"], int) and report["common_height"] > PERIODS
    for node in report["nodes"]:
        assert node["height"] >= report["common_height"]
        assert len(node["state_hash"]) == 64
        assert node["certificates_verified"] > 0
        # Seven periods of three homes, but for the one that is missing; what came after may count too.
        assert node["readings"] >= 3 * PERIODS - 1
        assert node["orders"] > 0 and node["trades"] > 0
        assert 0 < node["rss_mb"] <= 120
        assert 0 < node["startup_s"] < 60
    assert len({node["state_hash"] for node in report["nodes"]}) == 1
    assert len(report["periods"]) >= PERIODS
    for period in report["periods"]:
        assert sorted(period["members"]) == NAMES
        for member in period["members"].values():
            assert {"own_wh", "neighbours_wh", "grid_wh", "consumption_wh", "in_u", "out_u"} <= set(member)
            assert all(type(value) is int and value >= 0 for value in member.values())
    starts = [period["period"] for period in report["periods"]]
    assert starts == list(range(starts[0], starts[0] + 900 * len(starts), 900))
    for times in (report["commit_ms"], report["screen_ms"]):
        assert set(times) == {"p50", "p95"} and 0 < times["p50"] <= times["p95"]


def test_fresh_processes_come_to_the_same_state(played: Played) -> None:
    hashes = {node["state_hash"] for node in played.report["nodes"]}
    assert [(one["name"], one["exit_code"]) for one in played.report["verified"]] == [(name, 0) for name in NAMES]
    assert {one["state_hash"] for one in played.report["verified"]} == hashes
    for ledger in played.ledgers.values():
        assert ledger.chain_id == played.report["chain_id"]
        assert ledger.height >= played.report["common_height"]


def test_what_every_home_used_came_from_somewhere(played: Played) -> None:
    for period in played.report["periods"]:
        for name, member in period["members"].items():
            sources = member["own_wh"] + member["neighbours_wh"] + member["grid_wh"]
            assert sources == member["consumption_wh"], (period["period"], name)
    assert any(member["own_wh"] for period in played.report["periods"] for member in period["members"].values())
    assert any(member["neighbours_wh"] for period in played.report["periods"] for member in period["members"].values())


def test_the_reported_periods_are_those_of_every_ledger(played: Played) -> None:
    """Corrections that came after the report may have changed the newest ones; the settled ones stand."""
    count = PERIODS - 1
    for name, ledger in played.ledgers.items():
        assert ledger.report["periods"][:count] == played.report["periods"][:count], name


def test_money_sums_to_zero_with_the_grid_and_is_what_the_periods_say(played: Played) -> None:
    for ledger in played.ledgers.values():
        claims = dict(ledger.machine.state.claims.items())
        assert claims and sum(claim.amount_u for claim in claims.values()) == 0
        for name in NAMES:
            lines = [period["members"][name] for period in ledger.report["periods"]]
            assert ledger.claim_u(name) == sum(line["in_u"] - line["out_u"] for line in lines)
        ledger.machine.check_invariants()


def test_an_order_is_filled_in_part(played: Played) -> None:
    filled = [order for order in played.ledgers["anna"].orders if 0 < order.filled_wh < order.energy_wh]
    assert filled, "of all orders, one is filled, but not whole"


def test_a_reading_is_missing_and_another_corrects_late(played: Played) -> None:
    periods = played.report["periods"]
    assert [period["period"] for period in periods if period["completeness_ppm"] < 1_000_000]
    assert sum(period["corrections"] for period in periods) > 0
    # The reading at the end of the second period never came.
    ledger = played.ledgers["anna"]
    first = periods[0]["period"]
    [carla] = [row for row in ledger.machine.genesis.members if row.name == "carla"]
    assert carla.meters
    assert first + 900 not in readings_of(played, "carla") and first in readings_of(played, "carla")
    # The one at the end of the third came after the period had closed without it.
    assert first + 1800 in readings_of(played, "bela")


def readings_of(played: Played, name: str) -> set[int]:
    """Starts of the periods for which the ledger has a reading of a home's meter."""
    state = played.ledgers["anna"].machine.state
    [account] = [key for key, row in state.accounts.items() if row.name == name]
    meters = {meter for meter, row in state.meters.items() if row.account == account}
    return {start_s for (meter, start_s), _ in state.registers.items() if meter in meters}


# --- ended from outside


def started(place: Path) -> bool:
    """Whether all three nodes' processes are there."""
    return len(nodes_in(place)) == 3


def ready(place: Path) -> bool:
    """Whether all three nodes answer."""
    return len(list(place.rglob("running.json"))) == 3


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGTERM, started), (signal.SIGTERM, ready), (signal.SIGINT, ready)],
    ids=["asked while it starts", "asked to end", "Ctrl-C"],
)
def test_a_demonstration_that_is_told_to_end_leaves_nothing(
    tmp_path: Path, number: signal.Signals, moment: Any
) -> None:
    """Neither processes nor files: without --dir, everything lay in a temporary directory."""
    place = tmp_path / "tmp"
    place.mkdir()
    with demo(tmp_path / "demo.log", "--nodes", 3, TMPDIR=str(place)) as process:
        until("the nodes come up", lambda: moment(place))
        nodes = nodes_in(place)
        process.send_signal(number)
        assert process.wait(60) == 0, (tmp_path / "demo.log").read_text()
        assert len(nodes) == 3 and nodes_in(place) == set()
    said = (tmp_path / "demo.log").read_text()
    assert "stopped; every node has been ended" in said and "Traceback" not in said
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("moment", [started, ready], ids=["while it starts", "while it plays"])
def test_a_demonstration_that_is_killed_takes_its_nodes_along(tmp_path: Path, moment: Any) -> None:
    place = tmp_path / "village"
    with demo(tmp_path / "demo.log", "--nodes", 3, "--dir", place) as process:
        until("the nodes come up", lambda: moment(place))
        nodes = nodes_in(place)
        process.kill()
        process.wait()
    assert len(nodes) == 3
    until("the nodes end by themselves", lambda: nodes_in(place) == set())
