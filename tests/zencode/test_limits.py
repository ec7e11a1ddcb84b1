"""Limits: what is too large is refused, and nothing hostile takes long."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from tests.zencode.hostile import HEAD, HOSTILE
from zencode.commands import check, translate
from zencode.document import MAX_LINE, MAX_TEXT_BYTES
from zencode.languages import LANGUAGES
from zencode.mistakes import MAX_MISTAKES, BindingErrors
from zencode.presets import NAMES, preset
from zencode.reader import read
from zencode.writer import WriteError, write

#: Sixteen for every byte of the largest text, as an empty line needs. How long such a text takes is measured by
#: `python -m tests.benchmarks.binding`.
MAX_STEPS = 16 * MAX_TEXT_BYTES


def _mistakes(text: str | bytes) -> list[str]:
    return [str(finding) for finding in check(text) if finding.level == "mistake"]


def _givens(count: int) -> str:
    return HEAD + "".join(f"Given there is a role 'r{i}'\n" for i in range(count))


def test_a_text_of_33_kib_is_refused_whole() -> None:
    expected = (
        "line 1: mistake: the text has 33792 bytes; a binding has at most 32768\n    shorten its comments, or say less"
    )
    for text in ("#" * (33 * 1024), b"\xff" * (33 * 1024)):
        assert _mistakes(text) == [expected]


def test_bytes_are_counted_not_characters() -> None:
    comments = "# àà\n" * (MAX_TEXT_BYTES // 7)
    assert len(comments) < MAX_TEXT_BYTES < len((HEAD + comments).encode())
    assert "bytes" in _mistakes(HEAD + comments)[0]


def test_300_statements_are_read_and_301_are_not() -> None:
    assert len(read(_givens(299)).givens) == 299
    assert _mistakes(_givens(300)) == [
        "line 303: mistake: more than 300 statements; a binding has no more\n    leave some out"
    ]


def test_an_event_counts_again_for_every_condition() -> None:
    block = "If the member shows the credential 'x'\nThen accept the member\nEndIf\n"
    join = "When somebody asks to join as 'trader'\n"
    assert len(read(HEAD + join + block * 99).blocks) == 99
    found = _mistakes(HEAD + join + block * 100)
    assert found == [
        "line 304: mistake: 301 statements, every event counted again for each of its conditions;"
        " a binding has at most 300\n    leave some out"
    ]


def test_a_line_of_200_characters_is_read() -> None:
    line = "# " + "x" * (MAX_LINE - 2)
    read(HEAD + line)
    assert "201 characters" in _mistakes(HEAD + line + "x")[0]


def test_no_more_mistakes_are_told_than_anybody_reads() -> None:
    with pytest.raises(BindingErrors) as refused:
        read("\x00\n" * 1_000)
    assert len(refused.value.mistakes) == MAX_MISTAKES


def test_a_translation_that_is_too_long_for_a_line_is_refused() -> None:
    # 50 apostrophes are 100 characters between quotes.
    apostrophes = "''" * 50
    line = f"Given the plant '{apostrophes}' has 24 kW and belongs to 'b'"
    line = line.replace("'b'", "'" + "b" * (MAX_LINE - len(line) + 1) + "'")
    assert len(line) == MAX_LINE
    with pytest.raises(WriteError, match="characters in Italian, a line has at most 200: shorten its names"):
        translate(HEAD + line, "it")


def test_an_unknown_language_is_told_with_those_there_are() -> None:
    with pytest.raises(WriteError, match="no language «tlh»; the catalogue has en, it"):
        write(read(HEAD), "tlh")


def _steps(text: str) -> int:
    """Lines of the reader's own code that run while a text is checked: the same on every computer."""
    count = 0

    def step(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return step

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        return step if "/zencode/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        check(text)
    finally:
        sys.settrace(before)
    return count


@pytest.fixture(scope="module", autouse=True)
def _languages_are_ready() -> None:
    """What is made once, when a language is first used, is not counted."""
    for code in LANGUAGES:
        check(preset("neighbour_market", code) + "Nothing like it\nExample: x\nNothing")


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_text_of_twice_the_size_takes_twice_the_steps(name: str) -> None:
    """Or fewer: where there is too much of something, reading stops."""
    half, whole = (HOSTILE[name](size) for size in (MAX_TEXT_BYTES // 2, MAX_TEXT_BYTES))
    assert len(whole.encode("utf-8", "surrogatepass")) <= MAX_TEXT_BYTES
    steps = _steps(whole)
    assert steps <= 2.2 * _steps(half) + 1_000
    assert steps <= MAX_STEPS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_a_preset_is_read_in_a_few_steps_for_every_character(name: str, code: str) -> None:
    text = preset(name, code)
    assert _steps(text) <= 12 * len(text)


def test_a_suggestion_is_found_without_looking_at_every_sentence() -> None:
    """What 300 mistaken lines cost is what one costs, 300 times."""
    one, many = (HEAD + "And the setlement perod\n" * count for count in (1, 300))
    assert _steps(many) <= 300 * _steps(one)
