"""Every story of standing orders says what the ledger does; invariants are asserted after each of its blocks."""

from pathlib import Path

import pytest

from tests.ledger.order_stories import play
from tests.market.stories import Block, read, write

FILES = sorted((Path(__file__).parent / "orders").glob("*.txt"))
CASES = [
    pytest.param(block, id=f"{path.stem}:{block.line}")
    for path in FILES
    for block in read(path.read_text(encoding="utf-8"))
    if block.command
]


def test_there_are_stories() -> None:
    assert len(CASES) > 10


@pytest.mark.parametrize("block", CASES)
def test_story(block: Block) -> None:
    assert play([block])[0].expected == block.expected


def test_a_wrong_expectation_is_noticed() -> None:
    (block,) = read("market\ngive bela 10 EURO\nshow bela\n----\nbela 11 free, 0 held EURO; 0 free, 0 held ENERGY\n")
    assert play([block])[0].expected == ["bela 10 free, 0 held EURO; 0 free, 0 held ENERGY"] != block.expected


def test_a_file_survives_reading_and_writing() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert write(read(text)) == text, path.name
