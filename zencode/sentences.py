"""Sentences: the catalogue, one table of everything a binding can say.

A row has an id, a name, the phase it stands in, its typed slots, its words in
every language, example values and its meaning. Parser, writer, checks of the
tree, error suggestions and LANGUAGE.md all read this table and nothing else; the
rows are in the modules of `zencode.catalogue`.

**Append-only**: an id, the order and kinds of its slots, and its meaning never
change, because trees in old ledgers use them. Words may be improved: the first
spelling of a language is written, all of them are read. A new row says with
which version of the catalogue it came. Under an action of old only new events may
be added, so that an event tells an older node that it cannot follow.

Source of the form: the Given / When / Then sentences of Gherkin.
"""

from __future__ import annotations

from itertools import chain

from zencode.catalogue.assets import ASSETS
from zencode.catalogue.bills import BILLS
from zencode.catalogue.care import CARE
from zencode.catalogue.charges import CHARGES
from zencode.catalogue.conditions import CONDITIONS
from zencode.catalogue.events import EVENTS
from zencode.catalogue.givens import GIVENS

# Every id is a public name of this table.
from zencode.catalogue.ids import *  # noqa: F403
from zencode.catalogue.joining import JOINING
from zencode.catalogue.matching import MATCHING
from zencode.catalogue.prices import PRICES
from zencode.catalogue.row import BINDING_VERSION as BINDING_VERSION
from zencode.catalogue.row import CATALOGUE_VERSION as CATALOGUE_VERSION
from zencode.catalogue.row import Sentence as Sentence
from zencode.catalogue.row import Slot as Slot
from zencode.catalogue.rules import RULES
from zencode.catalogue.sharing import SHARING
from zencode.catalogue.tokens import TOKENS
from zencode.catalogue.votes import VOTES

_MODULES = (
    RULES, GIVENS, PRICES, ASSETS, EVENTS, CONDITIONS,
    JOINING, MATCHING, SHARING, CHARGES, TOKENS, CARE, BILLS, VOTES,
)  # fmt: skip

#: Every row, in the order of phases and, in these, of ids.
SENTENCES: tuple[Sentence, ...] = tuple(sorted(chain(*_MODULES), key=lambda sentence: (sentence.phase, sentence.id)))

BY_ID: dict[int, Sentence] = {sentence.id: sentence for sentence in SENTENCES}
