"""Phrases: one sentence without its keyword, from tokens to a statement with its values.

Tells every fault in the sentence; which line it is on, and whether it may stand
there, is the reader's.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from zencode.binding import Statement
from zencode.grammar import (
    NUMBER,
    OTHER_QUOTES,
    UNCLOSED,
    Piece,
    Token,
    folded,
    match,
    nearest,
    spelled,
)
from zencode.kinds import CALENDAR, COUNT, MAX_SHARES, NAME, SHARE, SHARES, TIME, Value
from zencode.languages import Language, Phase
from zencode.sentences import LANGUAGE_RULE, Sentence, Slot
from zencode.values import (
    WrongValueError,
    read_bounds,
    read_clock,
    read_count,
    read_date,
    read_name,
    read_quantity,
    write_value,
)
from zencode.words import spoken_words


class Fault(Struct, frozen=True):
    """What is wrong at a column of the line."""

    column: int
    found: str
    expected: str
    suggestion: str = ""


class NamedCurrency(Struct, frozen=True):
    """A currency that an amount or price names; only the whole text tells whether it is the right one."""

    column: int
    found: str
    code: str


class Phrase(Struct, frozen=True):
    """What became of a sentence: without faults a statement; `sentence` is its row, when it has one."""

    sentence: Sentence | None = None
    statement: Statement | None = None
    faults: tuple[Fault, ...] = ()
    currencies: tuple[NamedCurrency, ...] = ()


def read_phrase(tokens: list[Token], phase: Phase, keyword: Token, language: Language) -> Phrase:
    """Read the sentence that follows `keyword` in `phase`."""
    found = match(tokens, phase, language)
    if found is None:
        return Phrase(faults=(_unknown(tokens, phase, keyword, language),))
    if found.sentence.id == LANGUAGE_RULE:
        expected = "the language is said once, in the first sentence"
        return Phrase(found.sentence, faults=(Fault(keyword.column, spelled(tokens), expected),))
    values: list[Value] = []
    faults: list[Fault] = []
    currencies: list[NamedCurrency] = []
    for slot, piece in zip(found.sentence.slots, found.pieces, strict=True):
        try:
            values.append(_value(slot, piece, language, currencies))
        except WrongValueError as wrong:
            first = piece.tokens[0]
            said = first.spelled if piece.form == SHARES else spelled(piece.tokens)
            faults.append(Fault(first.column, said, wrong.expected, wrong.suggestion))
    statement = None if faults else Statement(found.sentence.id, tuple(values))
    return Phrase(found.sentence, statement, tuple(faults), tuple(currencies))


def _unknown(tokens: list[Token], phase: Phase, keyword: Token, language: Language) -> Fault:
    said = language.keywords[phase][0]
    if not tokens:
        return Fault(keyword.column, keyword.spelled, f"a sentence is expected after {said}")
    for at, token in enumerate(tokens):
        if token.sort == UNCLOSED:
            hint = "names stand between ' and '; an apostrophe in a name is ''"
            return Fault(token.column, spelled(tokens[at:]), "a name that begins here does not end", hint)
        if token.text.startswith("#"):
            return Fault(token.column, spelled(tokens[at:]), "a comment stands on a line of its own")
    near = nearest(tokens, phase, language)
    hint = ""
    if near is not None:
        begin = "" if near.phase == phase else language.keywords[near.phase][0] + " "
        hint = f"did you mean «{begin}{near.text}»?"
    return Fault(tokens[0].column, spelled(tokens), f"no such sentence after {said}", hint)


def _value(slot: Slot, piece: Piece, language: Language, currencies: list[NamedCurrency]) -> Value:
    if not piece.fits:
        raise _misquoted(piece)
    value = _read(slot, piece, language, currencies)
    if not slot.takes(value):
        raise WrongValueError(read_bounds(slot.kind, *slot.bounds))
    return value


def _read(slot: Slot, piece: Piece, language: Language, currencies: list[NamedCurrency]) -> Value:
    first = piece.tokens[0]
    if piece.form == NAME:
        return _name(slot, first.text, language)
    if piece.form == COUNT:
        return read_count(slot.kind, first.text, language)
    if piece.form == TIME:
        return read_clock(slot.kind, first.text)
    if piece.form == CALENDAR:
        return read_date(slot.kind, first.text)
    if piece.form == SHARES:
        return _shares(slot, piece.tokens, language)
    unit = piece.tokens[1].spelled if len(piece.tokens) > 1 else ""
    value, currency = read_quantity(slot.kind, first.text, unit, language)
    if currency is not None:
        currencies.append(NamedCurrency(first.column, spelled(piece.tokens), currency))
    return value


def _misquoted(piece: Piece) -> WrongValueError:
    token = piece.tokens[0]
    if piece.form == NAME:
        bare = token.spelled[1:-1] if token.sort == OTHER_QUOTES else token.spelled
        return WrongValueError("names stand between ' and '", "write '" + bare.replace("'", "''") + "'")
    if token.sort == NAME:
        what = "dates" if piece.form == CALENDAR else "numbers"
        return WrongValueError(f"{what} are not quoted", f"write {token.text}")
    expected = {TIME: "a time of day is expected", CALENDAR: "a date is expected"}
    return WrongValueError(expected.get(piece.form, "a number is expected"))


def _name(slot: Slot, text: str, language: Language) -> str:
    try:
        return read_name(slot.kind, text)
    except WrongValueError as wrong:
        if not slot.kind.closed or slot.kind.vocabulary is None:
            raise
        known = spoken_words(slot.kind.vocabulary, language.code).values()
        words = ", ".join("'" + word.replace("'", "''") + "'" for word in known)
        raise WrongValueError(wrong.expected, f"write one of {words}") from wrong


def _shares(slot: Slot, tokens: Sequence[Token], language: Language) -> Value:
    """Read «80 % to 'a', 15 % to 'b' and 5 % to 'c'»: four tokens for a share, one between two."""
    example = write_value(slot.kind, slot.kind.example, language, "")
    misspelled = WrongValueError("a list of shares is expected", f"write it as {example}")
    joints = (",", folded(language.list_and))
    shares = []
    for at in range(0, len(tokens), 5):
        share, joint = tokens[at : at + 4], tokens[at + 4 : at + 5]
        if len(share) < 4 or (joint and joint[0].text not in joints) or len(tokens) == at + 5:
            raise misspelled
        number, unit, to, name = share
        if number.sort != NUMBER or to.text != folded(language.share_to) or name.sort != NAME:
            raise misspelled
        ppm, _ = read_quantity(SHARE, number.text, unit.spelled, language)
        shares.append((ppm, read_name(slot.kind, name.text)))
    if len(shares) > MAX_SHARES:
        raise WrongValueError(f"{len(shares)} shares; there are at most {MAX_SHARES}")
    return tuple(shares)
