"""Completion: what an author may write at a place of a text - keywords, sentences of the phase, names, units.

Works on a text that is still being written, in the language of the text. Columns
count characters from 1, as in mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from zencode.cursor import Spoken, Survey, names_key, survey
from zencode.document import MAX_TEXT_BYTES
from zencode.examples import KEYWORDS, TITLES
from zencode.grammar import (
    BINDING,
    CLOCK_TIME,
    DATE,
    EXAMPLE,
    NUMBER,
    PUNCTUATION,
    WORD,
    Token,
    folded,
    keyword_of,
    sentences_of,
    tokens_of,
)
from zencode.kinds import CURRENCY, LANGUAGE, NAME, PRICED, QUANTITY, SHARES, Kind
from zencode.languages import LANGUAGES, Phase
from zencode.meanings import example_meaning, kind_words, meaning
from zencode.sentences import Sentence, Slot
from zencode.values import spoken_unit, write_value
from zencode.words import KNOWN_WORDS, spoken_words

KEYWORD, SENTENCE, NAME_USED, VALUE, UNIT = "keyword", "sentence", "name", "value", "unit"

_PLACE = re.compile(r"\{(\w+)\}")
#: What may begin the line after a phase, likeliest first; None is the top of the text.
_AFTER: dict[Phase | None, tuple[Phase, ...]] = {
    None: (Phase.RULE,),
    Phase.RULE: (Phase.RULE, Phase.SCENARIO),
    Phase.SCENARIO: (Phase.GIVEN, Phase.WHEN),
    Phase.GIVEN: (Phase.AND, Phase.WHEN),
    Phase.WHEN: (Phase.THEN, Phase.IF),
    Phase.IF: (Phase.THEN, Phase.AND),
    Phase.THEN: (Phase.AND, Phase.WHEN, Phase.IF, Phase.END_IF),
    Phase.END_IF: (Phase.WHEN, Phase.IF, Phase.THEN),
}
_IN_EXAMPLE: dict[Phase | None, tuple[Phase, ...]] = {
    None: (Phase.GIVEN,),
    Phase.GIVEN: (Phase.AND, Phase.THEN),
    Phase.THEN: (Phase.AND,),
}


class Proposal(Struct, frozen=True):
    """Something that may be written at the cursor.

    `kind` is "keyword", "sentence", "name", "value" or "unit". `text` replaces the
    columns `start` to `end` (not included) of the line; `snippet` is the same with
    its values as places to fill, in the notation of editors: ${1:0.32 EUR/kWh}.
    `detail` is the name of the row or kind in English, `meaning` is in the text's language.
    """

    kind: str
    label: str
    text: str
    snippet: str
    detail: str
    meaning: str
    start: int
    end: int


def complete(text: str, line: int, column: int) -> list[Proposal]:
    """What may be written at a place of a text.

    Args:
        line, column: from 1; column 1 is in front of the first character. Beyond the text nothing is proposed.
    """
    if line < 1 or column < 1:
        return []
    if len(text) > MAX_TEXT_BYTES:
        return []
    lines = text.split("\n")
    written = lines[line - 1][: column - 1] if 0 < line <= len(lines) else ""
    if written.lstrip().startswith("#"):
        return []
    return list(_Completion(survey(text, without=line), line, written).proposals())


class _Completion:
    """What may follow `written`, the part of a line in front of the cursor."""

    def __init__(self, found: Survey, line: int, written: str) -> None:
        self._survey = found
        self._line = line
        self._language = found.language
        self._before = found.before(line)
        self._in_example = _in_example(found, line)
        # An opening quotation mark begins a name that is still being written.
        opened = _open_quote(written)
        self._in_name = opened is not None
        self._fragment_at = len(written) if opened is None else opened
        self._end = len(written) + 1
        self._tokens = tokens_of(written[: self._fragment_at])
        self._word: Token | None = None
        last = self._tokens[-1] if self._tokens else None
        touching = last is not None and last.column + len(last.spelled) == self._end
        if last is not None and touching and last.sort in (WORD, NUMBER) and not self._in_name:
            self._word = last
        self._partial = folded(written[opened + 1 :]) if opened is not None else ""

    def proposals(self) -> Iterator[Proposal]:
        tokens = self._tokens
        keyword, used = keyword_of(tokens, self._language) if tokens else (None, 0)
        if keyword is None or (self._word is not None and len(tokens) == used):
            yield from self._keywords()
            return
        phase = keyword
        if keyword == Phase.AND:
            if self._before is None or self._before.phase is None:
                return
            phase = self._before.phase
        if phase in (Phase.SCENARIO, Phase.END_IF):
            return
        rest = tokens[used:]
        seen: set[tuple[str, str]] = set()
        for row in sentences_of(EXAMPLE if self._in_example else BINDING):
            if row.phase != phase or not self._fits(row):
                continue
            for pattern in row.words[self._language.code]:
                for proposal in self._of_pattern(row, pattern.split(), rest):
                    # One wording of a row is enough, and a name is one for all rows that take it.
                    key = (proposal.kind, row.name if proposal.kind == SENTENCE else proposal.text)
                    if key not in seen:
                        seen.add(key)
                        yield proposal

    def _fits(self, row: Sentence) -> bool:
        """Whether a sentence is not said already where it can stand once, and means something for the event above."""
        if self._in_example:
            return True
        others = [line for line in self._survey.lines if line.table == BINDING and line.number != self._line]
        if row.phase in (Phase.RULE, Phase.GIVEN):
            return bool(row.once) or all(line.phrase.sentence is not row for line in others)
        events = [line for line in others if line.phase == Phase.WHEN and line.number < self._line]
        event = events[-1].phrase.sentence if events else None
        return not row.under or event is None or event.id in row.under

    # --- Keywords --------------------------------------------------------------------------------

    def _keywords(self) -> Iterator[Proposal]:
        typed = [token.text for token in self._tokens]
        start = self._tokens[0].column if self._tokens else self._end
        last = self._before.phase if self._before and self._same_part(self._before) else None
        phases = (_IN_EXAMPLE if self._in_example else _AFTER).get(last, ())
        code = self._language.code
        words = [self._language.keywords[phase][0] for phase in phases]
        if last in (Phase.THEN, Phase.END_IF):
            words.append(f"{KEYWORDS[code]}: {TITLES[code]}")
        for word in words:
            if _begins(folded(word).split(), typed):
                yield Proposal(KEYWORD, word, word, word, "", "", start, self._end)

    def _same_part(self, line: Spoken) -> bool:
        return (line.table == EXAMPLE) == self._in_example

    # --- Sentences -------------------------------------------------------------------------------

    def _of_pattern(self, row: Sentence, parts: list[str], tokens: list[Token]) -> Iterator[Proposal]:
        at = 0
        for position, part in enumerate(parts):
            place = _PLACE.fullmatch(part)
            slot = row.slots[row.index(place[1])] if place else None
            if at == len(tokens):
                yield from self._rest(row, parts[position:], slot)
                return
            token = tokens[at]
            if slot is None:
                if token is self._word and at == len(tokens) - 1 and folded(part).startswith(token.text):
                    yield from self._rest(row, parts[position:], None)
                    return
                if token.text != folded(part):
                    return
                at += 1
                continue
            taken = _taken(slot, tokens, at, parts[position + 1 : position + 2])
            if taken == 0 or (token is self._word and token.sort == NUMBER and slot.kind.form != QUANTITY):
                return
            unfinished = taken == 1 or tokens[-1] is self._word
            if slot.kind.form == QUANTITY and at + taken == len(tokens) and unfinished:
                yield from self._units(slot.kind, token, tokens[at + 1 :])
                return
            at += taken

    def _rest(self, row: Sentence, parts: list[str], slot: Slot | None) -> Iterator[Proposal]:
        """A sentence from `parts` on; at a slot also what may stand in it."""
        start = self._fragment_at + 1 if self._in_name else self._word.column if self._word else self._end
        if self._in_name:
            if slot is not None:
                yield from self._values(slot, start)
            return
        plain = " ".join(self._filled(row, part) for part in parts)
        snippet, number = [], 0
        for part in parts:
            number += bool(_PLACE.fullmatch(part))
            filled = self._filled(row, part)
            snippet.append(f"${{{number}:{_escaped(filled)}}}" if _PLACE.fullmatch(part) else _escaped(filled))
        yield Proposal(SENTENCE, plain, plain, " ".join(snippet), row.name, self._meaning(row), start, self._end)
        if slot is not None:
            yield from self._values(slot, start)

    def _meaning(self, row: Sentence) -> str:
        return (example_meaning if self._in_example else meaning)(row, self._language.code)

    def _filled(self, row: Sentence, part: str) -> str:
        place = _PLACE.fullmatch(part)
        if not place:
            return part
        index = row.index(place[1])
        slot = row.slots[index]
        known = self._survey.names.get(names_key(slot), ())
        value = self._language.code if slot.kind is LANGUAGE else row.example[index]
        if slot.kind.form == NAME and not slot.kind.closed and known:
            value = known[0]
        return write_value(slot.kind, value, self._language, self._survey.currency or "EUR")

    # --- Values ----------------------------------------------------------------------------------

    def _values(self, slot: Slot, start: int) -> Iterator[Proposal]:
        kind = slot.kind
        if kind.form != NAME:
            if self._word is None and not self._in_name and kind.form != SHARES:
                value = write_value(kind, kind.example, self._language, self._survey.currency or "EUR")
                yield Proposal(VALUE, value, value, _escaped(value), kind.name, self._what(kind), start, self._end)
            return
        for name in self._known_names(slot):
            if self._in_name and not folded(name).startswith(self._partial):
                continue
            quoted = "'" + name.replace("'", "''") + "'"
            yield Proposal(NAME_USED, quoted, quoted, _escaped(quoted), kind.name, self._what(kind), start, self._end)

    def _what(self, kind: Kind) -> str:
        return kind_words(kind, self._language.code)[1]

    def _known_names(self, slot: Slot) -> list[str]:
        kind, code = slot.kind, self._language.code
        if kind is LANGUAGE:
            return list(LANGUAGES)
        found = list(self._survey.names.get(names_key(slot), ()))
        if kind is CURRENCY and not found:
            found = [str(kind.example)]
        if kind.vocabulary is None:
            return found
        spoken = spoken_words(kind.vocabulary, code)
        known = [word.canonical for word in KNOWN_WORDS[kind.vocabulary]]
        return [spoken.get(name, name) for name in dict.fromkeys((*found, *known))]

    def _units(self, kind: Kind, number: Token, after: list[Token]) -> Iterator[Proposal]:
        """The units of a number that has none yet, or an unfinished one."""
        partial = after[0] if after else None
        start = partial.column if partial else number.column + len(number.spelled)
        space = "" if partial or start < self._end else " "
        currency = self._survey.currency or "EUR"
        count = 1 if number.text == "1" else 2
        for unit in kind.units:
            symbol = unit.symbol.replace("CURRENCY", currency) if kind.name in PRICED else ""
            word = symbol or spoken_unit(unit, count, self._language)
            if partial is None or folded(word).startswith(partial.text):
                text = space + word
                at = start if partial else self._end
                yield Proposal(UNIT, word, text, _escaped(text), kind.name, self._what(kind), at, self._end)


def _taken(slot: Slot, tokens: list[Token], at: int, following: list[str]) -> int:
    """How many tokens a slot has from `at` on; 0 if the token cannot begin it."""
    token, form = tokens[at], slot.kind.form
    if form == NAME:
        return 1 if token.sort == NAME else 0
    if form == SHARES:
        return len(tokens) - at if token.sort == NUMBER else 0
    if token.sort not in (NUMBER, CLOCK_TIME, DATE):
        return 0
    if form != QUANTITY or at + 1 >= len(tokens):
        return 1
    unit = tokens[at + 1]
    goes_on = bool(following) and folded(following[0]) == unit.text
    return 2 if unit.sort in (WORD, PUNCTUATION) and not goes_on else 1


def _in_example(found: Survey, number: int) -> bool:
    return bool(found.first_example) and number > found.first_example


def _open_quote(written: str) -> int | None:
    """Where the name begins that is still being written, or None."""
    last = None
    for token in tokens_of(written):
        if token.sort == "unclosed" and token.spelled == "'":
            last = token.column - 1
            break
    return last


def _begins(words: list[str], typed: list[str]) -> bool:
    """Whether a keyword of `words` begins with what is typed, its last word perhaps unfinished."""
    if not typed:
        return True
    whole, part = typed[:-1], typed[-1]
    return words[: len(whole)] == whole and len(words) > len(whole) and words[len(whole)].startswith(part)


def _escaped(text: str) -> str:
    """Text as it stands in a snippet."""
    return text.replace("\\", "\\\\").replace("$", "\\$").replace("}", "\\}")
