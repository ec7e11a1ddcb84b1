"""Vectors: zencode/vectors/ against the code, as another implementation would use them; what is released stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshnode.market.registry import installed_mechanisms
from meshnode.rules import hindrances
from tests.zencode import vectors
from zencode.presets import NAMES, preset
from zencode.reader import read
from zencode.sentences import BY_ID, CATALOGUE_VERSION

STORED = vectors.stored()


def content(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STORED[file])
    return found


@pytest.mark.parametrize("file", sorted(STORED))
def test_a_ledger_of_then_is_what_it_was(file: str) -> None:
    """The blocks are executed again: the same verdicts, postings and state hashes."""
    case = content(file)
    assert vectors.executed(case) == case["results"]
    assert file.startswith(f"catalogue-{case['catalogue']}/") and case["catalogue"] <= CATALOGUE_VERSION


def test_what_is_released_never_changes() -> None:
    """A ledger was made by it somewhere: a new rule is a new version, and has a file of its own."""
    for file, digest in vectors.released().items():
        assert file in STORED, f"{file} is gone; take it back from the history"
        assert vectors.digest(STORED[file]) == digest, f"{file} was changed; take it back from the history"


def test_what_is_not_released_is_what_this_version_makes() -> None:
    made = {one.file: vectors.as_text(one.content) for one in vectors.all_vectors()}
    kept = vectors.released()
    stale = [
        file for file in sorted(made.keys() | STORED.keys()) if file not in kept and made.get(file) != STORED.get(file)
    ]
    assert stale == [], "write them anew with: python -m tests.zencode.vectors"


def test_every_preset_that_can_be_founded_has_one() -> None:
    mechanisms = installed_mechanisms()
    wanted = {name for name in NAMES if not hindrances(read(preset(name)), mechanisms)}
    assert wanted == {content(file)["preset"] for file in STORED if "preset" in content(file)}


def test_most_statements_have_one() -> None:
    """Not those that mean something only together with others, or that this version could not found with."""
    told = {content(file)["statement"] for file in STORED if "statement" in content(file)}
    assert told <= set(BY_ID) and len(told) * 10 >= len(BY_ID) * 9


def test_the_day_has_something_of_everything() -> None:
    """Trades, sharing, the grid, a fee, and a correction that takes back and replaces."""
    lines = [line for block in content("catalogue-1/neighbour_market.json")["results"] for line in block["postings"]]
    said = " ".join(lines)
    for reason in ("TRADE", "SHARED", "GRID", "FEE", "REVERSAL", "REPLACEMENT"):
        assert reason in said


def test_each_binding_has_ledgers_of_its_own() -> None:
    """Two statements may stand in one and the same binding; else no state comes twice."""
    cases = {case["hash"]: case["results"] for case in map(content, sorted(STORED))}
    hashes = [block["state_hash"] for results in cases.values() for block in results]
    assert len(set(hashes)) == len(hashes)


def test_the_writer_leaves_alone_what_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "FOLDER", tmp_path)
    monkeypatch.setattr(vectors, "RELEASED", tmp_path / "released.txt")
    few = [vectors.Vector("catalogue-1/a.json", {"now": 1}), vectors.Vector("catalogue-1/b.json", {"now": 1})]
    monkeypatch.setattr(vectors, "all_vectors", lambda: few)
    vectors.main(["--release"])
    assert len(vectors.released()) == 2
    few[:] = [vectors.Vector("catalogue-1/a.json", {"now": 2}), vectors.Vector("catalogue-2/c.json", {"now": 2})]
    vectors.main([])
    assert {file: json.loads(text)["now"] for file, text in vectors.stored().items()} == {
        "catalogue-1/a.json": 1,
        "catalogue-1/b.json": 1,
        "catalogue-2/c.json": 2,
    }
    few.pop()
    vectors.main([])
    assert set(vectors.stored()) == {"catalogue-1/a.json", "catalogue-1/b.json"} == set(vectors.released())
