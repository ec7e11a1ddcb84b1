"""Phrases: one sentence without its keyword, from tokens to a statement with its values.

Tells every fault in the sentence; which line it is on, and whether it may stand
there, is the reader's.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from zencode.binding import Statement
from zencode.grammar import (
    BINDING,
    NUMBER,
    OTHER_QUOTES,
    UNCLOSED,
    Piece,
    Token,
    examples,
    folded,
    match,
    nearest,
    sentences_of,
    spell,
    spelled,
)
from zencode.kinds import CALENDAR, COUNT, MAX_SHARES, NAME, SHARE, SHARES, TIME, Value, noun
from zencode.languages import ENGLISH, Language, Phase
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
    """What became of a sentence: without faults a statement.

    `sentence` is its row, when it has one; else `guess` may be the row that it is most like.
    """

    sentence: Sentence | None = None
    statement: Statement | None = None
    faults: tuple[Fault, ...] = ()
    currencies: tuple[NamedCurrency, ...] = ()
    guess: Sentence | None = None


class _WrongPartError(WrongValueError):
    """A value of which a part is wrong: the tokens of that part."""

    def __init__(self, tokens: Sequence[Token], wrong: WrongValueError) -> None:
        super().__init__(wrong.expected, wrong.suggestion)
        self.tokens = tokens


def read_phrase(tokens: list[Token], phase: Phase, keyword: Token, language: Language, table: str = BINDING) -> Phrase:
    """Read the sentence of a table that follows `keyword` in `phase`."""
    found = match(tokens, phase, language, table)
    if found is None:
        return _unknown(tokens, phase, keyword, language, table)
    if found.sentence.id == LANGUAGE_RULE and table == BINDING:
        expected = "the language is said once, in the first sentence"
        return Phrase(found.sentence, faults=(Fault(keyword.column, spelled(tokens), expected, "delete this line"),))
    values: list[Value] = []
    faults: list[Fault] = []
    currencies: list[NamedCurrency] = []
    for slot, piece in zip(found.sentence.slots, found.pieces, strict=True):
        try:
            values.append(_value(slot, piece, language, currencies))
        except WrongValueError as wrong:
            part = wrong.tokens if isinstance(wrong, _WrongPartError) else piece.tokens
            faults.append(Fault(part[0].column, spelled(part), wrong.expected, wrong.suggestion))
    statement = None if faults else Statement(found.sentence.id, tuple(values))
    return Phrase(found.sentence, statement, tuple(faults), tuple(currencies))


def _unknown(tokens: list[Token], phase: Phase, keyword: Token, language: Language, table: str) -> Phrase:
    said = language.keywords[phase][0]
    if not tokens:
        row = next(row for row in sentences_of(table) if row.phase == phase)
        hint = f"write a sentence such as «{said} {spell(row, examples(row, language), language)}»"
        return _refused(Fault(keyword.column, keyword.spelled, f"a sentence is expected after {said}", hint))
    for at, token in enumerate(tokens):
        if token.sort == UNCLOSED:
            hint = "names stand between ' and '; an apostrophe in a name is ''"
            return _refused(Fault(token.column, spelled(tokens[at:]), "a name that begins here does not end", hint))
        if token.text.startswith("#"):
            expected, hint = "a comment stands on a line of its own", "write it on the line above"
            return _refused(Fault(token.column, spelled(tokens[at:]), expected, hint))
    second = _second_sentence(tokens, phase, language, table)
    if second is not None:
        return second
    near = nearest(tokens, phase, language, table)
    if near is None:
        manual = "LANGUAGE.md" if language is ENGLISH else f"LANGUAGE.{language.code}.md"
        hint = f"every sentence is listed in {manual}"
        return _refused(Fault(tokens[0].column, spelled(tokens), f"no such sentence after {said}", hint))
    begin = "" if near.phase == phase else language.keywords[near.phase][0] + " "
    hint = f"did you mean «{begin}{near.text}»?"
    fault = Fault(tokens[0].column, spelled(tokens), f"no such sentence after {said}", hint)
    return Phrase(faults=(fault,), guess=near.sentence)


def _refused(fault: Fault) -> Phrase:
    return Phrase(faults=(fault,))


def _second_sentence(tokens: list[Token], phase: Phase, language: Language, table: str) -> Phrase | None:
    """What to say of two sentences on one line, joined by «and» or «then»."""
    joints = {folded(word): joint for joint in (Phase.AND, Phase.THEN) for word in language.keywords[joint]}
    at = next((at for at, token in enumerate(tokens) if token.text in joints and at + 1 < len(tokens)), None)
    found = match(tokens[:at], phase, language, table) if at else None
    if at is None or found is None or not all(piece.fits for piece in found.pieces):
        return None
    rest = f"{language.keywords[joints[tokens[at].text]][0]} {spelled(tokens[at + 1 :])}"
    hint = f"write «{rest}» on a line of its own"
    return Phrase(faults=(Fault(tokens[at].column, spelled(tokens[at:]), "a line has one sentence", hint),))


def _value(slot: Slot, piece: Piece, language: Language, currencies: list[NamedCurrency]) -> Value:
    if not piece.fits:
        raise _misquoted(slot, piece, language)
    value = _read(slot, piece, language, currencies)
    if not slot.takes(value):
        raise WrongValueError(read_bounds(slot.kind, *slot.bounds))
    return value


def _read(slot: Slot, piece: Piece, language: Language, currencies: list[NamedCurrency]) -> Value:
    first = piece.tokens[0]
    if piece.form == NAME:
        return _name(slot, first.text, language)
    if piece.form == COUNT:
        least, most = slot.bounds
        # One bound is told, the narrower; where only one number is known, the slot says so.
        kind = slot.kind if least == most else replace(slot.kind, least=least, most=most)
        return read_count(kind, first.text, language)
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


def _misquoted(slot: Slot, piece: Piece, language: Language) -> WrongValueError:
    token = piece.tokens[0]
    if piece.form == NAME:
        bare = token.spelled[1:-1] if token.sort == OTHER_QUOTES else token.spelled
        return WrongValueError("names stand between ' and '", "write '" + bare.replace("'", "''") + "'")
    if token.sort == NAME:
        what = "dates" if piece.form == CALENDAR else "numbers"
        return WrongValueError(f"{what} are not quoted", f"write {token.text}")
    hint = f"write it as {write_value(slot.kind, slot.kind.example, language, 'EUR')}"
    return WrongValueError(f"{noun(slot.kind)} is expected", hint)


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
    joints = (",", folded(language.list_and))
    shares = []
    for at in range(0, len(tokens), 5):
        share, joint = tokens[at : at + 4], tokens[at + 4 : at + 5]
        number = share[0]
        if number.sort == NUMBER and len(share) > 1:
            try:
                ppm, _ = read_quantity(SHARE, number.text, share[1].spelled, language)
            except WrongValueError as wrong:
                raise _WrongPartError(share[:2], wrong) from wrong
        if len(share) < 4 or (joint and joint[0].text not in joints) or len(tokens) == at + 5:
            raise _no_list(slot, language)
        if number.sort != NUMBER or share[2].text != folded(language.share_to) or share[3].sort != NAME:
            raise _no_list(slot, language)
        try:
            shares.append((ppm, read_name(slot.kind, share[3].text)))
        except WrongValueError as wrong:
            raise _WrongPartError(share[3:], wrong) from wrong
    if len(shares) > MAX_SHARES:
        raise WrongValueError(f"{len(shares)} shares; there are at most {MAX_SHARES}")
    return tuple(shares)


def _no_list(slot: Slot, language: Language) -> WrongValueError:
    example = write_value(slot.kind, slot.kind.example, language, "")
    return WrongValueError("a list of shares is expected", f"write it as {example}")
