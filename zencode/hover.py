"""Hover: what the sentence under the cursor means, with an example of it and of its values."""

from __future__ import annotations

from msgspec import Struct

from zencode.cursor import Spoken, survey
from zencode.grammar import EXAMPLE, examples, spell
from zencode.kinds import NAME, SHARES
from zencode.languages import Language
from zencode.meanings import example_meaning, kind_words, meaning
from zencode.sentences import BY_ID, Slot
from zencode.values import read_bounds


class SlotHelp(Struct, frozen=True):
    """A value of a sentence: its name, what may be written there, and an example of it."""

    name: str
    meaning: str
    example: str


class Hover(Struct, frozen=True):
    """Help on a sentence. It stands in columns `start` to `end` (not included) of its line.

    `under` are the names of the events that a condition or action belongs to.
    """

    name: str
    meaning: str
    example: str
    slots: tuple[SlotHelp, ...]
    under: tuple[str, ...]
    start: int
    end: int


def hover(text: str, line: int, column: int) -> Hover | None:
    """Help on the sentence at a place; None where there is no sentence of the table.

    Args:
        line, column: from 1. A sentence with wrong values is known too.
    """
    found = survey(text)
    spoken = found.at(line)
    if spoken is None or spoken.phrase.sentence is None or spoken.phase is None:
        return None
    start, end = _columns(spoken)
    if not start <= column <= end:
        return None
    row, language = spoken.phrase.sentence, found.language
    values = examples(row, language)
    return Hover(
        name=row.name,
        meaning=(example_meaning if spoken.table == EXAMPLE else meaning)(row, language.code),
        example=f"{language.keywords[spoken.phase][0]} {spell(row, values, language)}",
        slots=tuple(_slot(slot, value, language) for slot, value in zip(row.slots, values, strict=True)),
        under=tuple(BY_ID[id].name for id in row.under),
        start=start,
        end=end,
    )


def hover_text(help: Hover) -> str:
    """The same in Markdown."""
    lines = [f"**{help.name}**", "", help.meaning, "", f"`{help.example}`"]
    if help.slots:
        lines += ["", *(f"- {slot.name}: {slot.meaning}; `{slot.example}`" for slot in help.slots)]
    if help.under:
        lines += ["", "Belongs to: " + ", ".join(help.under) + "."]
    return "\n".join(lines) + "\n"


def _slot(slot: Slot, example: str, language: Language) -> SlotHelp:
    narrowed = slot.least is not None or slot.most is not None
    bounds = read_bounds(slot.kind, *slot.bounds) if narrowed and slot.kind.form not in (NAME, SHARES) else ""
    return SlotHelp(slot.name, bounds or kind_words(slot.kind, language.code)[1], example)


def _columns(spoken: Spoken) -> tuple[int, int]:
    last = spoken.tokens[-1]
    return spoken.tokens[0].column, last.column + len(last.spelled)
