"""The table of sentences: complete in every language, unambiguous, append-only."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest

from zencode import grammar, language
from zencode.characters import RANGES
from zencode.grammar import CatalogueError, build, examples, spell, tokens_of
from zencode.kinds import KINDS, SECONDS, fault
from zencode.languages import ENGLISH, LANGUAGES, Phase
from zencode.meanings import kind_words, meaning, texts
from zencode.phrases import read_phrase
from zencode.sentences import BY_ID, CATALOGUE_VERSION, LANGUAGE_RULE, SENTENCES, Sentence, Slot
from zencode.words import KNOWN_WORDS

FROZEN = Path(__file__).with_name("catalogue.txt")
#: Events of version 1 under the actions and conditions to which later ones were added.
UNDER_IN_VERSION_1 = {
    402: {302, 303, 306, 307, 308},
    540: {305},
    541: {301, 305, 306, 307, 308},
    570: {303, 306, 307, 308},
    571: {306},
}
#: Rows with a word that is written with capitals in every language.
CAPITALS = {"incentive", "VAT rate", "VAT category"}


def _sentence(id: int, english: str, slots: tuple[Slot, ...] = ()) -> Sentence:
    return Sentence(id, f"s{id}", Phase.GIVEN, {"en": (english,)}, "", slots)


def _slot(name: str, kind: str) -> Slot:
    return Slot(name, next(candidate for candidate in KINDS if candidate.name == kind))


def test_every_row_has_words_in_every_language_a_meaning_and_an_example() -> None:
    for row in SENTENCES:
        assert row.words.keys() == LANGUAGES.keys(), row.name
        assert all(spellings and all(spellings) for spellings in row.words.values()), row.name
        assert row.meaning.endswith("."), row.name
        assert len(row.example) == len(row.slots), row.name
        for slot, value in zip(row.slots, row.example, strict=True):
            assert fault(slot.kind, value) is None and slot.takes(value), row.name


def test_ids_and_names_are_given_once() -> None:
    assert len({row.id for row in SENTENCES}) == len(SENTENCES)
    assert len({row.name for row in SENTENCES}) == len(SENTENCES)


def test_rows_that_ledgers_may_use_are_never_changed() -> None:
    """catalogue.txt has every row ever published, after the catalogue version that it came with.

    ZENCODE_REWRITE=1 adds new rows, with the version of now: raise CATALOGUE_VERSION first.
    """
    now = {row.id: f"{row.id} {row.phase.name} {_slots(row)}".rstrip() for row in SENTENCES}
    lines = FROZEN.read_text(encoding="utf-8").splitlines() if FROZEN.exists() else []
    frozen = [line.split(" ", 1) for line in lines]
    if os.environ.get("ZENCODE_REWRITE") == "1":
        known = {row for _, row in frozen}
        frozen += [[str(CATALOGUE_VERSION), now[id]] for id in sorted(now) if now[id] not in known]
        FROZEN.write_text("".join(f"{version} {row}\n" for version, row in frozen), encoding="utf-8")
    assert sorted(row for _, row in frozen) == sorted(now.values())
    assert {int(version) for version, _ in frozen} == set(range(1, CATALOGUE_VERSION + 1))
    came = {int(row.split(" ", 1)[0]): int(version) for version, row in frozen}
    assert {row.id: row.since for row in SENTENCES} == came


def test_old_actions_and_conditions_got_new_events_only_from_new_versions() -> None:
    """A node that knows version 1 alone then stumbles over the event, not over what stands under it."""
    for row in SENTENCES:
        added = set(row.under) - UNDER_IN_VERSION_1.get(row.id, set(row.under))
        assert all(BY_ID[event].since > row.since for event in added), row.name


def _slots(row: Sentence) -> str:
    return " ".join(f"{slot.name}:{slot.kind.name.replace(' ', '-')}" for slot in row.slots)


def test_a_condition_or_action_names_the_events_it_belongs_to() -> None:
    events = {row.id for row in SENTENCES if row.phase == Phase.WHEN}
    for row in SENTENCES:
        if row.phase in (Phase.IF, Phase.THEN):
            assert row.under and set(row.under) <= events, row.name
        else:
            assert row.under == (), row.name


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_spelling_of_every_row_reads_as_its_example(code: str) -> None:
    spoken = LANGUAGES[code]
    for row in SENTENCES:
        if row.id == LANGUAGE_RULE:
            continue
        for spelling in row.words[code]:
            variant = Sentence(row.id, row.name, row.phase, {code: (spelling,)}, "", row.slots, row.example)
            tokens = tokens_of("x " + spell(variant, examples(row, spoken), spoken))
            phrase = read_phrase(tokens[1:], row.phase, tokens[0], spoken)
            assert phrase.faults == () and phrase.statement is not None, spelling
            assert (phrase.statement.id, phrase.statement.slots) == (row.id, row.example)


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_language_has_all_keywords_units_and_known_words(code: str) -> None:
    spoken = LANGUAGES[code]
    assert spoken.keywords.keys() == set(Phase)
    assert {word for word, _ in SECONDS} <= spoken.units.keys() == ENGLISH.units.keys()
    assert all(len(words) >= 2 for words in spoken.units.values())
    assert all(code in word.words for words in KNOWN_WORDS.values() for word in words)
    keywords = [spelling for spellings in spoken.keywords.values() for spelling in spellings]
    assert len(set(keywords)) == len(keywords)


def test_a_spelling_of_a_known_word_means_one_thing() -> None:
    for vocabulary, words in KNOWN_WORDS.items():
        meanings: dict[str, str] = {}
        for word in words:
            for spelling in word.words.values():
                assert meanings.setdefault(spelling.casefold(), word.canonical) == word.canonical, vocabulary


def test_two_sentences_that_read_alike_fail_the_build() -> None:
    first = _sentence(1, "the fee is {price}", (_slot("price", "price"),))
    second = _sentence(2, "The fee IS {amount}", (_slot("amount", "amount of money"),))
    with pytest.raises(CatalogueError, match="statements 1 and 2 read alike"):
        build((first, second), ENGLISH)


def test_a_number_that_could_begin_two_sorts_of_value_fails_the_build() -> None:
    first = _sentence(1, "the last {days} days", (_slot("days", "number"),))
    second = _sentence(2, "the last {time} count", (_slot("time", "duration"),))
    with pytest.raises(CatalogueError, match="two sorts of value"):
        build((first, second), ENGLISH)


def test_words_after_a_list_of_shares_fail_the_build() -> None:
    row = _sentence(1, "split {shares} now", (_slot("shares", "list of shares"),))
    with pytest.raises(CatalogueError, match="two sorts of value"):
        build((row,), ENGLISH)


def test_a_sentence_that_forgets_a_slot_fails_the_build() -> None:
    row = _sentence(1, "the fee is set", (_slot("price", "price"),))
    with pytest.raises(CatalogueError, match="does not name every slot once"):
        build((row,), ENGLISH)


def test_characters_of_names_stand_alone_in_nfc() -> None:
    """So that a text of them is in NFC on every Python, whatever its Unicode version."""
    for first, last in RANGES:
        for code in range(first, last + 1):
            character = chr(code)
            assert unicodedata.normalize("NFC", character) == character, hex(code)
            assert unicodedata.combining(character) == 0, hex(code)
            assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}, hex(code)


def test_patterns_use_plain_apostrophes_and_no_punctuation() -> None:
    for row in SENTENCES:
        for code, spellings in row.words.items():
            for spelling in spellings:
                words = re.sub(r"\{\w+\}", "", spelling)
                assert not re.search(r"[^\w\s'-]", words), spelling
                # German nouns have capitals; a kWh has one everywhere.
                assert code == "de" or words == grammar.folded(words) or row.name in CAPITALS, spelling


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_the_manual_of_every_language_is_up_to_date(code: str) -> None:
    path = language.PATHS[code]
    assert path.read_text(encoding="utf-8") == language.manual(code), (
        f"{path.name} is stale; run python -m zencode.language"
    )


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_language_says_what_each_sentence_value_and_lint_means(code: str) -> None:
    assert list(texts(code)) and texts(code).keys() == texts("en").keys()
    assert all(meaning(row, code).endswith(".") for row in SENTENCES)
    assert all(all(kind_words(kind, code)) for kind in KINDS)
    if code != "en":
        assert not {key for key, text in texts(code).items() if text == texts("en")[key]}
