"""Presets: complete, canonical, and one contract whatever the language."""

from __future__ import annotations

from pathlib import Path

import pytest

import zencode.presets
from zencode.commands import check, fmt, hash, translate
from zencode.languages import LANGUAGES
from zencode.presets import NAMES, preset

#: Communities were founded on these: a hash that changes is another contract.
HASHES = {
    "mid_market_village": "4819b599e775c87e698407a1c2bd08baceb2505bb7cceaab47447f62ec736261",
    "neighbour_market": "8d254cf46dabc6d42923d8035fe1ee980dcd02b340f4b1e619a19f8c3a08758d",
    "spanish_self_consumption": "426024a06d5999996d7e69efb9b0012d9e8570bec142ce93e786cc238a861823",
    "italian_energy_community": "5664fc478a5fb5b7f1405da7867ad5b390ef93ee7cf8443944766a5bc50c5c72",
    "island_order_book": "bac7b422360ed035c82b78d8f112d3c9e757640a88ab8aff3f4948a0166b363e",
    "charging_yard": "0b352990c114e616fc630a4e532f28ff56f37c143c9b7b6be960c0cf782aa112",
}


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_one_hash_in_every_language_and_for_ever(name: str, code: str) -> None:
    assert hash(preset(name, code)) == HASHES[name]


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
@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_a_translation_is_the_other_text_but_for_its_comments(name: str, code: str) -> None:
    def sentences(text: str) -> list[str]:
        return [line for line in text.split("\n") if not line.startswith("#")]

    assert sentences(translate(preset(name), code)) == sentences(preset(name, code))
    assert sentences(translate(preset(name, code), "en")) == sentences(preset(name))


def test_every_text_in_the_folder_is_a_preset() -> None:
    folder = Path(zencode.presets.__file__).parent
    expected = {f"{name}{'' if code == 'en' else '.' + code}.zen" for name in NAMES for code in LANGUAGES}
    assert {path.name for path in folder.glob("*.zen")} == expected


def test_a_preset_is_found_by_its_spoken_name() -> None:
    assert preset("Mid-market village") == preset("mid_market_village")


def test_an_unknown_preset_or_language_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no preset «x»; there are mid-market-village, neighbour-market"):
        preset("x")
    with pytest.raises(ValueError, match="no language «tlh»; there are en, it, es, de"):
        preset("neighbour_market", "tlh")
