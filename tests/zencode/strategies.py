"""Generated bindings: every statement of the catalogue with any value that it takes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from zencode.binding import Binding, Block, Statement, same_fact, sorted_statements
from zencode.characters import RANGES
from zencode.kinds import (
    CLOCK,
    CURRENCY,
    CYCLE,
    DAY_S,
    DURATION,
    MAX_MONTHS,
    MONEY,
    NAME,
    PRICE,
    SHARE_LIST,
    WHOLE_PPM,
    Kind,
)
from zencode.languages import Phase
from zencode.sentences import BINDING_VERSION, CURRENCY_IS, LANGUAGE_RULE, SENTENCES, VERSION, Sentence, Slot
from zencode.words import KNOWN_WORDS

_CHARACTERS = st.one_of(
    st.sampled_from("abcXYZ019 '’.,:%#/-€àÉŽλЖ"),
    st.sampled_from([chr(code) for first, last in RANGES for code in range(first, last + 1)]),
)
_KNOWN = {
    spelling.casefold()
    for words in KNOWN_WORDS.values()
    for word in words
    for spelling in (word.canonical, *word.words.values())
}


#: Short enough that the longest sentence fits a line in every language.
names = (
    st.text(_CHARACTERS, min_size=1, max_size=12)
    .map(lambda text: " ".join(text.split()))
    .filter(lambda text: text and text.casefold() not in _KNOWN)
)


def values(slot: Slot) -> st.SearchStrategy[Any]:
    """Every value that `slot` takes, in the form of the tree."""
    kind = slot.kind
    if kind is CURRENCY:
        return st.sampled_from(["EUR", "CHF", "PALMCOIN"])
    if kind.form == NAME:
        return _names(kind)
    if kind is SHARE_LIST:
        recipient = _names(kind)
        return st.lists(st.tuples(st.integers(0, WHOLE_PPM), recipient), min_size=1, max_size=3).map(tuple)
    if kind is CYCLE:
        months = st.tuples(st.integers(1, MAX_MONTHS), st.just(0))
        return st.one_of(months, st.tuples(st.just(0), st.integers(1, CYCLE.most)))
    least, most = slot.bounds
    if kind is PRICE:
        return st.integers(least // 1_000, most // 1_000).map(lambda tick: tick * 1_000)
    if kind is CLOCK:
        return st.integers(0, DAY_S // 60).map(lambda minute: minute * 60)
    if kind in (MONEY, DURATION):
        return st.one_of(st.integers(least, most), st.integers(least, min(most, 100_000)))
    return st.integers(least, most)


def _names(kind: Kind) -> st.SearchStrategy[str]:
    if kind.vocabulary is None:
        return names
    known = st.sampled_from([word.canonical for word in KNOWN_WORDS[kind.vocabulary]])
    return known if kind.closed else st.one_of(known, names)


def statement(row: Sentence) -> st.SearchStrategy[Statement]:
    """Any statement of one row of the catalogue."""
    return st.tuples(*(values(slot) for slot in row.slots)).map(lambda slots: Statement(row.id, slots))


def statements(phase: Phase) -> st.SearchStrategy[Statement]:
    """Any statement of one phase."""
    rows = [row for row in SENTENCES if row.phase == phase and row.id not in (LANGUAGE_RULE, VERSION)]
    return st.sampled_from(rows).flatmap(statement)


def _facts(found: list[Statement]) -> tuple[Statement, ...]:
    return sorted_statements(list({same_fact(fact): fact for fact in found}.values()))


@st.composite
def bindings(draw: st.DrawFn) -> Binding:
    """Any well-formed binding; most of them make no sense."""
    version = Statement(VERSION, (BINDING_VERSION,))
    rules = draw(st.lists(statements(Phase.RULE), max_size=3))
    currency = Statement(CURRENCY_IS, (draw(st.sampled_from(["EUR", "CHF", "PALMCOIN"])),))
    givens = draw(st.lists(statements(Phase.GIVEN), max_size=8))
    block = st.builds(
        Block,
        event=statements(Phase.WHEN),
        conditions=st.lists(statements(Phase.IF), max_size=2).map(tuple),
        actions=st.lists(statements(Phase.THEN), min_size=1, max_size=4).map(tuple),
    )
    return Binding(
        draw(names),
        draw(names),
        _facts([version, *rules]),
        _facts([currency, *givens]),
        tuple(draw(st.lists(block, max_size=5))),
    )
