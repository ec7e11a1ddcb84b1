"""Every story file about the book, auctions, partners, agent and grid fees says what the code does."""

from pathlib import Path

import pytest

from tests.market.book_stories import play
from tests.market.stories import read, write

HERE = Path(__file__).parent / "book"
CASES = [
    pytest.param(path, number, id=f"{path.stem}:{block.line}")
    for path in sorted(HERE.glob("*.txt"))
    for number, block in enumerate(read(path.read_text(encoding="utf-8")))
    if block.command
]


def test_there_are_stories() -> None:
    assert len(CASES) > 30


@pytest.mark.parametrize(("path", "number"), CASES)
def test_story(path: Path, number: int) -> None:
    blocks = read(path.read_text(encoding="utf-8"))[: number + 1]
    assert play(blocks)[-1].expected == blocks[-1].expected, f"{path.name}:{blocks[-1].line}"


def test_a_file_survives_reading_and_writing() -> None:
    for path in HERE.glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert write(read(text)) == text, path.name
