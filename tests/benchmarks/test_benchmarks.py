"""The benchmarks measure what they say: real ledgers, executed twice to the same state. No test looks at a clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshnode.ledger_tools import verify
from meshnode.market.registry import installed_mechanisms
from tests.benchmarks import binding, settle, year
from tests.benchmarks.community import PERIODS_A_DAY, found, made, village
from tests.data import data_path
from tests.zencode.hostile import HOSTILE
from zencode.presets import NAMES


def test_a_year_is_replayed_to_the_state_that_made_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A short year of a few homes; and the ledger that it leaves is one that anybody can check."""
    place = tmp_path / "ledger"
    assert year.main(["--homes", "4", "--days", "1", "--keep", str(place), "--json"]) == 0
    out, err = capfd.readouterr()
    said = json.loads(out)
    assert said["same"] and err == ""
    first, second = said["replays"]
    assert first["state_hash"] == second["state_hash"]
    assert (first["blocks"], first["readings"]) == (PERIODS_A_DAY + 1, 4 * (PERIODS_A_DAY + 1))
    assert first["rows"] > 2 * first["readings"] - 4 and first["memory_kib"] <= first["peak_kib"]
    (chain,) = verify(place, installed_mechanisms()).chains
    assert chain.bad is None
    assert (chain.state_hash, chain.final_height) == (first["state_hash"], PERIODS_A_DAY + 1)
    assert chain.verdicts == (("ACCEPTED", first["readings"]),)


def test_another_year_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A replay that ends elsewhere is no success."""
    run = year.Replayed(1, 4, 1, 0.1, 0.2, 0.2, 1, 1, "aa")
    year.report(4, 1, 1.0, "bb", [run])
    assert "BUT IT WAS bb" in capsys.readouterr().out


def test_recorded_homes_live_a_year_too() -> None:
    table = data_path("households", "citylearn2022_17homes_1h.csv.gz")
    homes = village(19, table)
    at = [home.series.registers(1_900_000_000).import_wh for home in homes]
    # The first home's year begins again, some weeks later, for the eighteenth.
    assert all(at) and len(set(at)) == 19
    chain = found(19, "mid_market_village")
    blocks = list(made(chain, homes, 2))
    assert [len(block.records) for block in blocks] == [19, 19, 19]


def test_the_speed_is_printed_day_by_day(capsys: pytest.CaptureFixture[str]) -> None:
    assert settle.main(["--homes", "3", "--days", "2", "--corrections", "9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [int(line.split()[-1]) for line in lines[2:]]
    assert [line.split()[0] for line in lines[2:]] == ["1", "2"]
    # Three homes: registers and energy of each, and one row for the period itself.
    assert rows[1] - rows[0] == PERIODS_A_DAY * (3 + 3 + 1)


def test_the_parts_of_the_work_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert settle.main(["--homes", "3", "--periods", "4", "--profile"]) == 0
    out = capsys.readouterr().out
    for part in ("execute and settle", "without the state hash", "decode and check signatures", "own time by function"):
        assert part in out


def test_every_preset_and_every_hostile_text_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert binding.main(["--rounds", "1", "--profile"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in (*NAMES, *HOSTILE):
        assert sum(line.startswith(f"{name}  ") for line in lines) == 1, name
    assert any("tokens_of" in line for line in lines), "the profile names the reader's functions"
