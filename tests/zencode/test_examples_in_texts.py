"""Examples at the end of a text: read and kept in every language, no part of the binding, and told when wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zencode.strategies import bindings, names, values
from zencode import writer
from zencode.binding import Binding, Statement
from zencode.commands import check, fmt, hash, translate
from zencode.document import Document, Example, Line
from zencode.examples import (
    BILL,
    EXAMPLE_SENTENCES,
    EXAMPLES_BY_ID,
    IS_MEMBER,
    KEYWORDS,
    MAX_EXAMPLE_LINES,
    MAX_EXAMPLES,
)
from zencode.grammar import EXAMPLE, build, examples, spell, tokens_of
from zencode.languages import LANGUAGES, Phase
from zencode.phrases import read_phrase
from zencode.presets import preset
from zencode.reader import read_document
from zencode.sentences import Slot
from zencode.writer import write

VILLAGE = preset("neighbour_market")
SUNNY = """
# What it comes to.
Example: a sunny quarter of an hour
Given 'Anna' draws 2 kWh in period 1
# the roof of the school
And 'Bela' delivers 3 kWh in period 1
Then the bill of 'Anna' is 0.40 EUR
And the fund 'community fund' receives 0.016 EUR
"""


def _mistakes(example: str) -> list[str]:
    return [str(one) for one in check(VILLAGE + example) if one.level == "mistake"]


def test_an_example_is_no_part_of_the_binding() -> None:
    assert hash(VILLAGE + SUNNY) == hash(VILLAGE)
    (example,) = read_document(VILLAGE + SUNNY).examples
    assert example.title == "a sunny quarter of an hour"
    assert [EXAMPLES_BY_ID[line.statement.id].name for line in example.lines if line.statement] == [
        "energy drawn",
        "energy delivered",
        "bill",
        "earnings of a fund",
    ]


def test_an_example_is_spelled_and_translated_with_its_text() -> None:
    sloppy = SUNNY.replace("And 'Bela'", "given  'Bela'").replace("0.40 EUR", "0.400 eur.")
    assert fmt(VILLAGE + sloppy) == VILLAGE + SUNNY
    italian = translate(VILLAGE + SUNNY, "it")
    assert italian.endswith(
        "# What it comes to.\n"
        "Esempio: a sunny quarter of an hour\n"
        "Dato che 'Anna' preleva 2 kWh nel periodo 1\n"
        "# the roof of the school\n"
        "E 'Bela' immette 3 kWh nel periodo 1\n"
        "Allora la bolletta di 'Anna' è 0,40 EUR\n"
        "E il fondo 'fondo della comunità' riceve 0,016 EUR\n"
    )
    assert translate(italian, "en").split("\nWhen ")[1:] == (VILLAGE + SUNNY).split("\nWhen ")[1:]


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_the_table_is_complete_and_unambiguous(code: str) -> None:
    language = LANGUAGES[code]
    build(EXAMPLE_SENTENCES, language)
    keywords = {spelling.casefold() for spellings in language.keywords.values() for spelling in spellings}
    assert KEYWORDS[code].casefold() not in keywords
    for row in EXAMPLE_SENTENCES:
        tokens = tokens_of("x " + spell(row, examples(row, language), language))
        phrase = read_phrase(tokens[1:], row.phase, tokens[0], language, EXAMPLE)
        assert phrase.faults == () and phrase.statement == Statement(row.id, row.example)
        assert row.meaning.endswith(".")
    assert len(EXAMPLES_BY_ID) == len(EXAMPLE_SENTENCES)


@st.composite
def _lines(draw: st.DrawFn, phase: Phase, members: list[str]) -> list[Line]:
    rows = draw(st.lists(st.sampled_from([row for row in EXAMPLE_SENTENCES if row.phase == phase]), max_size=4))
    return [Line(phase, Statement(row.id, tuple(draw(_slot(slot, members)) for slot in row.slots))) for row in rows]


def _slot(slot: Slot, members: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(members) if slot.name == "member" else values(slot)


@st.composite
def _examples(draw: st.DrawFn) -> Example:
    """Any example; everybody in it is a member, and somebody's bill is told."""
    members = draw(st.lists(names, min_size=1, max_size=3))
    given_lines = [Line(Phase.GIVEN, Statement(IS_MEMBER, (name, "trader"))) for name in members]
    given_lines += draw(_lines(Phase.GIVEN, members))
    then_lines = [Line(Phase.THEN, Statement(BILL, (members[0], 1))), *draw(_lines(Phase.THEN, members))]
    return Example(draw(names), (*given_lines, *then_lines))


