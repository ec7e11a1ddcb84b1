"""Commands: what a command line does with a binding's text, as plain functions.

Texts in, texts and findings out; files, exit codes and colours are the caller's.
"""

from __future__ import annotations

from msgspec import Struct

from zencode import writer
from zencode.binding import binding_hash
from zencode.difference import Difference, compare
from zencode.explanation import Page
from zencode.explanation import explain as explain_document
from zencode.lint import lint
from zencode.mistakes import BindingErrors, Mistake
from zencode.reader import read, read_document

MISTAKE = "mistake"


class Finding(Struct, frozen=True):
    """A mistake or a lint with its place in the text; line 0 is the binding as a whole.

    `level` is "mistake" (the text is no binding), "error" (it cannot be carried
    out) or "warning". `message` needs nothing else to be understood but the line.
    `length` characters are meant, 0 the rest of the line.
    """

    level: str
    line: int
    column: int
    message: str
    length: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.level}: {self.message}"


def check(text: str | bytes) -> list[Finding]:
    """Every mistake of a text; when it has none, every lint, errors first."""
    try:
        document = read_document(text)
    except BindingErrors as wrong:
        lines = (text if isinstance(text, str) else text.decode(errors="replace")).split("\n")
        return [Finding(MISTAKE, m.line, m.column, m.message, _length(m, lines)) for m in wrong.mistakes]
    return [
        Finding(found.level, document.line_of(found.statement), 1, f"{found.reason} [{found.name}]")
        for found in lint(document.binding)
    ]


def _length(mistake: Mistake, lines: list[str]) -> int:
    """How many characters of its line a mistake repeats; 0 where it says something else than stands there."""
    line = lines[mistake.line - 1] if mistake.line <= len(lines) else ""
    return len(mistake.found) if line.startswith(mistake.found, mistake.column - 1) else 0


def fmt(text: str | bytes) -> str:
    """The text in canonical spelling, comments and order kept.

    Raises:
        BindingErrors: it is no binding.
    """
    return writer.fmt(read_document(text))


def hash(text: str | bytes) -> str:
    """The binding's hash in hexadecimal, the same for every language and spelling.

    Raises:
        BindingErrors: it is no binding.
    """
    return binding_hash(read(text)).hex()


def translate(text: str | bytes, language: str) -> str:
    """The text in another language of the catalogue, with the same hash.

    Raises:
        BindingErrors: it is no binding.
        writer.WriteError: the catalogue lacks the language, or a line would be too long in it.
    """
    return writer.translate(read_document(text), language)


def explain(text: str | bytes, language: str | None = None) -> Page:
    """The page about a binding for the assembly, in its own language or in another of the catalogue.

    Raises:
        BindingErrors: it is no binding.
        writer.WriteError: the catalogue lacks the language.
    """
    return explain_document(read_document(text), language)


def diff(old: str | bytes, new: str | bytes, language: str | None = None) -> Difference:
    """What changes from one text to another; told in the language of the new one if none is given.

    Raises:
        BindingErrors: one of them is no binding.
        writer.WriteError: the catalogue lacks the language.
    """
    before, after = read(old), read_document(new)
    return compare(before, after.binding, language or after.language)
