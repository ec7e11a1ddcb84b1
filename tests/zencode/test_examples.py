"""Whole texts: what is read as what (good/), and every message in full, as a person would read it (bad/).

`ZENCODE_REWRITE=1 pytest tests/zencode/test_examples.py` writes the expectations
anew; commit only what you understand.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zencode import commands

HERE = Path(__file__).parent
REWRITE = os.environ.get("ZENCODE_REWRITE") == "1"


def _texts(folder: str) -> list[Path]:
    return sorted((HERE / folder).glob("*.zen"))


def _expect(path: Path, found: str) -> None:
    expected = path.with_suffix(".expected")
    if REWRITE:
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def _said(finding: commands.Finding) -> str:
    return finding.message if finding.level == "mistake" else f"{finding.level}: {finding.message}"


@pytest.mark.parametrize("path", _texts("bad"), ids=lambda path: path.stem)
def test_every_mistake_is_told_in_full(path: Path) -> None:
    """A text that is no binding has mistakes alone; one that cannot be carried out an error, perhaps with warnings."""
    findings = commands.check(path.read_bytes())
    levels = {finding.level for finding in findings}
    assert levels == {"mistake"} or (levels <= {"error", "warning"} and "error" in levels)
    _expect(path, "".join(f"{f.line}:{f.column}: {_said(f)}\n" for f in findings))


@pytest.mark.parametrize("path", _texts("good"), ids=lambda path: path.stem)
def test_every_spelling_has_its_canonical_form(path: Path) -> None:
    text = path.read_bytes()
    canonical = commands.fmt(text)
    assert commands.hash(canonical) == commands.hash(text)
    assert commands.fmt(canonical) == canonical
    findings = "".join(f"# {line}\n" for f in commands.check(text) for line in str(f).split("\n"))
    _expect(path, canonical + findings)


def test_there_is_an_expectation_for_every_text_and_no_other() -> None:
    for folder in ("good", "bad"):
        texts = {path.stem for path in _texts(folder)}
        assert texts == {path.stem for path in (HERE / folder).glob("*.expected")}
        assert texts


def test_the_bad_texts_are_many_and_no_two_have_the_same_messages() -> None:
    told: dict[str, str] = {}
    for path in _texts("bad"):
        said = path.with_suffix(".expected").read_text(encoding="utf-8")
        assert told.setdefault(said, path.stem) == path.stem, "says what another says, to the letter"
    assert len(told) >= 80
