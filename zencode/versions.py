"""Versions: which version of the catalogue a binding needs.

Nodes declare which one they know; a binding is put to the vote, and in force, only where they can follow.
"""

from __future__ import annotations

from typing import Any

from zencode.binding import Binding, Statement, statements
from zencode.sentences import BY_ID
from zencode.words import word_since


def needs(binding: Binding) -> int:
    """The lowest version of the catalogue that has every sentence and every known word of a binding."""
    return max(_since(statement) for statement in statements(binding))


def _since(statement: Statement) -> int:
    row = BY_ID[statement.id]
    return max(
        row.since,
        *(
            _of_word(slot.kind.vocabulary, value)
            for slot, value in zip(row.slots, statement.slots, strict=True)
            if slot.kind.vocabulary is not None and slot.kind.closed
        ),
        1,
    )


def _of_word(vocabulary: str, value: Any) -> int:
    return word_since(vocabulary).get(value, 1)
