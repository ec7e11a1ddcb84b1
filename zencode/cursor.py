"""Cursor: a place in a text that may be half written - its language, its phase, and the words around it.

What stands above the line is looked at no closer than needed, so that an editor
can help while most of a text is still wrong.
"""

from __future__ import annotations

from msgspec import Struct

from zencode import grammar
from zencode.document import MAX_LINE, MAX_TEXT_BYTES
from zencode.examples import KEYWORDS
from zencode.grammar import BINDING, EXAMPLE, Token, folded, keyword_of, tokens_of
from zencode.kinds import NAME, Value
from zencode.languages import ENGLISH, LANGUAGES, Language, Phase
from zencode.phrases import Phrase, read_phrase
from zencode.sentences import CURRENCY_IS, LANGUAGE_RULE, Slot
from zencode.source import is_comment

#: Where a sentence is read on with «And».
_CONTINUED = (Phase.RULE, Phase.GIVEN, Phase.IF, Phase.THEN)


class Spoken(Struct, frozen=True):
    """A line with a keyword: the phase it is in, and its sentence as far as it can be read.

    `phase` is None where «And» has nothing to go on with.
    """

    number: int
    phase: Phase | None
    table: str
    tokens: tuple[Token, ...]
    keyword_words: int
    phrase: Phrase


class Survey(Struct, frozen=True):
    """A text at a glance: its language, its lines with a keyword, and the names in them.

    `names` has the names by what they name: the kind of name where a kind has
    known words or is a role, else the slot («battery», «member»), in order.
    `first_example` is the line of the first `Example:`, 0 without one.
    """

    language: Language
    lines: tuple[Spoken, ...]
    names: dict[str, tuple[str, ...]]
    currency: str
    first_example: int = 0

    def before(self, number: int) -> Spoken | None:
        """The last line with a phase above line `number`."""
        return next((line for line in reversed(self.lines) if line.number < number and line.phase is not None), None)

    def at(self, number: int) -> Spoken | None:
        """The line itself, if it has a keyword."""
        return next((line for line in self.lines if line.number == number), None)


def survey(text: str, without: int = 0) -> Survey:
    """Look over a text.

    Args:
        without: a line that is being written: its words give no names.
    """
    lines = text[:MAX_TEXT_BYTES].removeprefix("\ufeff").split("\n")
    found: list[Spoken] = []
    names: dict[str, list[str]] = {}
    language, said, table, currency, first_example = ENGLISH, False, BINDING, "", 0
    last: Phase | None = None
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r \t").removesuffix(".")
        if len(raw) > MAX_LINE or not line.strip() or is_comment(line):
            continue
        tokens = tokens_of(line)
        if not tokens:
            continue
        if not said:
            language, said = language_of(tokens), True
        if tokens[0].text == folded(KEYWORDS[language.code]):
            table, last, first_example = EXAMPLE, None, first_example or number
            continue
        keyword, used = keyword_of(tokens, language)
        if keyword is None:
            continue
        phase = keyword if keyword != Phase.AND else (last if last in _CONTINUED else None)
        last = phase
        rest = tokens[used:]
        readable = phase is not None and phase not in (Phase.SCENARIO, Phase.END_IF) and rest
        phrase = read_phrase(rest, phase, tokens[0], language, table) if readable and phase is not None else Phrase()
        found.append(Spoken(number, phase, table, tuple(tokens), used, phrase))
        if phrase.statement is not None and phrase.sentence is not None and number != without:
            if phrase.sentence.id == CURRENCY_IS and table == BINDING:
                currency = str(phrase.statement.slots[0])
            for slot, value in zip(phrase.sentence.slots, phrase.statement.slots, strict=True):
                _remember(names, slot, value)
    unique = {key: tuple(dict.fromkeys(values)) for key, values in names.items()}
    return Survey(language, tuple(found), unique, currency, first_example)


def names_key(slot: Slot) -> str:
    """Under what the names of a slot are kept in a survey."""
    named_by_kind = slot.kind.vocabulary is not None or slot.kind.name == slot.name
    return slot.kind.name if named_by_kind else slot.name


def language_of(tokens: list[Token]) -> Language:
    """The language that a text's first sentence says, or else is written in; English if it is none."""
    for language in LANGUAGES.values():
        keyword, used = keyword_of(tokens, language)
        found = grammar.match(tokens[used:], Phase.RULE, language) if keyword == Phase.RULE else None
        if found and found.sentence.id == LANGUAGE_RULE:
            return language
    return next((language for language in LANGUAGES.values() if keyword_of(tokens, language)[0]), ENGLISH)


def _remember(names: dict[str, list[str]], slot: Slot, value: Value) -> None:
    if slot.kind.form == NAME:
        names.setdefault(names_key(slot), []).append(str(value))
