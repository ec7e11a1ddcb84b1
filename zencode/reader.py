"""Reader: from a text in any catalogue language to the typed tree.

All mistakes of a text are told at once. The reader raises `BindingErrors` and
nothing else, on whatever text or bytes it is given, and its time grows with the
length of the text alone.
"""

from __future__ import annotations

import re

from zencode import grammar
from zencode.binding import MAX_TITLE, Binding, Statement, is_priced, sorted_statements
from zencode.document import Document, Line
from zencode.example_reader import ExampleReader
from zencode.grammar import Match, Token, folded, keyword_of, spelled
from zencode.kinds import TEXT
from zencode.languages import ENGLISH, LANGUAGES, Language, Phase
from zencode.mistakes import BindingErrors, Notebook, StopReadingError
from zencode.outline import Outline
from zencode.phrases import NamedCurrency, read_phrase
from zencode.sentences import BY_ID, CURRENCY_IS, LANGUAGE_RULE, VERSION
from zencode.source import clean_lines, is_comment
from zencode.values import WrongValueError, read_name
from zencode.writer import write_statement

_SCENARIO = re.compile(r"\s*('(?:[^']|'')*+')\s*:\s*(.*)")
_EXAMPLE_SCENARIO = "'market': Palm Bay microgrid"


def read(text: str | bytes) -> Binding:
    """The binding that a text says.

    Raises:
        BindingErrors: all mistakes of the text.
    """
    return read_document(text).binding


def read_document(text: str | bytes) -> Document:
    """The binding that a text says, with its language, layout and comments.

    Raises:
        BindingErrors: all mistakes of the text.
    """
    return _Reading().document(text)