@settings(max_examples=30)
@given(bindings(), st.lists(_examples(), max_size=3).map(tuple), st.permutations(sorted(LANGUAGES)))
def test_examples_go_through_all_languages_and_back(
    binding: Binding, found: tuple[Example, ...], codes: list[str]
) -> None:
    layout = read_document(write(binding)).lines
    first = text = writer.translate(Document(binding, "en", layout, (), found), codes[0])
    for code in [*codes[1:], codes[0]]:
        text = translate(text, code)
    assert text == first
    again = read_document(text)
    assert again.binding == binding
    assert [(one.title, _said(one)) for one in again.examples] == [(one.title, _said(one)) for one in found]


def _said(example: Example) -> list[Statement | None]:
    return [line.statement for line in example.lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example\nGiven 'a' draws 1 kWh in period 1\nThen 'a' receives 1 EUR", "a colon and a title"),
        ("Example: x\nThen 'a' receives 1 EUR", "this example has no Given"),
        ("Example: x\nGiven 'a' draws 1 kWh in period 1", "this example has no Then"),
        (
            "Example: x\nAnd 'a' draws 1 Wh in period 1\nGiven 'a' draws 1 Wh in period 1\nThen 'a' receives 1 EUR",
            "no sentence above that And could continue",
        ),
        ("Example: x\nGiven 'a' draws 1 kWh in period 97\nThen 'a' receives 1 EUR", "between 1 and 96"),
        ("Example: x\nGiven 'a' draws 1 kWh in period 1\nThen 'b' receives 1 EUR", "name one of 'a'"),
        ("Example: x\nGiven 'a' draws 1 kWh in period 1\nThen 'a' receives 1 CHF", "the currency of this binding"),
        ("Example: x\nGiven 'a' draws 1 kWh in perod 1\nThen 'a' receives 1 EUR", "«'a' draws 1 kWh in period 1»?"),
        (
            "Example: x\nGiven 'a' draws 1 kWh in period 1\nThen 'a' receives 1 EUR\nGiven 'a' draws 2 kWh in period 1",
            "begin another example with Example:",
        ),
        (
            "Example: x\nGiven 'a' draws 1 kWh in period 1\nThen 'a' receives 1 EUR\nWhen a bill is due",
            "move this line above line 51",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_in_an_example_is_told(text: str, expected: str) -> None:
    (mistake,) = _mistakes(text)
    assert expected in mistake


def test_a_text_has_a_bounded_number_of_examples_and_lines() -> None:
    one = "Example: x\nGiven 'a' draws 1 kWh in period 1\nThen 'a' receives 1 EUR\n"
    assert len(read_document(VILLAGE + one * MAX_EXAMPLES).examples) == MAX_EXAMPLES
    assert _mistakes(one * (MAX_EXAMPLES + 1)) == [
        f"line {51 + 3 * MAX_EXAMPLES}: mistake: more than {MAX_EXAMPLES} examples; a text has no more"
    ]
    given = "Given 'a' draws 1 kWh in period 1\n"
    long = "Example: x\n" + given * (MAX_EXAMPLE_LINES - 1) + "Then 'a' receives 1 EUR\n"
    assert _mistakes(long) == []
    assert _mistakes(long + "And 'a' receives 1 EUR\n") == [
        f"line {52 + MAX_EXAMPLE_LINES}: mistake: more than {MAX_EXAMPLE_LINES} lines; an example has no more"
    ]


def test_amounts_in_examples_need_a_currency_too() -> None:
    text = "Rule language 'en'\nRule binding version 1\nScenario 'x': y\nExample: z\n"
    found = check(text + "Given 'a' draws 1 kWh in period 1\nThen 'a' receives 1 EUR")
    assert [one.message.split("\n")[0] for one in found] == ["the binding does not say its currency"]
