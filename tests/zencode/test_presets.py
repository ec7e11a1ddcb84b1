"""Presets: complete, canonical, and one contract whatever the language."""

from __future__ import annotations

from pathlib import Path

import pytest

import zencode.presets
from zencode.commands import check, fmt, hash, translate
from zencode.languages import LANGUAGES
from zencode.presets import NAMES, preset


@pytest.mark.parametrize("name", NAMES)
def test_one_hash_in_every_language(name: str) -> None:
    assert len({hash(preset(name, code)) for code in LANGUAGES}) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_presets_are_canonical_and_without_findings(name: str, code: str) -> None:
    text = preset(name, code)
    assert fmt(text) == text
    assert check(text) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_translation_is_the_other_text_but_for_its_comments(name: str) -> None:
    def sentences(text: str) -> list[str]:
        return [line for line in text.split("\n") if not line.startswith("#")]

    assert sentences(translate(preset(name), "it")) == sentences(preset(name, "it"))
    assert sentences(translate(preset(name, "it"), "en")) == sentences(preset(name))


def test_every_text_in_the_folder_is_a_preset() -> None:
    folder = Path(zencode.presets.__file__).parent
    expected = {f"{name}{'' if code == 'en' else '.' + code}.zen" for name in NAMES for code in LANGUAGES}
    assert {path.name for path in folder.glob("*.zen")} == expected


def test_a_preset_is_found_by_its_spoken_name() -> None:
    assert preset("Mid-market village") == preset("mid_market_village")


def test_an_unknown_preset_or_language_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no preset «x»; there are mid-market-village, neighbour-market"):
        preset("x")
    with pytest.raises(ValueError, match="no language «tlh»; there are en, it"):
        preset("neighbour_market", "tlh")
