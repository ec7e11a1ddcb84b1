"""Writer: from the tree back to text, in any language of the catalogue.

Reading what is written gives the same tree. `write` lays a bare tree out in the
order of the tree; `fmt` and `translate` keep the lines and comments of a document.
"""

from __future__ import annotations

from zencode.binding import Binding, Block, Statement
from zencode.document import MAX_LINE, MAX_TEXT_BYTES, Document, Example, Line
from zencode.examples import EXAMPLES_BY_ID, KEYWORDS
from zencode.grammar import spell
from zencode.languages import LANGUAGES, Language, Phase
from zencode.sentences import BY_ID, CURRENCY_IS, LANGUAGE_RULE, Sentence
from zencode.values import write_value


class WriteError(ValueError):
    """A binding that cannot be written in a language, with the remedy."""


def write(binding: Binding, language: str = "en") -> str:
    """The canonical text of a tree.

    Raises:
        WriteError: a language the catalogue lacks, or a line longer than the reader takes.
    """
    return _render(Document(binding, language, _layout(binding)), _language(language))


def fmt(document: Document) -> str:
    """A document in canonical spelling: its order, its comments, single blank lines."""
    return translate(document, document.language)


def translate(document: Document, language: str) -> str:
    """A document in another language; comments, names and title stay as they are.

    Raises:
        WriteError: as `write`.
    """
    return _render(document, _language(language))


def write_statement(statement: Statement, language: str, currency: str) -> str:
    """One sentence without its keyword."""
    return _spelled(BY_ID[statement.id], statement, _language(language), currency)


def write_expectation(statement: Statement, language: str, currency: str) -> str:
    """One sentence of an example without its keyword."""
    return _spelled(EXAMPLES_BY_ID[statement.id], statement, _language(language), currency)


def _spelled(row: Sentence, statement: Statement, language: Language, currency: str) -> str:
    slots = zip(row.slots, statement.slots, strict=True)
    return spell(row, [write_value(slot.kind, value, language, currency) for slot, value in slots], language)


def _language(code: str) -> Language:
    language = LANGUAGES.get(code)
    if language is None:
        raise WriteError(f"no language «{code}»; the catalogue has {', '.join(LANGUAGES)}")
    return language


def _layout(binding: Binding) -> tuple[Line, ...]:
    lines = [Line(Phase.RULE, Statement(LANGUAGE_RULE, ("en",)))]
    lines += [Line(Phase.RULE, rule) for rule in binding.rules]
    lines.append(Line(Phase.SCENARIO, None))
    lines += [Line(Phase.GIVEN, given) for given in binding.givens]
    for block in binding.blocks:
        lines += _block(block)
    return tuple(lines)


def _block(block: Block) -> list[Line]:
    lines = [Line(Phase.WHEN, block.event)]
    lines += [Line(Phase.IF, condition) for condition in block.conditions]
    lines += [Line(Phase.THEN, action) for action in block.actions]
    if block.conditions:
        lines.append(Line(Phase.END_IF, None))
    return lines


def _render(document: Document, language: Language) -> str:
    binding = document.binding
    given = binding.given(CURRENCY_IS)
    currency = str(given.slots[0]) if given else ""
    written: list[str] = []
    last = None
    for line in document.lines:
        written += line.comments
        written.append(_sentence(binding, line, last, language, currency))
        last = line.phase
    for example in document.examples:
        written += _example(example, language, currency)
    written += document.tail
    while written and not written[-1]:
        written.pop()
    for sentence in written:
        _check_length(sentence, language)
    text = "\n".join(written) + "\n"
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise WriteError(f"the text has more than {MAX_TEXT_BYTES} bytes in {language.name}: shorten its names")
    return text


def _check_length(line: str, language: Language) -> None:
    if len(line) > MAX_LINE:
        raise WriteError(
            f"«{line[:40]}...» has {len(line)} characters in {language.name}, a line has at most"
            f" {MAX_LINE}: shorten its names"
        )


def _example(example: Example, language: Language, currency: str) -> list[str]:
    written = [*example.comments, f"{KEYWORDS[language.code]}: {example.title}"]
    last = None
    for line in example.lines:
        assert line.statement is not None, "every line of an example is a sentence"
        keyword = language.keywords[Phase.AND if line.phase == last else line.phase][0]
        said = write_expectation(line.statement, language.code, currency)
        written += [*line.comments, f"{keyword} {said}"]
        last = line.phase
    return written


def _sentence(binding: Binding, line: Line, last: Phase | None, language: Language, currency: str) -> str:
    # Every rule says that it is one; the other phases are read on as one sentence.
    again = line.phase == last and line.phase not in (Phase.RULE, Phase.WHEN)
    keyword = language.keywords[Phase.AND if again else line.phase][0]
    if line.phase == Phase.SCENARIO:
        quoted = binding.scenario.replace("'", "''")
        return f"{keyword} '{quoted}': {binding.title}"
    if line.statement is None:
        return keyword
    statement = line.statement
    if statement.id == LANGUAGE_RULE:
        statement = Statement(LANGUAGE_RULE, (language.code,))
    return f"{keyword} {write_statement(statement, language.code, currency)}"