class _Reading:
    """The state of reading one text, line by line."""

    def __init__(self) -> None:
        self.notes = Notebook()
        self.outline = Outline(self.notes)
        self.examples = ExampleReader(self.notes)
        self.language = ENGLISH
        self.language_said = False
        self.scenario: tuple[str, str] | None = None
        self.lines: list[Line] = []
        self.comments: list[str] = []
        self.currencies: list[tuple[int, NamedCurrency]] = []
        self.priced_line = 0

    def document(self, text: str | bytes) -> Document:
        try:
            self._read(text)
        except StopReadingError:
            raise BindingErrors(self.notes.sorted()) from None
        if self.notes.mistakes or self.scenario is None:
            raise BindingErrors(self.notes.sorted())
        rules, givens = (sorted_statements(part) for part in (self.outline.rules, self.outline.givens))
        binding = Binding(*self.scenario, rules, givens, tuple(self.outline.blocks))
        examples = self.examples.examples()
        return Document(binding, self.language.code, tuple(self.lines), tuple(self.comments), examples)

    def _read(self, text: str | bytes) -> None:
        number = 1
        for number, line in clean_lines(text, self.notes):
            if not line.strip(" "):
                self._blank()
            elif is_comment(line):
                self.comments.append(line.strip(" "))
            else:
                self._sentence(number, line)
        self.outline.end(number, self.language)
        self.examples.end(self.language)
        self._check_whole(number)

    def _blank(self) -> None:
        # One blank line is layout, more are not.
        if self.comments[-1:] != [""] and (self.comments or self.lines):
            self.comments.append("")

    def _sentence(self, number: int, line: str) -> None:
        tokens = grammar.tokens_of(line.rstrip(" ").removesuffix("."))
        if not tokens:
            self.notes.wrong(number, 1, line.strip(" "), "a line without words", "delete it")
            return
        if not self.language_said and self._says_language(number, tokens):
            return
        keyword, used = keyword_of(tokens, self.language)
        first = tokens[0]
        if keyword is None and self.examples.begins(tokens, self.language):
            self.examples.begin(number, line, first, self._taken_comments(), self.language)
        elif self.examples.first_line:
            self.examples.line(number, tokens, (keyword, used), self._taken_comments(), self.language)
        elif keyword is None and _means_end_if(tokens, self.language):
            end_if = self.language.keywords[Phase.END_IF][0]
            self.notes.wrong(number, first.column, spelled(tokens), "no keyword is spelled so", f"write {end_if}")
            self.outline.end_if(number, first.spelled, first.column, self.language)
        elif keyword is None:
            self._no_keyword(number, tokens)
            self.outline.skip(number)
        elif keyword == Phase.SCENARIO:
            self._scenario(number, line, tokens[used - 1])
        elif keyword == Phase.END_IF:
            self._end_if(number, tokens, used)
        else:
            phase = self.outline.begin(number, first.spelled, first.column, keyword, self.language)
            if phase is not None:
                statement = self._statement(number, phase, tokens[used:], first)
                self.outline.add(number, phase, statement, self.language)
                self._append(number, phase, statement)

    def _statement(self, number: int, phase: Phase, tokens: list[Token], keyword: Token) -> Statement | None:
        phrase = read_phrase(tokens, phase, keyword, self.language)
        for fault in phrase.faults:
            self.notes.wrong(number, fault.column, fault.found, fault.expected, fault.suggestion)
        self.currencies += [(number, currency) for currency in phrase.currencies]
        row = phrase.sentence or phrase.guess
        if phrase.sentence is not None and is_priced(phrase.sentence):
            self.priced_line = self.priced_line or number
        if row is not None and phrase.statement is None:
            # So that a currency with a typing error is not called missing as well.
            self.outline.facts.setdefault((row.id,), number)
        return phrase.statement

    # --- The language ----------------------------------------------------------------------------

    def _says_language(self, number: int, tokens: list[Token]) -> bool:
        """Settle the language with the first sentence; False when that sentence says something else."""
        if not any(keyword_of(tokens, language)[0] for language in LANGUAGES.values()):
            return False  # told as a line without keyword; the next may say it
        self.language_said = True
        for language in LANGUAGES.values():
            keyword, used = keyword_of(tokens, language)
            found = grammar.match(tokens[used:], Phase.RULE, language) if keyword == Phase.RULE else None
            if found and found.sentence.id == LANGUAGE_RULE:
                self._set_language(number, found, language)
                return True
        self.language = next(lang for lang in LANGUAGES.values() if keyword_of(tokens, lang)[0])
        # A line that could not be read at all may have said it, and this one may say it with a typing error.
        keyword, used = keyword_of(tokens, self.language)
        near = grammar.nearest(tokens[used:], Phase.RULE, self.language) if keyword == Phase.RULE else None
        if not self.notes.mistakes and (near is None or near.sentence.id != LANGUAGE_RULE):
            self._language_missing(number, spelled(tokens))
        return False

    def _set_language(self, number: int, found: Match, language: Language) -> None:
        piece = found.pieces[0]
        token = piece.tokens[0]
        expected = hint = ""
        if token.text not in LANGUAGES or not piece.fits:
            expected = "no language of the catalogue" if piece.fits else "names stand between ' and '"
            hint = f"write {_rules_of_all()}"
        elif token.text != language.code:
            expected = f"this sentence is in {language.name}"
            hint = f"write {_rule_of(LANGUAGES[token.text])} and every sentence in that language"
        if expected:
            self.notes.wrong(number, token.column, token.spelled, expected, hint)
        self.language = language
        self.outline.last = Phase.RULE
        self._append(number, Phase.RULE, Statement(LANGUAGE_RULE, (language.code,)))

    def _language_missing(self, number: int, found: str) -> None:
        self.notes.wrong(number, 1, found, "the first sentence says the language", f"write {_rules_of_all()}")

    # --- Lines that are no statement -------------------------------------------------------------

    def _no_keyword(self, number: int, tokens: list[Token]) -> None:
        first = tokens[0]
        words = ", ".join(spellings[0] for spellings in self.language.keywords.values())
        other = next((lang for lang in LANGUAGES.values() if keyword_of(tokens, lang)[0]), None)
        if other is not None:
            expected = f"this line is in {other.name}, the binding is in {self.language.name}"
            self.notes.wrong(number, first.column, first.spelled, expected, self._said_here(tokens, other, words))
            return
        near = grammar.nearest(tokens, None, self.language)
        hint = f"did you mean «{self.language.keywords[near.phase][0]} {near.text}»?" if near else ""
        if not self.language_said:
            hint = f"begin with {_rules_of_all()}"
        self.notes.wrong(number, first.column, first.spelled, f"a line begins with {words}", hint)

    def _said_here(self, tokens: list[Token], other: Language, words: str) -> str:
        """A sentence of another language in the language of this text, if it can be read."""
        phase, used = keyword_of(tokens, other)
        if phase in (Phase.SCENARIO, Phase.END_IF):
            return f"write {self.language.keywords[phase][0]}"
        last = self.outline.last if phase == Phase.AND else phase
        phrase = (
            read_phrase(tokens[used:], last, tokens[0], other)
            if last not in (None, Phase.SCENARIO, Phase.END_IF)
            else None
        )
        if phase is None or phrase is None or phrase.statement is None or phrase.statement.id == LANGUAGE_RULE:
            return f"begin with {words}"
        currency = phrase.currencies[0].code if phrase.currencies else ""
        said = write_statement(phrase.statement, self.language.code, currency)
        return f"write «{self.language.keywords[phase][0]} {said}»"

    def _scenario(self, number: int, line: str, keyword: Token) -> None:
        self.outline.scenario(number, keyword.spelled, keyword.column)
        found = _SCENARIO.fullmatch(line, keyword.column - 1 + len(keyword.spelled))
        if found is None:
            expected = "a scenario has an id between ' and ', a colon and a title"
            hint = f"write {keyword.spelled} {_EXAMPLE_SCENARIO}"
            self.notes.wrong(number, keyword.column, line.strip(" "), expected, hint)
            self.scenario = self.scenario or ("", "")
            return
        id, title = " ".join(found[1][1:-1].replace("''", "'").split()), " ".join(found[2].split())
        try:
            read_name(TEXT, id)
        except WrongValueError as wrong:
            self.notes.wrong(number, found.start(1) + 1, found[1], wrong.expected, wrong.suggestion)
        if len(title) > MAX_TITLE:
            expected = f"{len(title)} characters, a title has at most {MAX_TITLE}"
            self.notes.wrong(number, found.start(2) + 1, title, expected, "shorten it")
        elif not title:
            hint = f"write {keyword.spelled} {_EXAMPLE_SCENARIO}"
            self.notes.wrong(number, found.start(2) + 1, "", "the title is missing", hint)
        self.scenario = (id, title)
        self._append(number, Phase.SCENARIO, None)

    def _end_if(self, number: int, tokens: list[Token], used: int) -> None:
        if len(tokens) > used:
            rest = tokens[used:]
            self.notes.wrong(number, rest[0].column, spelled(rest), f"nothing follows {tokens[0].spelled}")
        self.outline.end_if(number, tokens[0].spelled, tokens[0].column, self.language)
        self._append(number, Phase.END_IF, None)

    def _append(self, number: int, phase: Phase, statement: Statement | None) -> None:
        self.lines.append(Line(phase, statement, self._taken_comments(), number))

    def _taken_comments(self) -> tuple[str, ...]:
        """The comments above the line that is read now; they belong to it."""
        taken, self.comments = tuple(self.comments), []
        return taken

    # --- The text as a whole ---------------------------------------------------------------------

    def _check_whole(self, last_line: int) -> None:
        if not self.language_said:
            self._language_missing(1, "")
        if (VERSION,) not in self.outline.facts:
            self._missing(last_line, Phase.RULE, VERSION)
        if self.scenario is None:
            hint = f"add «{self.language.keywords[Phase.SCENARIO][0]} {_EXAMPLE_SCENARIO}» below the rules"
            self.notes.wrong(last_line, 1, "", "the binding has no scenario", hint)
        given = next((statement for statement in self.outline.givens if statement.id == CURRENCY_IS), None)
        self.priced_line = self.priced_line or self.examples.priced_line
        if given is None:
            if self.priced_line and (CURRENCY_IS,) not in self.outline.facts:
                self._missing(self.priced_line, Phase.GIVEN, CURRENCY_IS)
            return
        for number, named in (*self.currencies, *self.examples.currencies):
            if named.code != given.slots[0]:
                expected = f"the currency of this binding is {given.slots[0]}"
                hint = f"write it in {given.slots[0]}; a binding has one currency"
                self.notes.wrong(number, named.column, named.found, expected, hint)

    def _missing(self, number: int, phase: Phase, id: int) -> None:
        row = BY_ID[id]
        sentence = grammar.spell(row, grammar.examples(row, self.language), self.language)
        hint = f"add «{self.language.keywords[phase][0]} {sentence}»"
        self.notes.wrong(number, 1, "", f"the binding does not say its {row.name}", hint)


def _means_end_if(tokens: list[Token], language: Language) -> bool:
    """Whether a line is EndIf in two words, or with a letter too few or too many."""
    said = "".join(token.text for token in tokens)
    wanted = folded(language.keywords[Phase.END_IF][0])
    if abs(len(said) - len(wanted)) > 1 or len(tokens) > 2:
        return False
    long, short = (said, wanted) if len(said) >= len(wanted) else (wanted, said)
    return long == short or any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


def _rules_of_all() -> str:
    return " or ".join(_rule_of(language) for language in LANGUAGES.values())


def _rule_of(language: Language) -> str:
    row = BY_ID[LANGUAGE_RULE]
    sentence = grammar.spell(row, grammar.examples(row, language), language)
    return f"«{language.keywords[Phase.RULE][0]} {sentence}»"
