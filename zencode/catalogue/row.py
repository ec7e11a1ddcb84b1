"""Row: one sentence of the catalogue, with its typed slots and its words in every language.

`row` has a parameter for each language: a sentence that lacks one cannot be written down.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zencode.kinds import Kind
from zencode.languages import Phase

#: Grows whenever rows are added. Nodes declare in the ledger which they know, so that a binding is not put
#: to the vote before they can carry it out.
CATALOGUE_VERSION = 2
#: What «binding version» must say; it grows when the meaning of the form changes, not with new rows.
BINDING_VERSION = 1


class Slot(Struct, frozen=True):
    """A typed place in a sentence; `least` and `most` narrow the bounds of a kind of number."""

    name: str
    kind: Kind
    least: int | None = None
    most: int | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most that this slot takes; of a kind of number."""
        return (
            self.kind.least if self.least is None else self.least,
            self.kind.most if self.most is None else self.most,
        )

    def takes(self, value: Any) -> bool:
        """Whether a value of the kind lies in the bounds of this slot."""
        narrowed = self.least is not None or self.most is not None
        return not narrowed or self.bounds[0] <= value <= self.bounds[1]


class Sentence(Struct, frozen=True):
    """One row of the catalogue.

    `slots` are in the order of the tree; `words` name them in the order of each
    language. `once`: of a rule or given, the slots that tell two of them apart;
    () allows one in a binding. `under`: ids of the events whose blocks an If or
    Then makes sense in. `since`: the version of the catalogue with which it came.
    """

    id: int
    name: str
    phase: Phase
    words: dict[str, tuple[str, ...]]
    meaning: str
    slots: tuple[Slot, ...] = ()
    example: tuple[Any, ...] = ()
    once: tuple[str, ...] = ()
    under: tuple[int, ...] = ()
    since: int = 1

    def index(self, slot: str) -> int:
        """Position in the tree of the slot called `slot`."""
        return next(i for i, candidate in enumerate(self.slots) if candidate.name == slot)


def row(
    id: int,
    name: str,
    phase: Phase,
    *,
    en: str | tuple[str, ...],
    it: str | tuple[str, ...],
    es: str | tuple[str, ...],
    de: str | tuple[str, ...],
    meaning: str,
    slots: tuple[Slot, ...] = (),
    example: tuple[Any, ...] = (),
    once: tuple[str, ...] = (),
    under: tuple[int, ...] = (),
    since: int = 1,
) -> Sentence:
    """A row; of several spellings in a language the first is written and all are read."""
    said = {"en": en, "it": it, "es": es, "de": de}
    words = {code: (one,) if isinstance(one, str) else one for code, one in said.items()}
    return Sentence(id, name, phase, words, meaning, slots, example, once, under, since)
