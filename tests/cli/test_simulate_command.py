"""`meshnode binding simulate`: a draft tried on the ledger, as a table and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import complaint, meshnode
from tests.ledger.afternoon import an_afternoon
from zencode.presets import preset

MARKET = preset("neighbour_market")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("node")
    an_afternoon().store(directory)
    return directory


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    file = tmp_path / "draft.zen"
    text = MARKET.replace("grid energy costs 0.30", "grid energy costs 0.40")
    file.write_text(text.replace("refuse prices above 0.29", "refuse prices above 0.20"), encoding="utf-8")
    return file


def test_a_draft_is_tried(node: Path, draft: Path) -> None:
    done = meshnode("binding", "simulate", draft, "--ledger", node)
    assert done.code == 0 and done.err == ""
    assert done.out.startswith("If everybody had acted the same: Unterdorf, ")
    assert "10 state hashes and the bills of 6 accounts are exactly those on the ledger" in done.out
    assert "- Given grid energy costs 0.30 EUR/kWh" in done.out and "+ Given grid energy costs 0.40 EUR/kWh" in done.out
    assert "3 records more refused" in done.out and "3 records fare otherwise:" in done.out
    assert "Together with funds and grid: 0.00 EUR" in done.out


def test_the_same_for_programs(node: Path, draft: Path) -> None:
    said = meshnode("binding", "simulate", draft, "--ledger", node, "--json").json
    assert said["headline"] == "if everybody had acted the same"
    assert sum(one["gain_u"] for one in said["accounts"]) == 0 and len(said["steps"]) == 2
    lines = [change["line"] for step in said["steps"] for change in step["changes"]]
    text = draft.read_text(encoding="utf-8").split("\n")
    assert ["0.40" in text[lines[0] - 1], "0.20" in text[lines[1] - 1]] == [True, True]


def test_the_binding_in_force_changes_nothing(node: Path, tmp_path: Path) -> None:
    same = tmp_path / "same.zen"
    same.write_text(MARKET, encoding="utf-8")
    done = meshnode("binding", "simulate", same, "--ledger", node)
    assert done.code == 0 and "The two bindings say the same." in done.out
    assert "Every order and every other record fares the same." in done.out


def test_a_part_of_the_ledger_against_another_draft(node: Path, draft: Path, tmp_path: Path) -> None:
    first = meshnode("binding", "simulate", draft, "--ledger", node, "--json").json["from_s"]
    old = tmp_path / "old.zen"
    old.write_text(MARKET.replace("0.01 EUR/kWh on", "0.02 EUR/kWh on"), encoding="utf-8")
    words = ("--from", first + 900, "--to", first + 1800, "--against", old, "--json")
    said = meshnode("binding", "simulate", draft, "--ledger", node, *words).json
    assert said["periods"] == 1 and len(said["steps"]) == 3 and said["old"] != said["in_force"]


def test_mistakes_are_said_with_their_file(node: Path, draft: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.zen"
    wrong.write_text(MARKET.replace("grid energy", "grid enrgy"), encoding="utf-8")
    assert f"{wrong}: line" in complaint("binding", "simulate", wrong, "--ledger", node)
    hourly = tmp_path / "hourly.zen"
    hourly.write_text(MARKET.replace("15 minutes", "1 hour"), encoding="utf-8")
    assert "the binding settles every 3600 s" in complaint("binding", "simulate", hourly, "--ledger", node)
    assert "--from may: not a time" in complaint("binding", "simulate", draft, "--ledger", node, "--from", "may")
    assert "no ledger here" in complaint("binding", "simulate", draft, "--ledger", tmp_path)
