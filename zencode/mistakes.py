"""Mistakes: what a person is told about a text that is no binding.

Every mistake names the place, what was found, what was expected and, where it
can, what to write instead.
"""

from __future__ import annotations

from msgspec import Struct

#: One for every statement that a text may have; nobody reads more.
MAX_MISTAKES = 300


class Mistake(Struct, frozen=True, order=True):
    """One mistake; `line` and `column` count from 1, `found` may be empty where something is missing."""

    line: int
    column: int
    found: str
    expected: str
    suggestion: str = ""

    @property
    def message(self) -> str:
        """All but the place."""
        found = f"«{self.found}»: " if self.found else ""
        remedy = f"\n    {self.suggestion}" if self.suggestion else ""
        return f"{found}{self.expected}{remedy}"

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class BindingErrors(Exception):
    """All mistakes of a text, in the order of the text."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class StopReadingError(Exception):
    """Reading on is useless or too much; the mistakes so far are told. Does not leave the reader."""


class Notebook:
    """Collects the mistakes of one text."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def wrong(self, line: int, column: int, found: str, expected: str, suggestion: str = "") -> None:
        """Note a mistake.

        Raises:
            StopReadingError: it was the last that anybody will read.
        """
        self.mistakes.append(Mistake(line, column, found, expected, suggestion))
        if len(self.mistakes) >= MAX_MISTAKES:
            raise StopReadingError

    def sorted(self) -> tuple[Mistake, ...]:
        """In the order of the text; mistakes of one line in the order they were noted."""
        return tuple(sorted(self.mistakes, key=lambda mistake: mistake.line))
