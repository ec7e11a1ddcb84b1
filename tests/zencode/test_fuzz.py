"""Fuzz: what anybody could send is read or refused, in every run a thousand texts, every night a million."""

from __future__ import annotations

from secrets import randbelow

import pytest

from tests.zencode import fuzz

INPUTS = 1_000


def test_damaged_texts_are_read_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", str(INPUTS)]) == 0
    assert capsys.readouterr().out.startswith(f"{INPUTS} texts were read or refused")


def test_a_fair_part_of_the_texts_are_bindings_and_of_each_seed_the_same() -> None:
    """Otherwise the fuzz would say nothing about reading, or nothing about refusing."""
    found = fuzz.run(2, 200, print)
    assert 10 <= found <= 190
    assert fuzz.run(2, 200, print) == found
    assert list(fuzz.inputs(3, 50)) != list(fuzz.inputs(4, 50))


def test_a_text_that_breaks_something_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fuzz, "read_document", broken)
    said: list[str] = []
    with pytest.raises(ZeroDivisionError):
        fuzz.run(5, 10, said.append)
    assert said[0].startswith("seed 5, text 1: ")


@pytest.mark.nightly
def test_a_million_texts_are_read_or_refused() -> None:
    """Others every night; the seed of a failure stands in the output, for `python -m tests.zencode.fuzz --seed`."""
    fuzz.run(randbelow(2**32), fuzz.NIGHTLY_INPUTS, print)
