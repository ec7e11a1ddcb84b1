"""Limits: what is too large is refused, and nothing hostile takes long."""

from __future__ import annotations

import time

import pytest

from zencode.commands import check, translate
from zencode.document import MAX_LINE, MAX_TEXT_BYTES
from zencode.mistakes import MAX_MISTAKES, BindingErrors
from zencode.presets import preset
from zencode.reader import read
from zencode.writer import WriteError, write

HEAD = "Rule language 'en'\nRule binding version 1\nScenario 'market': Palm Bay\n"
#: Seconds of processor time; a shared machine is slow at times, so the best of three counts.
BUDGET_S = 0.1


def _mistakes(text: str | bytes) -> list[str]:
    return [str(finding) for finding in check(text) if finding.level == "mistake"]


def _givens(count: int) -> str:
    return HEAD + "".join(f"Given there is a role 'r{i}'\n" for i in range(count))


def test_a_text_of_33_kib_is_refused_whole() -> None:
    expected = "line 1: mistake: the text has 33792 bytes; a binding has at most 32768"
    for text in ("#" * (33 * 1024), b"\xff" * (33 * 1024)):
        assert _mistakes(text) == [expected]


def test_bytes_are_counted_not_characters() -> None:
    comments = "# àà\n" * (MAX_TEXT_BYTES // 7)
    assert len(comments) < MAX_TEXT_BYTES < len((HEAD + comments).encode())
    assert "bytes" in _mistakes(HEAD + comments)[0]


def test_300_statements_are_read_and_301_are_not() -> None:
    assert len(read(_givens(299)).givens) == 299
    assert _mistakes(_givens(300)) == ["line 303: mistake: more than 300 statements; a binding has no more"]


def test_an_event_counts_again_for_every_condition() -> None:
    block = "If the member shows the credential 'x'\nThen accept the member\nEndIf\n"
    join = "When somebody asks to join as 'trader'\n"
    assert len(read(HEAD + join + block * 99).blocks) == 99
    found = _mistakes(HEAD + join + block * 100)
    assert found == [
        "line 304: mistake: 301 statements, every event counted again for each of its conditions;"
        " a binding has at most 300"
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


def _fill(line: str) -> str:
    """As many lines as fit into 32 KiB."""
    size = len((line + "\n").encode())
    return HEAD + (line + "\n") * ((MAX_TEXT_BYTES - len(HEAD)) // size)


HOSTILE = {
    "unknown sentences": _fill("Given " + "the settlement period of grid energy costs is " * 4),
    "short unknown sentences": _fill("And the setlement perod"),
    "open quotes": _fill("Given '" + "''" * 90),
    "quotes and letters": _fill("Given " + "'a" * 90),
    "one name after another": _fill("Given " + "'a' " * 48),
    "numbers": _fill("Given grid energy costs " + "1." * 80),
    "digits": _fill("Given grid energy costs " + "9" * 160 + " EUR/kWh"),
    "apostrophes in words": _fill("Given a" + "'a" * 90),
    "accents": HEAD + "e" + "\u0301\u0323" * 8_000,
    "lines of accents": _fill("# " + "\u0301\u0323" * 95),
    "shares": _fill("Then split the 'network fee' " + "1 % to 'a', " * 14),
    "empty lines": _fill(""),
    "comments": _fill("#"),
    "blanks": _fill(" " * 200),
    "keywords": _fill("And"),
    "control characters": _fill("\x01"),
    "events": HEAD + "When a bill is due\n" * 1_700,
    "conditions": HEAD + "When a bill is due\n" + "If the time is in band 'a'\n" * 1_200,
    "punctuation": _fill("," * 199),
    "other quotes": _fill("Given " + "«" * 90),
    "not utf-8": _fill("And") + "\udcff",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_32_kib_of_anything_are_refused_or_read_quickly(name: str) -> None:
    text = HOSTILE[name][:MAX_TEXT_BYTES]
    check(preset("neighbour_market"))  # what is made once, when a language is first used

    def seconds() -> float:
        begin = time.process_time()
        check(text)
        return time.process_time() - begin

    assert min(seconds() for _ in range(3)) < BUDGET_S


def test_a_preset_of_36_statements_is_read_in_a_millisecond() -> None:
    text = preset("charging_yard")
    read(text)

    def seconds() -> float:
        begin = time.process_time()
        for _ in range(10):
            read(text)
        return (time.process_time() - begin) / 10

    best = min(seconds() for _ in range(5))
    print(f"charging_yard: {best * 1_000:.2f} ms")
    assert best < 0.001
