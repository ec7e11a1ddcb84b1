"""Completion and hover: what an editor proposes reads as a sentence, and nothing half written confuses it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zencode.completion import Proposal, complete
from zencode.examples import EXAMPLE_SENTENCES, KEYWORDS
from zencode.grammar import BINDING, EXAMPLE, examples, folded, keyword_of, spell, tokens_of
from zencode.hover import hover, hover_text
from zencode.kinds import SHARE_LIST
from zencode.languages import LANGUAGES, Language, Phase
from zencode.phrases import read_phrase
from zencode.presets import NAMES, preset
from zencode.sentences import BY_ID, LANGUAGE_RULE, SENTENCES, Sentence

VILLAGE = preset("neighbour_market")
HEAD = """\
Rule language 'en'
Rule binding version 1
Scenario 'market': Palm Bay
Given the currency is 'CHF'
And the battery 'Bay Battery' stores 400 kWh at 100 kW and belongs to 'Bay Coop'
And there is a role 'auditor'
"""


def _at_the_end(text: str) -> list[Proposal]:
    lines = text.split("\n")
    return complete(text, len(lines), len(lines[-1]) + 1)


def _labels(text: str, kind: str | None = None) -> list[str]:
    return [one.label for one in _at_the_end(text) if kind in (None, one.kind)]


def _completed(text: str, proposal: Proposal) -> str:
    """The last line with a proposal in it."""
    line = text.split("\n")[-1]
    return line[: proposal.start - 1] + proposal.text + line[proposal.end - 1 :]


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@pytest.mark.parametrize("table", [BINDING, EXAMPLE])
def test_every_sentence_is_completed_from_each_of_its_words(code: str, table: str) -> None:
    language = LANGUAGES[code]
    rows = SENTENCES if table == BINDING else EXAMPLE_SENTENCES
    said = BY_ID[LANGUAGE_RULE]
    above = f"{language.keywords[Phase.RULE][0]} {spell(said, examples(said, language), language)}\n"
    above += f"{KEYWORDS[code]}: x\n" if table == EXAMPLE else ""
    for row in rows:
        keyword = language.keywords[row.phase][0]
        whole = f"{keyword} {spell(row, examples(row, language), language)}"
        tokens = tokens_of(whole)
        for before, token in pairwise(tokens[len(keyword.split()) - 1 :]):
            text = above + whole[: token.column - 1]
            found = _at_the_end(text)
            lines = [_completed(text, one) for one in found if one.kind == "sentence"]
            if row.id == LANGUAGE_RULE and table == BINDING:
                assert row.name not in {one.detail for one in found}, "said already"
            elif row.slots and row.slots[-1].kind is SHARE_LIST and "80" in whole[: token.column - 1]:
                assert found == [], "a list of shares is the author's own"
            elif before.sort == "number" and token.text not in folded(row.words[code][0]).split():
                assert "unit" in {one.kind for one in found}, text
            else:
                assert any(_reads_as(line, language, table) == row for line in lines), text


def _reads_as(line: str, language: Language, table: str) -> Sentence | None:
    tokens = tokens_of(line)
    phase, used = keyword_of(tokens, language)
    assert phase is not None
    phrase = read_phrase(tokens[used:], phase, tokens[0], language, table)
    return phrase.sentence if not phrase.faults else None


def test_a_half_written_word_is_replaced() -> None:
    found = next(one for one in _at_the_end(HEAD + "And grid feed-in p") if one.detail == "feed-in price")
    assert (found.text, found.start, found.end) == ("pays 0.08 CHF/kWh", 18, 19)
    assert found.snippet == "pays ${1:0.08 CHF/kWh}"


def test_what_is_said_already_is_not_proposed_again() -> None:
    found = _labels(HEAD + "And the ")
    assert "settlement period is 15 minutes" in found
    assert not any(label.startswith("currency is") for label in found)
    assert any(label.startswith("battery") for label in found), "one for each battery"


def test_names_in_the_text_come_first() -> None:
    assert _labels(HEAD + "When the battery ", "name") == ["'Bay Battery'"]
    assert _labels(HEAD + "When a bill is due\nThen let ", "name")[0] == "'auditor'"
    assert _labels(HEAD + "When a bill is due\nThen hide 'load c") == ["'load curves'"]


def test_only_what_means_something_for_the_event_is_proposed() -> None:
    found = [one.detail for one in _at_the_end(HEAD + "When somebody asks to join as 'x'\nThen ")]
    assert "accept the member" in found and "order book" not in found


def test_numbers_get_their_units() -> None:
    assert _labels(HEAD + "And corrections are accepted for 2") == ["seconds", "minutes", "hours", "days", "weeks"]
    assert _labels(HEAD + "And corrections are accepted for 1 d") == ["day"]
    assert _labels(HEAD + "And grid feed-in pays 0.1 ") == ["CHF/kWh"]
    spaced = _at_the_end(HEAD + "And grid feed-in pays 0.1")
    assert [one.text for one in spaced] == [" CHF/kWh"]


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        ("", ["Rule"]),
        ("Rule language 'en'\n", ["Rule", "Scenario"]),
        (HEAD, ["And", "When"]),
        (HEAD + "When a bill is due\n", ["Then", "If"]),
        (
            HEAD + "When a bill is due\nThen net all debts before payment\n",
            ["And", "When", "If", "EndIf", "Example: a sunny quarter of an hour"],
        ),
        (HEAD + "Example: x\n", ["Given"]),
        (HEAD + "Example: x\nGiven 'a' draws 1 kWh in period 1\n", ["And", "Then"]),
    ],
)
def test_a_line_begins_with_what_may_stand_there(above: str, expected: list[str]) -> None:
    assert _labels(above) == expected


def test_italian_is_completed_in_italian() -> None:
    assert _labels("Regola lingua 'it'\nDato che la val") == ["valuta è 'EUR'"]
    assert "Dato che" in _labels("Regola lingua 'it'\nScenario 'x': y\nDa")


def test_comments_and_titles_are_nobodys_business() -> None:
    assert _at_the_end(HEAD + "# And ") == []
    assert _at_the_end("Scenario 'x': And ") == []


@settings(max_examples=150)
@given(
    st.sampled_from([preset(name, code) for name in NAMES for code in sorted(LANGUAGES)]),
    st.integers(1, 60),
    st.integers(1, 90),
    st.text(max_size=6),
)
def test_no_place_of_a_damaged_text_confuses_it(text: str, line: int, column: int, put: str) -> None:
    lines = text.split("\n")
    at = line % len(lines)
    lines[at] = lines[at][:column] + put + lines[at][column:]
    damaged = "\n".join(lines)
    for proposal in complete(damaged, line, column):
        assert 1 <= proposal.start <= proposal.end <= column or proposal.start == proposal.end
    found = hover(damaged, line, column)
    assert found is None or hover_text(found)


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_of_a_preset_is_explained(name: str, code: str) -> None:
    text = preset(name, code)
    language = LANGUAGES[code]
    for number, line in enumerate(text.split("\n"), 1):
        tokens = tokens_of(line)
        if not tokens or line.startswith("#"):
            continue
        phase, _ = keyword_of(tokens, language)
        found = hover(text, number, 1)
        assert (found is None) == (phase in (Phase.SCENARIO, Phase.END_IF)), line
        assert found is None or found.meaning in hover_text(found)


def test_help_on_a_sentence_with_a_wrong_value_says_what_is_right() -> None:
    text = HEAD + "And a period settles 3 days after its end"
    found = hover(text, 7, 12)
    assert found is not None
    (slot,) = found.slots
    assert slot.meaning == "a duration here lies between 1 second and 1 day"
    assert (found.start, found.end) == (1, len("And a period settles 3 days after its end") + 1)


def test_help_on_an_action_names_its_events() -> None:
    text = HEAD + "When a bill is due\nThen net all debts before payment"
    found = hover(text, 8, 10)
    assert found is not None and found.under == ("a bill is due",)
    assert hover_text(found).endswith("Belongs to: a bill is due.\n")
