"""Whole texts: what is read as what (good/), and every message in full (bad/).

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


@pytest.mark.parametrize("path", _texts("bad"), ids=lambda path: path.stem)
def test_every_mistake_is_told_in_full(path: Path) -> None:
    findings = commands.check(path.read_bytes())
    assert {finding.level for finding in findings} == {"mistake"}
    _expect(path, "".join(f"{f.line}:{f.column}: {f.message}\n" for f in findings))


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
