"""Document: a binding as its author laid it out - language, line order, comments, examples.

The tree forgets these; `fmt` and `translate` need them.
"""

from __future__ import annotations

from msgspec import Struct

from zencode.binding import Binding, Statement
from zencode.languages import Phase

#: Ten pages in print, and a hostile text that is cheap to refuse.
MAX_TEXT_BYTES = 32 * 1024
#: Characters; a sentence longer than this is not understood when it is read aloud.
MAX_LINE = 200


class Line(Struct, frozen=True):
    """One line of sentence, with the comments and blank lines above it.

    `statement` is the very object that stands in the tree, or None for the
    scenario and EndIf. `number` is the line in the text, from 1.
    """

    phase: Phase
    statement: Statement | None
    comments: tuple[str, ...] = ()
    number: int = 0


class Example(Struct, frozen=True):
    """An example at the end of a text; its statements are rows of `examples`, not of the catalogue.

    `comments` are those above its first line, `number` is that line.
    """

    title: str
    lines: tuple[Line, ...]
    comments: tuple[str, ...] = ()
    number: int = 0

    def of(self, phase: Phase) -> list[Line]:
        """Its lines of one phase: what is given, or what is expected then."""
        return [line for line in self.lines if line.phase == phase]


class Document(Struct, frozen=True):
    """A binding with its layout. `tail` is the comments below the last sentence."""

    binding: Binding
    language: str
    lines: tuple[Line, ...]
    tail: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()

    def line_of(self, statement: Statement | None) -> int:
        """The line on which a statement of the tree was read; 0 for None, the binding as a whole."""
        return next((line.number for line in self.lines if statement and line.statement is statement), 0)
