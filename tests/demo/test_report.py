"""Report: what nodes say alike is reported, what does not hold is said, with exit code 1."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from trio.testing import MockClock

from meshnode.demo import report
from meshnode.demo.homes import Options

HASH = "ab" * 32


def period(start_s: int, corrections: int = 0, completeness_ppm: int = 1_000_000) -> dict[str, Any]:
    sources = {"own_wh": 100, "neighbours_wh": 50, "grid_wh": 25, "consumption_wh": 175, "in_u": 0, "out_u": 7000}
    return {
        "period": start_s,
        "completeness_ppm": completeness_ppm,
        "corrections": corrections,
        "members": {"anna": sources},
    }


class Node:
    """A node and its API: one answer after the other; the last one stays."""

    def __init__(self, name: str, *reports: list[dict[str, Any]], height: int = 40, p95: int = 100) -> None:
        self.name = name
        self._reports = list(reports)
        self._height = height
        self._p95 = p95
        self.asked = 0

    @property
    def client(self) -> Node:
        return self

    async def get(self, path: str) -> Any:
        if path == "/api/status":
            times = {"p50": 10, "p95": self._p95, "count": 3}
            return {
                "height": self._height,
                "chain_id": "cd" * 32,
                "certificates_verified": 40,
                "rss_mb": 80,
                "startup_s": 2.5,
                "commit_ms": times,
                "screen_ms": {},
            }
        if path == "/api/report":
            self.asked += 1
            periods = self._reports.pop(0) if len(self._reports) > 1 else self._reports[0]
            return {"periods": periods, "readings": 12, "orders": 6, "trades": 3}
        assert path == "/api/state/38", "asked at the height that all of them have"
        return {"height": 38, "state_hash": HASH}


async def collect(*nodes: Node) -> dict[str, Any]:
    return await report.collect(nodes, Options(speed=300))  # type: ignore[arg-type]


# --- what all nodes have


def test_the_shortest_report_is_common_if_the_others_begin_with_it() -> None:
    one, two, three = period(0), period(900), period(1800)
    assert report._common([[one, two, three], [one, two], [one, two, three]]) == [one, two]
    assert report._common([[], [one]]) == []
    assert report._common([[one, two]]) == [one, two]


def test_reports_that_differ_have_nothing_in_common() -> None:
    """The correction has not reached the second node yet."""
    assert report._common([[period(0), period(900, 1)], [period(0), period(900)]]) is None
    assert report._common([[period(900)], [period(0), period(900)]]) is None


async def test_nodes_are_asked_again_until_they_speak_of_the_same(autojump_clock: MockClock) -> None:
    ahead = Node("anna", [period(0, 1)], height=40, p95=300)
    behind = Node("bela", [period(0)], [period(0)], [period(0, 1)], height=38, p95=100)
    found = await collect(ahead, behind)
    assert (found["nodes_agree_on_periods"], behind.asked) == (True, 3)
    assert (found["common_height"], found["demonstration_clock_speed"]) == (38, 300)
    assert [node["name"] for node in found["nodes"]] == ["anna", "bela"]
    assert found["nodes"][0] == {
        "name": "anna",
        "height": 40,
        "state_hash": HASH,
        "certificates_verified": 40,
        "readings": 12,
        "orders": 6,
        "trades": 3,
        "rss_mb": 80,
        "startup_s": 2.5,
        "commit_ms": {"p50": 10, "p95": 300, "count": 3},
        "screen_ms": {},
    }
    # The slowest node stands for all; who has no figures yet does not count.
    assert (found["commit_ms"], found["screen_ms"]) == ({"p50": 10, "p95": 300}, {})


async def test_nodes_that_never_agree_are_reported_as_such(autojump_clock: MockClock) -> None:
    found = await collect(Node("anna", [period(0, 1)], height=38), Node("bela", [period(0)]))
    assert found["nodes_agree_on_periods"] is False
    assert found["periods"] == [period(0, 1)]


# --- what holds


def whole() -> dict[str, Any]:
    node = {"height": 40, "state_hash": HASH, "readings": 12, "orders": 6, "trades": 3, "rss_mb": 80}
    return {
        "common_height": 38,
        "nodes_agree_on_periods": True,
        "nodes": [{"name": name, **node} for name in ("anna", "bela")],
        "periods": [period(0), period(900)],
    }


VERIFIED = [{"name": name, "exit_code": 0, "state_at": HASH} for name in ("anna", "bela")]


def conclude(shown: dict[str, Any], verified: list[dict[str, Any]], path: Path) -> tuple[int, str]:
    output = io.StringIO()
    code = report.conclude(shown, verified, Options(report=path), "EUR", Console(file=output, width=200))
    return code, output.getvalue()


def test_what_holds_ends_well_and_is_written_down(tmp_path: Path) -> None:
    code, said = conclude(whole(), VERIFIED, tmp_path / "report.json")
    assert code == 0
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["holds"] is True
    assert written["verified"] == [
        {"name": "anna", "exit_code": 0, "state_hash": HASH},
        {"name": "bela", "exit_code": 0, "state_hash": HASH},
    ]
    assert {key: written[key] for key in whole()} == whole()
    assert "2 periods settled: 350 Wh used, 200 Wh from own roofs, 100 Wh from neighbours; 0.014 EUR paid" in said


FAULTS = {
    "another state at a node": "state hashes at height 38 differ",
    "another state in a ledger": "state hashes at height 38 differ",
    "a ledger without that state": "state hashes at height 38 differ",
    "a ledger that does not verify": "the ledger of bela does not verify",
    "different periods": "the nodes report different periods",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_hold_is_said_and_written_down(tmp_path: Path, fault: str) -> None:
    shown, verified = whole(), copy.deepcopy(VERIFIED)
    match fault:
        case "another state at a node":
            shown["nodes"][1]["state_hash"] = "00" * 32
        case "another state in a ledger":
            verified[1]["state_at"] = "00" * 32
        case "a ledger without that state":
            del verified[1]["state_at"]
        case "a ledger that does not verify":
            verified[1] |= {"exit_code": 1, "error": "block 7: the signature of dora does not hold"}
        case "different periods":
            shown["nodes_agree_on_periods"] = False
    code, said = conclude(shown, verified, tmp_path / "report.json")
    assert code == 1 and FAULTS[fault] in said
    assert json.loads((tmp_path / "report.json").read_text())["holds"] is False


def day(*completeness_ppm: int) -> dict[str, Any]:
    return whole() | {"periods": [period(900 * number, 0, ppm) for number, ppm in enumerate(completeness_ppm)]}


WHOLE, LACKING = 1_000_000, 800_000


def test_the_rehearsed_trouble_is_no_fault_and_neither_is_what_is_still_under_way() -> None:
    periods = day(WHOLE, LACKING, LACKING, LACKING, WHOLE, WHOLE, 0)["periods"]
    assert report.incomplete(periods, Options(periods=6)) == []
    assert report.incomplete(periods, Options(periods=7)) == [6]


def test_periods_that_were_settled_with_estimates_are_a_fault_with_a_sentence(tmp_path: Path) -> None:
    output = io.StringIO()
    shown, path = day(0, 0, 0, 0, 0, WHOLE, WHOLE), tmp_path / "report.json"
    options = Options(report=path, periods=7, speed=600)
    code = report.conclude(shown, copy.deepcopy(VERIFIED), options, "EUR", Console(file=output, width=300))
    assert code == 1
    assert (
        "2 of 7 periods were settled with estimates, beside the rehearsed trouble: not every meter was read in time; "
        "is this computer busy? a lower --speed than 600 helps"
    ) in output.getvalue()
    assert json.loads(path.read_text())["holds"] is False
