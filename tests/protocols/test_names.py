"""Names: the committed table against the Unicode database (which the code itself never asks)."""

from __future__ import annotations

import unicodedata

import pytest

from protocols.records import names

CODES = [code for low, high in names.ALLOWED for code in range(low, high + 1)]


def test_the_table_ascends_without_overlap() -> None:
    assert sorted(set(CODES)) == CODES


def test_every_character_is_assigned_visible_and_the_same_after_normalization() -> None:
    refused = {"Cn", "Cc", "Cf", "Cs", "Co", "Mn", "Mc", "Me", "Zl", "Zp"}
    bad = [
        f"U+{code:04X}"
        for code in CODES
        if unicodedata.category(chr(code)) in refused
        or (unicodedata.category(chr(code)) == "Zs" and code != 0x20)
        or unicodedata.normalize("NFC", chr(code)) != chr(code)
    ]
    assert bad == []


def test_names_stay_the_same_when_letters_are_put_together() -> None:
    # No letter of the table may combine with the one after it.
    starts = [chr(code) for code in CODES]
    text = " ".join(starts) + "".join(starts)
    assert unicodedata.normalize("NFC", text) == text


@pytest.mark.parametrize(
    "name", ["Anna", "Grüße", "Łódź", "Đặng Thị", "Ελένη", "Юлия", "אבי", "سعيد", "さくら", "김", "李"]
)
def test_names_of_people(name: str) -> None:
    assert names.fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "the name is empty"),
        (" Anna", "no spaces at its ends"),
        ("Anna ", "no spaces at its ends"),
        ("An  na", "no two in a row"),
        ("An\u00a0na", "character 3 (U+00A0)"),
        ("An\u00adna", "character 3 (U+00AD)"),
        ("e\u0301va", "character 2 (U+0301)"),
        ("\u202eanna", "character 1 (U+202E)"),
        ("an\tna", "character 3 (U+0009)"),
        ("a\u200bb", "character 2 (U+200B)"),
        ("\u0387", "character 1 (U+0387)"),
        ("\ufb01", "character 1 (U+FB01)"),
        ("😀", "character 1 (U+1F600)"),
    ],
)
def test_what_is_not_a_name(name: str, fault: str) -> None:
    assert fault in (names.fault(name) or "")
