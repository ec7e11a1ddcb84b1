"""Example reader: the block of examples at the end of a text, line by line.

Which lines are its own the reader of the whole text decides: all from the first
`Example:` on.
"""

from __future__ import annotations

import re

from zencode import grammar
from zencode.binding import MAX_TITLE, Statement, is_priced
from zencode.document import Example, Line
from zencode.examples import EXAMPLES_BY_ID, KEYWORDS, MAX_EXAMPLE_LINES, MAX_EXAMPLES, TITLES
from zencode.grammar import EXAMPLE, Token, folded
from zencode.kinds import NAME
from zencode.languages import Language, Phase
from zencode.mistakes import Notebook, StopReadingError
from zencode.phrases import NamedCurrency, read_phrase

_TITLE = re.compile(r"\s*:\s*(.*)")
_OWN = (Phase.GIVEN, Phase.THEN)


class ExampleReader:
    """The examples of a text so far.

    `currencies` are those that amounts name, each with its line; `priced_line` is
    the first line with an amount or price, 0 if there is none.
    """

    def __init__(self, notes: Notebook) -> None:
        self.first_line = 0
        self.currencies: list[tuple[int, NamedCurrency]] = []
        self.priced_line = 0
        self._notes = notes
        self._examples: list[Example] = []
        self._title = ""
        self._number = 0
        self._comments: tuple[str, ...] = ()
        self._lines: list[Line] = []
        self._seen: list[Phase] = []
        self._named: set[str] = set()

    @staticmethod
    def begins(tokens: list[Token], language: Language) -> bool:
        """Whether a line opens an example."""
        return tokens[0].text == folded(KEYWORDS[language.code])

    def begin(self, number: int, line: str, keyword: Token, comments: tuple[str, ...], language: Language) -> None:
        """A line that opens an example, and ends the one before it.

        Raises:
            StopReadingError: the text has too many examples.
        """
        self.end(language)
        self.first_line = self.first_line or number
        if len(self._examples) >= MAX_EXAMPLES:
            self._notes.wrong(number, 1, "", f"more than {MAX_EXAMPLES} examples; a text has no more")
            raise StopReadingError
        found = _TITLE.fullmatch(line, keyword.column - 1 + len(keyword.spelled))
        title = " ".join(found[1].split()) if found else ""
        if not 0 < len(title) <= MAX_TITLE:
            expected = f"an example has a colon and a title of 1 to {MAX_TITLE} characters"
            hint = f"write {keyword.spelled}: {TITLES[language.code]}"
            self._notes.wrong(number, keyword.column, line.strip(" "), expected, hint)
        self._title, self._number, self._comments = title, number, comments
        self._lines, self._seen, self._named = [], [], set()

    def line(
        self,
        number: int,
        tokens: list[Token],
        keyword: tuple[Phase | None, int],
        comments: tuple[str, ...],
        language: Language,
    ) -> None:
        """A sentence of the open example.

        Raises:
            StopReadingError: the example has too many lines.
        """
        phase = self._phase(number, tokens, keyword[0], language)
        if phase is None:
            return
        if len(self._lines) >= MAX_EXAMPLE_LINES:
            self._notes.wrong(number, 1, "", f"more than {MAX_EXAMPLE_LINES} lines; an example has no more")
            raise StopReadingError
        self._seen.append(phase)
        rest = tokens[keyword[1] :]
        phrase = read_phrase(rest, phase, tokens[0], language, EXAMPLE)
        if phrase.sentence is None and grammar.match(rest, phase, language) is not None:
            self._astray(number, tokens[0])
            return
        for fault in phrase.faults:
            self._notes.wrong(number, fault.column, fault.found, fault.expected, fault.suggestion)
        self.currencies += [(number, currency) for currency in phrase.currencies]
        if phrase.sentence is not None and is_priced(phrase.sentence):
            self.priced_line = self.priced_line or number
        if phase == Phase.GIVEN:
            # Of a line that could not be read too, so that one mistake is not told twice.
            self._named |= {token.text for token in tokens if token.sort == NAME}
        if phrase.statement is not None:
            if phase == Phase.THEN:
                self._check_names(number, phrase.statement)
            self._lines.append(Line(phase, phrase.statement, comments, number))

    def end(self, language: Language) -> None:
        """The open example ends."""
        if not self._number:
            return
        for phase in _OWN:
            if phase not in self._seen:
                expected = f"this example has no {language.keywords[phase][0]}"
                what = "say what is metered or ordered" if phase == Phase.GIVEN else "say what it comes to"
                self._notes.wrong(self._number, 1, self._title, expected, what)
        self._examples.append(Example(self._title, tuple(self._lines), self._comments, self._number))
        self._number = 0

    def examples(self) -> tuple[Example, ...]:
        """All of them, once the last has ended."""
        return tuple(self._examples)

    def _phase(self, number: int, tokens: list[Token], keyword: Phase | None, language: Language) -> Phase | None:
        first, words = tokens[0], language.keywords
        if keyword is None:
            near = grammar.nearest(tokens, None, language, EXAMPLE)
            hint = f"did you mean «{words[near.phase][0]} {near.text}»?" if near else ""
            known = ", ".join((*(words[phase][0] for phase in (*_OWN, Phase.AND)), KEYWORDS[language.code]))
            self._notes.wrong(number, first.column, first.spelled, f"a line of an example begins with {known}", hint)
            return None
        if keyword == Phase.AND and self._seen:
            return self._seen[-1]
        if keyword == Phase.AND:
            expected = f"there is no sentence above that {words[Phase.AND][0]} could continue"
            self._notes.wrong(number, first.column, first.spelled, expected)
            return None
        if keyword not in _OWN:
            self._astray(number, first)
            return None
        if keyword == Phase.GIVEN and Phase.THEN in self._seen:
            expected = f"{words[Phase.GIVEN][0]} stands above {words[Phase.THEN][0]} in an example"
            hint = f"move this line up, or begin another example with {KEYWORDS[language.code]}:"
            self._notes.wrong(number, first.column, first.spelled, expected, hint)
            return None
        return keyword

    def _astray(self, number: int, first: Token) -> None:
        """A sentence of the binding below an example."""
        expected = f"examples stand at the end; the first begins on line {self.first_line}"
        self._notes.wrong(number, first.column, first.spelled, expected, f"move this line above line {self.first_line}")

    def _check_names(self, number: int, statement: Statement) -> None:
        """Whoever is expected to have something must have been given, if anything was."""
        row = EXAMPLES_BY_ID[statement.id]
        for slot, member in zip(row.slots, statement.slots, strict=True):
            if slot.name == "member" and self._named and member not in self._named:
                known = ", ".join(f"'{name}'" for name in sorted(self._named))
                expected = "nothing is given of this member in the example"
                self._notes.wrong(number, 1, f"'{member}'", expected, f"name one of {known}")
