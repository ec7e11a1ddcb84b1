"""Every story file says what the code does."""

from pathlib import Path

import pytest

from tests.market.stories import play, read, write

HERE = Path(__file__).parent
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
    # Blocks of one file build on one another, so all up to this one are played.
    blocks = read(path.read_text(encoding="utf-8"))[: number + 1]
    assert play(blocks)[-1].expected == blocks[-1].expected, f"{path.name}:{blocks[-1].line}"


def test_a_wrong_expectation_is_noticed() -> None:
    blocks = read("split 10\nanna 1\nbela 1\n----\nanna 6\nbela 4\n")
    assert play(blocks)[0].expected == ["anna 5", "bela 5"] != blocks[0].expected


def test_a_file_survives_reading_and_writing() -> None:
    for path in HERE.glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert write(read(text)) == text, path.name
